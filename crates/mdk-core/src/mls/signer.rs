//! The MLS signature key of this device, expanded once and then ready to sign.
//!
//! The key pair of `openmls_basic_credential` derives its public half anew for every signature, which is as much work
//! as the signature. The stored form is that type's: its private key, its public key and the scheme.

use ed25519_dalek::{SECRET_KEY_LENGTH, Signer as _, SigningKey};
use mdk_wire::Random;
use openmls::prelude::SignatureScheme;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::storage::{CURRENT_VERSION, Entity, Key, StorageProvider, traits};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

/// An Ed25519 key (RFC 8032) of cipher suite 0x0001, wiped on drop.
pub(crate) struct LeafSigner {
    key: Box<SigningKey>,
    public: [u8; 32],
}

impl LeafSigner {
    /// A new key.
    pub(crate) fn generate(random: &mut dyn Random) -> Self {
        let mut seed = Zeroizing::new([0u8; SECRET_KEY_LENGTH]);
        random.fill(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The key of this seed.
    pub(crate) fn from_seed(seed: &[u8; SECRET_KEY_LENGTH]) -> Self {
        let key = Box::new(SigningKey::from_bytes(seed));
        let public = key.verifying_key().to_bytes();
        Self { key, public }
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// Stores it among the rows of OpenMLS.
    pub(crate) fn store<S: StorageProvider<CURRENT_VERSION>>(
        &self,
        storage: &S,
    ) -> Result<(), S::Error> {
        storage.write_signature_key_pair(&KeyId::of(&self.public), self)
    }

    /// Reads the key whose public half is `public`; `None` if it is not there.
    pub(crate) fn read<S: StorageProvider<CURRENT_VERSION>>(
        storage: &S,
        public: &[u8],
    ) -> Result<Option<Self>, S::Error> {
        storage.signature_key_pair(&KeyId::of(public))
    }
}

impl Signer for LeafSigner {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.key.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl std::fmt::Debug for LeafSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeafSigner(..)")
    }
}

/// The layout in the database.
#[derive(Serialize, Deserialize)]
struct Stored {
    private: Vec<u8>,
    public: Vec<u8>,
    scheme: SignatureScheme,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

impl Serialize for LeafSigner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let private = self.key.as_bytes().to_vec();
        let scheme = SignatureScheme::ED25519;
        Stored { private, public: self.public.to_vec(), scheme }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LeafSigner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let seed = stored.private.as_slice().try_into();
        let signer = Self::from_seed(seed.map_err(|_| D::Error::custom("length of the key"))?);
        if stored.scheme != SignatureScheme::ED25519 || stored.public != signer.public {
            return Err(D::Error::custom("not an Ed25519 key pair"));
        }
        Ok(signer)
    }
}

impl Entity<CURRENT_VERSION> for LeafSigner {}

impl traits::SignatureKeyPair<CURRENT_VERSION> for LeafSigner {}

/// The key that it is stored under: the public key, a fixed label and the scheme.
#[derive(Serialize)]
struct KeyId {
    value: Vec<u8>,
}

impl KeyId {
    fn of(public: &[u8]) -> Self {
        let scheme = (SignatureScheme::ED25519 as u16).to_be_bytes();
        Self { value: [public, b"RustCryptoSignatureKey".as_slice(), &scheme].concat() }
    }
}

impl Key<CURRENT_VERSION> for KeyId {}

impl traits::SignaturePublicKey<CURRENT_VERSION> for KeyId {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_store::Store;
    use openmls_basic_credential::SignatureKeyPair;

    use super::*;

    #[test]
    fn it_signs_and_is_stored_like_the_key_pair_of_openmls() {
        let seed = [7u8; 32];
        let ours = LeafSigner::from_seed(&seed);
        let public = ours.public().to_vec();
        let pair = SignatureKeyPair::from_raw(SignatureScheme::ED25519, seed.to_vec(), public);
        assert_eq!(ours.sign(b"payload").unwrap(), pair.sign(b"payload").unwrap());
        let rows = |put: &dyn Fn(&mdk_store::Tx<'_>)| {
            let mut store = Store::in_memory().unwrap();
            let done = store.write::<_, mdk_store::StoreError>(|tx| {
                put(tx);
                Ok(())
            });
            done.unwrap();
            store.digest().unwrap()
        };
        let as_ours = rows(&|tx| ours.store(&tx.mls()).unwrap());
        assert_eq!(as_ours, rows(&|tx| pair.store(&tx.mls()).unwrap()));
        assert_ne!(as_ours, rows(&|_| ()));
    }

    #[test]
    fn it_reads_back_and_refuses_a_pair_that_does_not_match() {
        let ours = LeafSigner::generate(&mut mdk_wire::OsRandom);
        let wrong = SignatureKeyPair::from_raw(
            SignatureScheme::ED25519,
            vec![7; 32],
            ours.public().to_vec(),
        );
        let mut store = Store::in_memory().unwrap();
        store
            .write::<_, mdk_store::StoreError>(|tx| {
                ours.store(&tx.mls())?;
                let back = LeafSigner::read(&tx.mls(), ours.public())?.unwrap();
                assert_eq!(back.sign(b"x").unwrap(), ours.sign(b"x").unwrap());
                assert!(LeafSigner::read(&tx.mls(), &[1; 32])?.is_none());
                wrong.store(&tx.mls())?;
                assert!(LeafSigner::read(&tx.mls(), ours.public()).is_err());
                Ok(())
            })
            .unwrap();
        assert_eq!(format!("{ours:?}"), "LeafSigner(..)");
    }
}
