//! Accounts that are to be invited, and their KeyPackages.

use mdk_wire::PublicKey;
use openmls_rust_crypto::RustCrypto;

use crate::mls::key_packages::check;
use crate::mls::key_packages::check::ValidKeyPackage;
use crate::mls::parallel;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::outcome::Rejection;

/// A2 for every invitee; one KeyPackage per account.
pub(crate) fn check_invitees(
    call: Call<'_>,
    crypto: &RustCrypto,
    events: &[mdk_wire::Event],
) -> Result<Vec<ValidKeyPackage>> {
    let me = call.me();
    let mut invitees: Vec<ValidKeyPackage> = Vec::with_capacity(events.len());
    let (crypto, now) = (crypto, call.now());
    let checked = parallel::map(events, |event| check::check(event, crypto, now));
    for (kp, event) in checked.into_iter().zip(events) {
        let kp = kp.map_err(incompatible(event.pubkey()))?;
        if kp.account == me {
            return Err(Error::input("members", "the own account"));
        }
        if invitees.iter().any(|other| other.account == kp.account) {
            return Err(Error::input("members", "two KeyPackages of one account"));
        }
        invitees.push(kp);
    }
    Ok(invitees)
}

pub(crate) fn incompatible(who: PublicKey) -> impl FnOnce(Rejection) -> Error {
    move |Rejection { reason, rule, .. }| Error::IncompatibleMember { reason, rule, who: vec![who] }
}

/// The admin list without some accounts, sorted.
pub(crate) fn without(admins: &[PublicKey], gone: &[PublicKey]) -> Vec<PublicKey> {
    admins.iter().filter(|k| !gone.contains(k)).copied().collect()
}
