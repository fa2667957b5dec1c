//! Whether anything may be said in a group now.

use mdk_wire::GroupId;

use crate::model::error::Result;
use crate::state_store::records::Records;
use crate::state_store::removals_of_others;

/// Fails if nothing may be said: the error says what has to come before it.
pub(crate) fn may_say(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    records.after_restore().require_renewed(id)?;
    records.outbox().require_outbox_room()?;
    removals_of_others::require_uncontested(records, id)?;
    records.speaking().check_may_speak(id)
}
