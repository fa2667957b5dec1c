//! Our identity: the Nostr account and the one MLS signature key of this device.

use mdk_store::Tx;
use mdk_wire::v2::IdentityProof;
use mdk_wire::{Keys, OsRandom, PublicKey};
use openmls::prelude::{BasicCredential, CredentialWithKey};
use zeroize::Zeroizing;

use crate::mls::signer::LeafSigner;
use crate::model::error::{Error, Result};

const META_ACCOUNT: &str = "account";
const META_SIGNER: &str = "mls_signature_key";
const META_PROOF: &str = "identity_proof";

/// The account, its MLS signer and the proof that binds them.
pub(crate) struct Identity {
    pub(crate) keys: Keys,
    pub(crate) signer: LeafSigner,
    pub(crate) proof: IdentityProof,
}

impl Identity {
    /// Reads the device's MLS signer; `None` in a new database.
    ///
    /// One signer serves all KeyPackages and groups of the device (protocol/key-packages.md A1); the proof is
    /// reusable while its inputs are the same (protocol/wire.md 2.3).
    ///
    /// # Errors
    /// `WrongAccount` when the database belongs to other keys.
    pub(crate) fn load(tx: &Tx<'_>, keys: &Keys) -> Result<Option<Self>> {
        let Some(stored) = tx.meta(META_ACCOUNT)? else { return Ok(None) };
        if stored != keys.public_key().as_bytes() {
            return Err(Error::WrongAccount);
        }
        let missing = || Error::Unrecoverable("the account's MLS signer is missing");
        let public = tx.meta(META_SIGNER)?.ok_or_else(missing)?;
        let signer = LeafSigner::read(&tx.mls(), &public)?.ok_or_else(missing)?;
        let proof = tx.meta(META_PROOF)?.ok_or_else(missing)?;
        let proof = IdentityProof::decode(&proof).map_err(|_| missing())?;
        Ok(Some(Self { keys: keys.clone(), signer, proof }))
    }

    /// Whether the database belongs to an account.
    pub(crate) fn is_there(tx: &Tx<'_>) -> Result<bool> {
        Ok(tx.meta(META_ACCOUNT)?.is_some())
    }

    /// Makes the device's MLS signer and its proof.
    pub(crate) fn create(tx: &Tx<'_>, keys: Keys, now: u64) -> Result<Self> {
        Self::keep(tx, keys, LeafSigner::generate(&mut OsRandom), now)
    }

    /// Takes over an MLS signer that exists already (test support).
    pub(crate) fn import(
        tx: &Tx<'_>,
        keys: Keys,
        private: Vec<u8>,
        public: Vec<u8>,
        now: u64,
    ) -> Result<Self> {
        let private = Zeroizing::new(private);
        let seed = private.as_slice().try_into().map_err(|_| Error::InvalidInput {
            field: "private",
            problem: "not 32 bytes",
            limit: Some(32),
            actual: Some(private.len() as u64),
        })?;
        let signer = LeafSigner::from_seed(seed);
        if signer.public() != public {
            return Err(Error::input("public", "does not belong to the private key"));
        }
        Self::keep(tx, keys, signer, now)
    }

    fn keep(tx: &Tx<'_>, keys: Keys, signer: LeafSigner, now: u64) -> Result<Self> {
        let proof = IdentityProof::sign(&keys, signer.public(), now.max(1));
        signer.store(&tx.mls())?;
        tx.set_meta(META_ACCOUNT, keys.public_key().as_bytes())?;
        tx.set_meta(META_SIGNER, signer.public())?;
        let encoded = proof.encode().map_err(Error::bug("encoding the proof"))?;
        tx.set_meta(META_PROOF, &encoded)?;
        Ok(Self { keys, signer, proof })
    }

    pub(crate) fn account(&self) -> PublicKey {
        self.keys.public_key()
    }

    /// Credential and signature key as they stand in our leaves (rule 2.1: the identity is the raw 32-byte key).
    pub(crate) fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.account().as_bytes().to_vec()).into(),
            signature_key: self.signer.public().into(),
        }
    }
}
