//! KeyPackages: our own (making, replacing, forgetting) and those of others (judging, choosing).

pub(crate) mod check;
pub(crate) mod select;
#[cfg(test)]
mod tests;

use mdk_wire::{Event, KeyPackageRef};
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls_rust_crypto::RustCrypto;

use crate::mls::key_packages::check::check;
use crate::model::error::{Error, Result};
use crate::model::outcome::{RejectCode, Rejection};
use crate::model::values::KeyPackageInfo;

/// The time for which a replaced KeyPackage can still be joined with: a Welcome to it may be under way.
pub(crate) const REPLACED_GRACE: u64 = 7 * 86_400;
/// The same for a used KeyPackage: another inviter may have had it at the same time. It is shorter: a person who gets
/// at the private part can read the Welcomes to it.
pub(crate) const USED_GRACE: u64 = 3_600;

/// Whether an invitation can use a KeyPackage event (protocol/key-packages.md A2-1 to A2-11; fitness for a particular
/// group is judged when a member is added).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPackageVerdict {
    /// It can be used.
    Usable,
    /// It cannot.
    Unusable {
        /// The row that it failed: `A2-1` to `A2-11`, or `A2-12` for another ciphersuite.
        rule: &'static str,
        /// The category.
        code: RejectCode,
        /// The problem.
        reason: &'static str,
    },
}

impl From<Rejection> for KeyPackageVerdict {
    fn from(rejection: Rejection) -> Self {
        let Rejection { code, rule, reason } = rejection;
        Self::Unusable { rule, code, reason }
    }
}

/// [`check`] as its caller outside sees it.
pub(crate) fn verdict(event: &Event, crypto: &RustCrypto, now: u64) -> KeyPackageVerdict {
    match check(event, crypto, now) {
        Ok(_) => KeyPackageVerdict::Usable,
        Err(rejection) => rejection.into(),
    }
}

/// Reads the facts that another account's KeyPackage event states; `None` when it cannot be used.
pub(crate) fn read(event: &Event, crypto: &RustCrypto, now: u64) -> Option<KeyPackageInfo> {
    let read = check(event, crypto, now).ok()?;
    Some(KeyPackageInfo {
        expires_at: read.key_package.life_time().not_after(),
        reference: read.reference,
        event_id: read.event_id,
        slot: read.slot,
        created_at: read.created_at,
        relays: Vec::new(),
        last_resort: read.last_resort,
        used: false,
    })
}

/// The reference in the form that names the private bundle in OpenMLS storage.
pub(crate) fn mls_reference(reference: &KeyPackageRef) -> Result<openmls::prelude::KeyPackageRef> {
    // OpenMLS makes references by hashing only, so ours goes through its encoding: `opaque value<V>`.
    let mut encoded = [32; 33];
    encoded[1..].copy_from_slice(reference.as_bytes());
    openmls::prelude::KeyPackageRef::tls_deserialize_exact_bytes(&encoded)
        .map_err(Error::bug("KeyPackageRef encoding"))
}
