//! secp256k1 (BIP-340), through the C library of `secp256k1`.
//!
//! The safe functions of that crate blind its global context anew for every use of a secret key, which costs as much
//! as the signature. Here the context is blinded once per process, as the library's documentation asks for, and the
//! auxiliary randomness of BIP-340 protects each signature besides. The only unsafe code for it is in this file.

use std::ffi::c_void;
use std::sync::LazyLock;

use secp256k1::ffi::{self, CPtr};
use secp256k1::{All, Secp256k1, XOnlyPublicKey, schnorr};
use zeroize::Zeroizing;

use crate::error::WireError;
use crate::locked::LockedBox;
use crate::random::{OsRandom, Random};
use crate::secret::Secret;

/// The context, blinded against side channels.
static CONTEXT: LazyLock<Secp256k1<All>> = LazyLock::new(|| {
    let mut context = Secp256k1::new();
    let mut seed = Zeroizing::new([0u8; 32]);
    OsRandom.fill(seed.as_mut());
    context.seeded_randomize(&seed);
    context
});

/// The curve point of an x-coordinate.
pub(crate) fn lift(bytes: &[u8; 32]) -> Result<XOnlyPublicKey, WireError> {
    XOnlyPublicKey::from_byte_array(*bytes)
        .map_err(|_| WireError::InvalidKey("public key is not on the curve"))
}

/// Verifies a BIP-340 signature under a lifted key.
pub(crate) fn verify(
    key: &XOnlyPublicKey,
    digest: &[u8; 32],
    signature: &[u8; 64],
) -> Result<(), WireError> {
    schnorr::verify(&schnorr::Signature::from_byte_array(*signature), digest, key)
        .map_err(|_| WireError::InvalidSignature("Schnorr signature does not verify"))
}

/// The key that the library signs with: for keys that sign once, or for the time of one signature.
pub(crate) struct Pair(LockedBox<ffi::Keypair>);

impl Pair {
    pub(crate) fn new(secret: &Secret<32>) -> Result<Self, WireError> {
        // SAFETY: a key pair of zeros is memory for the call below and nothing else.
        let mut pair = LockedBox::blank(unsafe { ffi::Keypair::new() });
        // SAFETY: the context lives for ever, the key pair is ours alone, the secret has the 32 bytes that are read.
        let made = unsafe {
            ffi::secp256k1_keypair_create(
                CONTEXT.ctx().as_ptr(),
                &mut *pair,
                secret.expose().as_c_ptr(),
            )
        };
        if made == 1 {
            Ok(Self(pair))
        } else {
            Err(WireError::InvalidKey("secret key is out of range"))
        }
    }

    /// A new one from `rng`. A random scalar is out of range with probability 2^-128.
    pub(crate) fn from_random(rng: &mut dyn Random) -> Result<Self, WireError> {
        (0..4)
            .find_map(|_| Self::new(&Secret::init(|bytes| rng.fill(bytes))).ok())
            .ok_or(WireError::BrokenRandom)
    }

    /// The x-coordinate of the public key.
    pub(crate) fn public(&self) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        // SAFETY: the pair was made by `new`, the other arguments are local; parity may be left out.
        let done = unsafe {
            let mut key = ffi::XOnlyPublicKey::new();
            let context = CONTEXT.ctx().as_ptr();
            ffi::secp256k1_keypair_xonly_pub(context, &mut key, std::ptr::null_mut(), &*self.0)
                & ffi::secp256k1_xonly_pubkey_serialize(context, bytes.as_mut_c_ptr(), &key)
        };
        assert_eq!(done, 1, "these calls fail only for a pair that was never made");
        bytes
    }

    pub(crate) fn sign(&self, digest: &[u8; 32], rng: &mut dyn Random) -> [u8; 64] {
        let mut aux = Zeroizing::new([0u8; 32]);
        rng.fill(aux.as_mut());
        let mut signature = [0u8; 64];
        let extra = ffi::SchnorrSigExtraParams::new(None, aux.as_ptr().cast::<c_void>());
        // SAFETY: the pair was made by `new`; digest, randomness and signature have the lengths that BIP-340 gives.
        let done = unsafe {
            ffi::secp256k1_schnorrsig_sign_custom(
                CONTEXT.ctx().as_ptr(),
                signature.as_mut_c_ptr(),
                digest.as_c_ptr(),
                digest.len(),
                &*self.0,
                &extra,
            )
        };
        assert_eq!(done, 1, "signing fails only for a pair that was never made");
        signature
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Rows 0 and 1 of the test vectors of BIP-340: secret, public key, auxiliary randomness, message, signature.
    const VECTORS: [[&str; 5]; 2] = [
        [
            "0000000000000000000000000000000000000000000000000000000000000003",
            "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca821525f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
        ],
        [
            "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef",
            "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
            "0000000000000000000000000000000000000000000000000000000000000001",
            "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
            "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de33418906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a",
        ],
    ];

    struct Fixed([u8; 32]);

    impl Random for Fixed {
        fn fill(&mut self, buf: &mut [u8]) {
            buf.copy_from_slice(&self.0);
        }
    }

    #[test]
    fn it_signs_as_bip_340_says() {
        for [secret, public, aux, message, signature] in VECTORS {
            let bytes = |text: &str| hex::decode(text).unwrap();
            let word = |text: &str| <[u8; 32]>::try_from(bytes(text)).unwrap();
            let pair = Pair::new(&Secret::new(word(secret))).unwrap();
            assert_eq!(hex::encode(pair.public()), public);
            let made = pair.sign(&word(message), &mut Fixed(word(aux)));
            assert_eq!(made.to_vec(), bytes(signature));
            verify(&lift(&word(public)).unwrap(), &word(message), &made).unwrap();
            let mut wrong = made;
            wrong[63] ^= 1;
            assert!(verify(&lift(&word(public)).unwrap(), &word(message), &wrong).is_err());
        }
    }

    #[test]
    fn a_secret_out_of_range_is_refused() {
        assert!(Pair::new(&Secret::new([0; 32])).is_err());
        assert!(Pair::new(&Secret::new([0xff; 32])).is_err());
    }
}
