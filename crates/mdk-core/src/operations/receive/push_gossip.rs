//! What members tell each other about the tokens that wake their phones (docs/internals/protocol/push.md).

use mdk_store::{MessageRow, PushTokenRow};
use mdk_wire::GroupId;
use mdk_wire::push::{self, Gossip, TokenRecord, TokenRemoval};

use crate::mls::push_owners::owns_leaf;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::membership;

// rule: 2.11-11 it counts for the branch that it is said on, and is neither shown nor told
/// Takes what it says about tokens. No fault in it is more than a number.
pub(crate) fn deliver_gossip(work: &mut Work<'_>, row: MessageRow) -> Result<()> {
    work.records.witnesses().witness(&row)?;
    work.records.tx.insert_spent(&row)?;
    if row.mine || membership::is_over(work.records.groups().current_row(&row.group)?.status) {
        return Ok(());
    }
    let now = work.records.call.now_millis;
    let dropped = match push::parse(row.kind, &row.content, now) {
        Err(_) => 1,
        Ok(Gossip::Request) => {
            work.records.push_tokens().asked(&row.group, &row.sender)?;
            0
        }
        Ok(Gossip::Records(records, bad)) => {
            let rows = records.into_iter().map(|record| Entry::of_record(&row.group, now, record));
            bad + keep_entries(work, &row.group, rows)?
        }
        Ok(Gossip::Removals(removals, bad)) => {
            let rows =
                removals.into_iter().map(|removal| Entry::of_removal(&row.group, now, removal));
            bad + keep_entries(work, &row.group, rows)?
        }
    };
    work.records.memory.for_client.push_dropped += dropped as u64;
    Ok(())
}

/// An entry as it would be kept, and what proves it.
struct Entry {
    row: PushTokenRow,
    removal: Option<TokenRemoval>,
}

impl Entry {
    fn of_record(group: &GroupId, told_at: u64, record: TokenRecord) -> Self {
        let (key, owner_ts, digest) = (record.key, record.owner_ts, record.digest(group));
        let group = group.clone();
        let row = PushTokenRow { group, key, owner_ts, digest, told_at, record: Some(record) };
        Self { row, removal: None }
    }

    fn of_removal(group: &GroupId, told_at: u64, removal: TokenRemoval) -> Self {
        let (key, owner_ts, digest) = (removal.key, removal.owner_ts, removal.digest(group));
        let group = group.clone();
        let row = PushTokenRow { group, key, owner_ts, digest, told_at, record: None };
        Self { row, removal: Some(removal) }
    }

    fn is_proven(&self) -> bool {
        let group = &self.row.group;
        let proofs = [
            self.row.record.as_ref().map(|record| record.verify(group)),
            self.removal.as_ref().map(|removal| removal.verify(group)),
        ];
        proofs.into_iter().flatten().all(|proof| proof.is_ok())
    }
}

/// Keeps the entries that count. Returns how many are out of order.
fn keep_entries(
    work: &mut Work<'_>,
    id: &GroupId,
    entries: impl Iterator<Item = Entry>,
) -> Result<usize> {
    let group = work.take(id)?;
    let mut dropped = 0;
    for entry in entries {
        let in_order = owns_leaf(&group.mls, &entry.row.key)
            && work.records.push_tokens().keep(&entry.row, || entry.is_proven())?;
        dropped += usize::from(!in_order);
    }
    work.put(group);
    Ok(dropped)
}
