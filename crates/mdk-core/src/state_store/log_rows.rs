//! The positions of records in the log.

use mdk_store::{EventRow, Tx};
use mdk_wire::{ContentId, GroupId};
use sha2::{Digest, Sha256};

use crate::model::error::{Error, Result};
use crate::model::invites::Key;
use crate::state_store::log_entry::Stored;

/// Whether it was told that a commit was withdrawn with that change of branches.
pub(crate) fn was_withdrawn(
    tx: &Tx<'_>,
    group: &GroupId,
    switch: u64,
    commit: &ContentId,
) -> Result<bool> {
    let subject = withdrawal(switch, commit);
    let like = Stored::ChangeWithdrawn { commit: *commit.as_bytes() };
    Ok(recorded(tx, group, &subject, &like)?.is_some())
}

/// The position, and the content, of an event like `like` that [`EventLog::emit`] recorded.
pub(crate) fn recorded(
    tx: &Tx<'_>,
    group: &GroupId,
    subject: &[u8],
    like: &Stored,
) -> Result<Option<(i64, Stored)>> {
    recorded_as(tx, group, subject, like.kind())
}

/// The subject of a commit's withdrawal. It distinguishes this one from others: a commit may win again, and lose again.
pub(crate) fn withdrawal(switch: u64, commit: &ContentId) -> Vec<u8> {
    [&switch.to_be_bytes()[..], commit.as_bytes()].concat()
}

pub(crate) fn stable_id(group: &GroupId, subject: &[u8], kind: u8) -> Key {
    Sha256::new()
        .chain_update([kind])
        .chain_update(group.as_bytes())
        .chain_update(subject)
        .finalize()
        .into()
}

/// The position, and the content, of an event of this kind that `emit` recorded.
pub(crate) fn recorded_as(
    tx: &Tx<'_>,
    group: &GroupId,
    subject: &[u8],
    kind: u8,
) -> Result<Option<(i64, Stored)>> {
    let Some(seq) = tx.event_at(&stable_id(group, subject, kind))? else {
        return Ok(None);
    };
    let rows = tx.events_after(seq.saturating_sub(1), 1)?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some((seq, decode(row)?)))
}

pub(crate) fn decode(row: &EventRow) -> Result<Stored> {
    postcard::from_bytes(&row.body).map_err(|_| Error::Unrecoverable("event log"))
}
