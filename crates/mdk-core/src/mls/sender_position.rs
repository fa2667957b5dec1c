//! The position of a message in its sender's ratchet, without decrypting it.
//!
//! A PrivateMessage names its sender's leaf and generation in its encrypted sender data (RFC 9420, 6.3.2). OpenMLS
//! opens them first and shows them to nobody. So it gets a cryptography that notes the result of the first decryption
//! and then fails it: OpenMLS stops there, before it touches a ratchet.

use std::sync::OnceLock;

use mdk_store::MlsStorage;
use openmls::group::MlsGroup;
use openmls::prelude::ProtocolMessage;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig,
    HpkeKeyPair, KemOutput, SignatureScheme,
};
use tls_codec::SecretVLBytes;

/// Leaf and generation of the sender of an application message; `None` when nothing of the group opens them. Neither is
/// authenticated yet: good for an order, not for a verdict.
pub(crate) fn read(
    crypto: &RustCrypto,
    storage: MlsStorage<'_>,
    group: &mut MlsGroup,
    message: ProtocolMessage,
) -> Option<(u32, u32)> {
    let reader = Reader { crypto: Watching { crypto, seen: OnceLock::new() }, storage };
    // It cannot succeed, and the error is ours.
    let _ = group.process_message(&reader, message);
    reader.crypto.seen.into_inner()
}

struct Reader<'a> {
    crypto: Watching<'a>,
    storage: MlsStorage<'a>,
}

impl<'a> OpenMlsProvider for Reader<'a> {
    type CryptoProvider = Watching<'a>;
    type RandProvider = RustCrypto;
    type StorageProvider = MlsStorage<'a>;

    fn storage(&self) -> &MlsStorage<'a> {
        &self.storage
    }

    fn crypto(&self) -> &Watching<'a> {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        self.crypto.crypto
    }
}

struct Watching<'a> {
    crypto: &'a RustCrypto,
    seen: OnceLock<(u32, u32)>,
}

/// Sender data: leaf index and generation, 32 bits each, then the reuse guard.
fn parse(sender_data: &[u8]) -> Option<(u32, u32)> {
    let sender_data: &[u8; 12] = sender_data.try_into().ok()?;
    let number = |at: usize| {
        let bytes = sender_data[at..at + 4].iter();
        bytes.fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
    };
    Some((number(0), number(4)))
}

const NOT_HERE: CryptoError = CryptoError::CryptoLibraryError;

impl OpenMlsCrypto for Watching<'_> {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        self.crypto.supports(ciphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.crypto.supported_ciphersuites()
    }

    fn hkdf_expand(
        &self,
        hash_type: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        self.crypto.hkdf_expand(hash_type, prk, info, okm_len)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        if self.seen.get().is_none()
            && let Ok(opened) = self.crypto.aead_decrypt(alg, key, ct_tag, nonce, aad)
            && let Some(found) = parse(&opened)
        {
            let _ = self.seen.set(found);
        }
        Err(CryptoError::AeadDecryptionError)
    }

    // Nothing below is reached.

    fn hkdf_extract(&self, _: HashType, _: &[u8], _: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        Err(NOT_HERE)
    }

    fn hmac(&self, _: HashType, _: &[u8], _: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        Err(NOT_HERE)
    }

    fn hash(&self, _: HashType, _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(NOT_HERE)
    }

    fn aead_encrypt(
        &self,
        _: AeadType,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        Err(NOT_HERE)
    }

    fn signature_key_gen(&self, _: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        Err(NOT_HERE)
    }

    fn verify_signature(
        &self,
        _: SignatureScheme,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), CryptoError> {
        Err(NOT_HERE)
    }

    fn sign(&self, _: SignatureScheme, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(NOT_HERE)
    }

    fn hpke_seal(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        Err(NOT_HERE)
    }

    fn hpke_open(
        &self,
        _: HpkeConfig,
        _: &HpkeCiphertext,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        Err(NOT_HERE)
    }

    fn hpke_setup_sender_and_export(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        Err(NOT_HERE)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        Err(NOT_HERE)
    }

    fn derive_hpke_keypair(&self, _: HpkeConfig, _: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        Err(NOT_HERE)
    }
}
