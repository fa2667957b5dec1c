//! The facts of a membership that are kept while a later invitation is asked, its admins among them
//! (protocol/welcomes.md B4).

use mdk_store::{GroupRow, Tx};

use crate::model::error::Result;
use crate::model::invites::Earlier;
use crate::state_store::log_entry::{EARLIER, Stored};
use crate::state_store::log_rows::recorded_as;

/// The membership that the one that a row stands for has taken the place of.
pub(crate) fn earlier(tx: &Tx<'_>, row: &GroupRow) -> Result<Option<Earlier>> {
    let Some(welcome) = row.welcome else { return Ok(None) };
    Ok(match recorded_as(tx, &row.id, welcome.as_bytes(), EARLIER)? {
        Some((_, Stored::Earlier(earlier))) => Some(*earlier),
        _ => None,
    })
}
