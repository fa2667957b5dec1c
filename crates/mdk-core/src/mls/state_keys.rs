//! Keys that are derived from the secrets of a state.

use mdk_wire::{Secret, SecretVec};
use openmls::group::MlsGroup;
use openmls_traits::crypto::OpenMlsCrypto;

use crate::model::error::{Error, Result};

/// MLS-Exporter label of everything Marmot exports (protocol/wire.md 2.1).
pub const EXPORTER_LABEL: &str = "marmot";
/// MLS-Exporter context of the key that seals kind-445 events.
const GROUP_EVENT: &[u8] = b"group-event";

/// The key that seals kind-445 events of the group's current epoch (rule: 2.1-9).
pub(crate) fn event_key(mls: &MlsGroup, crypto: &impl OpenMlsCrypto) -> Result<Secret<32>> {
    let secret = mls
        .export_secret(crypto, EXPORTER_LABEL, GROUP_EVENT, 32)
        .map_err(Error::bug("exporting the event key"))?;
    let secret = SecretVec::new(secret);
    let bytes: [u8; 32] =
        secret.expose().try_into().map_err(Error::bug("length of the event key"))?;
    Ok(Secret::new(bytes))
}

/// Names a state on one branch; an epoch number does not.
pub(crate) fn authenticator(mls: &MlsGroup) -> Result<[u8; 32]> {
    mls.epoch_authenticator()
        .as_slice()
        .try_into()
        .map_err(Error::bug("length of the epoch authenticator"))
}
