//! Invites that were declined, and whose groups are followed until they can be told.

use std::collections::BTreeSet;

use mdk_store::{GroupRow, Tx};
use mdk_wire::GroupId;

use crate::model::error::{Error, Result};

/// The prefix of the keys under which a declined invite is noted, by its group.
const DECLINED: &str = "declined/";

/// The name of that key.
pub(crate) fn mark(id: &GroupId) -> String {
    format!("{DECLINED}{}", id.to_hex())
}

/// Whether the invite to a group was declined: it is not there any more, for any call and in any event.
pub(crate) fn is_declined(tx: &Tx<'_>, id: &GroupId) -> Result<bool> {
    Ok(tx.client_state(&mark(id))?.is_some())
}

/// As [`is_declined`], for all groups.
pub(crate) fn declined(tx: &Tx<'_>) -> Result<BTreeSet<String>> {
    let marks = tx.client_states(DECLINED)?;
    Ok(marks.into_iter().filter_map(|(key, _)| Some(key.strip_prefix(DECLINED)?.into())).collect())
}

/// An invite that was declined waits for no answer.
pub(crate) fn require_unanswered(tx: &Tx<'_>, row: &GroupRow) -> Result<()> {
    match is_declined(tx, &row.id)? {
        true => Err(Error::InviteNotFound),
        false => Ok(()),
    }
}

/// Forgets that an invite was declined, with the rest of it, and the place up to which its group was read.
pub(crate) fn forget_declined(tx: &Tx<'_>, id: &GroupId) -> Result<()> {
    if is_declined(tx, id)? {
        tx.drop_client_states_of(id)?;
    }
    Ok(())
}
