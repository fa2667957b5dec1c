//! Telling that the others may be on another branch than this member.

use mdk_store::GroupRow;

use crate::model::error::Result;
use crate::state_store::log_entry::Stored;
use crate::state_store::others_on_another_branch::is_led_on;
use crate::state_store::records::Records;

/// Tells of [`is_led_on`], once for each state.
pub(crate) fn tell_led_on(records: &mut Records<'_>, row: &GroupRow) -> Result<()> {
    if row.pass.opened != 0 || !is_led_on(records.tx, records.me(), row)? {
        return Ok(());
    }
    let subject = [&b"led on"[..], &row.authenticator].concat();
    records.log().emit(&row.id, &subject, &Stored::CannotFollow { epoch: row.epoch })
}
