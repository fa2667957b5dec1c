//! The accounts whose invites are taken, and the number of them. This is asked before a group is opened for an invite,
//! which takes long for a large group.

use std::collections::BTreeMap;

use mdk_store::GroupRow;
use mdk_wire::budget::inviter::{MAX_OF_ONE, MAX_WAITING};
use mdk_wire::{EventId, PublicKey};

use crate::mls::decline_invite;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::halt::{Halt, reject};
use crate::model::membership;
use crate::model::membership::is_invited;
use crate::model::outcome::RejectCode;

/// Whether there is room for an invite of this account. When strangers fill all of it, the stranger with the most
/// invites loses the oldest.
pub(crate) fn may_invite(work: &mut Work<'_>, sender: &PublicKey) -> Result<bool, Halt> {
    let rows = work.records.tx.groups()?;
    let stranger = is_stranger(work.records.call, &rows, sender);
    // rule: B4-40 whose invites are not taken costs no join
    if stranger && !work.records.call.hints.inviters.strangers {
        let reason = "invites of this account are not taken";
        return Err(reject(RejectCode::AuthorizationFailed, "B4-40", reason));
    }
    // rule: B4-14 invites are bounded for each inviter and for all strangers; one more is taken when there is room again
    let mut waiting: BTreeMap<PublicKey, Vec<(u64, EventId)>> = BTreeMap::new();
    for row in rows.iter().filter(|row| is_invited(row.status)) {
        if let (Some(inviter), Some(invite)) = (row.welcomer, row.welcome) {
            waiting.entry(inviter).or_default().push((row.created_at, invite));
        }
    }
    if waiting.get(sender).is_some_and(|own| own.len() >= MAX_OF_ONE) {
        if stranger {
            let reason = "too many invites of this account wait";
            return Err(reject(RejectCode::AuthorizationFailed, "B4-14", reason));
        }
        return Ok(false);
    }
    let count = |waiting: &BTreeMap<_, Vec<_>>| waiting.values().map(Vec::len).sum::<usize>();
    if !stranger || count(&waiting) < MAX_WAITING {
        return Ok(true);
    }
    waiting.retain(|inviter, _| is_stranger(work.records.call, &rows, inviter));
    if count(&waiting) < MAX_WAITING {
        return Ok(true);
    }
    let most = waiting.into_values().filter(|own| own.len() > 1).max_by_key(Vec::len);
    let oldest = most.and_then(|own| own.into_iter().min());
    let Some((_, oldest)) = oldest else { return Ok(false) };
    decline_invite::decline(work, &oldest, false)?;
    Ok(true)
}

/// Whether nothing is known of an account: it is not on the list, and in no group that we have joined.
fn is_stranger(call: Call<'_>, rows: &[GroupRow], account: &PublicKey) -> bool {
    let with_us = |row: &GroupRow| {
        !is_invited(row.status) && !membership::is_over(row.status) && row.members.contains(account)
    };
    !call.hints.inviters.known.contains(account) && !rows.iter().any(with_us)
}
