//! The list of events to publish, and of messages to renew first.

use std::collections::{BTreeMap, HashSet};

use mdk_store::{OutgoingPurpose, OutgoingRow};

use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::outbox::{OutboxItem, OutboxPurpose, RelayResult};
use crate::state_store::groups::Groups;
use crate::state_store::outbox::accepted;
use crate::state_store::stale_outgoing::Late;
use crate::state_store::{retained_states, stale_outgoing};

// rule: OB-5 what was put in first goes out first, with the same bytes each time (but OB-17, OB-19)
/// Lists the items to publish but those at the places `aside`, without messages that are too old to be read. Lists also
/// the groups of which messages have to be made anew first.
pub(crate) fn list_outbox(
    groups: Groups<'_>,
    call: Call<'_>,
    aside: &HashSet<i64>,
    limit: u32,
) -> Result<(Vec<OutboxItem>, Late)> {
    let rows = groups.tx.outgoing_but(aside, limit)?;
    let stale = stale_outgoing::stale_groups(groups, &rows)?;
    let misdated = stale_outgoing::misdated_groups(call, &rows);
    let mut items = Vec::with_capacity(rows.len());
    let mut since = BTreeMap::new();
    for row in rows {
        let group = row.group.as_ref().filter(|group| stale.contains(group));
        let message = row.purpose == OutgoingPurpose::Message && !accepted(&row);
        let too_old = match group.filter(|_| message) {
            Some(group) => stale_outgoing::is_stale(groups, group, &row)?,
            None => false,
        };
        if too_old {
            continue;
        }
        let mut item = item(row)?;
        if let Some(group) = item.group.as_ref().filter(|_| message) {
            if !since.contains_key(group) {
                since.insert(group.clone(), retained_states::epoch_since(groups, group)?);
            }
            item.epoch_since = since.get(group).copied().unwrap_or(0);
        }
        items.push(item);
    }
    Ok((items, Late { stale, misdated }))
}

fn item(row: OutgoingRow) -> Result<OutboxItem> {
    let damaged = || Error::Unrecoverable("outbox");
    let purpose = match row.purpose {
        OutgoingPurpose::Message => {
            OutboxPurpose::Message { message_id: row.message.ok_or_else(damaged)? }
        }
        OutgoingPurpose::Commit => {
            OutboxPurpose::Commit { pending: row.pending.ok_or_else(damaged)? }
        }
        OutgoingPurpose::Welcome => {
            OutboxPurpose::Welcome { recipient: row.recipient.ok_or_else(damaged)? }
        }
        OutgoingPurpose::Proposal => OutboxPurpose::Proposal,
        OutgoingPurpose::KeyPackage => OutboxPurpose::KeyPackage,
        OutgoingPurpose::PushTokens => OutboxPurpose::PushTokens,
        OutgoingPurpose::List => OutboxPurpose::List,
    };
    let results = row.targets.into_iter().map(|target| RelayResult {
        relay: target.relay,
        state: target.state,
        attempts: target.attempts,
        next_at: target.next_at,
        reason: target.reason,
    });
    let results: Vec<RelayResult> = results.collect();
    Ok(OutboxItem {
        seq: row.seq,
        purpose,
        group: row.group,
        event: row.event_json.ok_or_else(damaged)?,
        event_id: row.event_id,
        relays: results.iter().map(|result| result.relay.clone()).collect(),
        created_at: row.created_at,
        epoch_since: 0,
        attempts: row.attempts,
        results,
    })
}
