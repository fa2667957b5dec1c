//! The account runs elsewhere: its database was copied, and the other copy has made a commit that is not in this one.
//!
//! OpenMLS refuses a commit of our own leaf that we have no memory of (`OwnLost` in `mls/refusal.rs`), and it is kept
//! (`own_lost` in `state_store/pending_handshakes.rs`), for another branch may win. If it stands on the state that the
//! group follows when the choice is over, the group is given up: `mls/end_membership.rs` sets
//! `GroupStatus::RunsElsewhere` and tells `own_commit_lost`. Calls that send fail with `Error::RunsElsewhere`. That a
//! database is in use twice on one machine is found by its lock (`files/owner_lock.rs` in mdk-store).

use mdk_store::{InputClass, InputState};
use mdk_wire::GroupId;

use crate::mls::end_membership::{self, OWN_COMMIT_LOST};
use crate::model::error::Result;
use crate::state_store::records::Records;

/// A commit of ours whose realisation is lost, on the state that we stand on: the others go where we cannot.
pub(super) fn check_own_lost(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    let row = records.groups().current_row(id)?;
    let lost = records.tx.input_heads(id)?.iter().any(|i| {
        i.class == InputClass::Commit
            && i.state == InputState::Verified
            && i.parent_auth == Some(row.authenticator)
    });
    if lost { end_membership::give_up(records, id, OWN_COMMIT_LOST) } else { Ok(()) }
}
