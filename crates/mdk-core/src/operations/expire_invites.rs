//! Invites of strangers that nobody answers.

use mdk_store::GroupRow;
use mdk_wire::budget::inviter::MAX_AGE;

use crate::mls::decline_invite;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::membership::is_invited;

// rule: B4-41 an invite that nobody answers goes after thirty days
/// Forgets an invite that has waited for too long. Whether it did.
pub(crate) fn expire_invite(work: &mut Work<'_>, row: &GroupRow) -> Result<bool> {
    let Some(invite) = row.welcome.filter(|_| is_invited(row.status)) else {
        return Ok(false);
    };
    if row.created_at.saturating_add(MAX_AGE) > work.records.now() {
        return Ok(false);
    }
    decline_invite::decline(work, &invite, false)?;
    Ok(true)
}
