//! The durable event log: what happened, by reference, with stable ids.
//!
//! A row names its subject (a message's position, a commit's digest); the value that the user sees is read
//! from the tables when it is asked for. The stable id makes a repeated emission after a crash a no-op.

use std::collections::BTreeSet;

use mdk_store::{EventRow, MessageRow, MessageStatus, Tx};
use mdk_wire::{ContentId, EventId, GroupId, PublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::group::beside::{self, Beside};
use crate::group::declined::is_declined;
use crate::group::earlier::Earlier;
use crate::history;
use crate::values::{EngineEvent, EventBody, Reaction};

/// Names of settings in `GroupUpdated`, stored as their position.
pub(crate) const SETTINGS: [&str; 11] = [
    "name",
    "description",
    "relays",
    "admins",
    "retention",
    "image",
    "avatar",
    "media",
    "agent_stream",
    "required",
    "other",
];

pub(crate) type Key = [u8; 32];

/// What a row of the log holds. Appending variants is compatible, reordering is not.
#[derive(Serialize, Deserialize)]
pub(crate) enum Stored {
    MessageReceived {
        seq: i64,
    },
    MessageEdited {
        seq: i64,
    },
    MessageDeleted {
        id: Key,
    },
    /// As it was written once, with the text: [`Stored::Reacted`] is written now.
    ReactionAdded {
        target: Key,
        sender: Key,
        emoji: String,
    },
    /// `emoji` is a sign or empty: see [`Stored::reaction_removed`].
    ReactionRemoved {
        target: Key,
        sender: Key,
        emoji: String,
    },
    Invited {
        welcome: Key,
    },
    Joined,
    Removed {
        by: Option<Key>,
        left: bool,
        commit: Option<Key>,
    },
    MembersChanged {
        added: Vec<Key>,
        removed: Vec<Key>,
        left: Vec<Key>,
        by: Option<Key>,
        commit: Option<Key>,
    },
    GroupUpdated {
        changed: Vec<u8>,
        by: Option<Key>,
        commit: Option<Key>,
    },
    EpochChanged {
        old: u64,
        new: u64,
        commit: Option<Key>,
    },
    MessagesInvalidated {
        ids: Vec<Key>,
    },
    Disbanded {
        by: Option<Key>,
    },
    DeliveryChanged {
        id: Key,
        delivery: u8,
        errors: Vec<(String, String)>,
    },
    ChangeWithdrawn {
        commit: Key,
    },
    HistoryGap {
        count: u64,
        first: u64,
        last: u64,
    },
    Unrecoverable {
        reason: String,
    },
    InviteDeliveryChanged {
        account: Key,
        delivery: u8,
        errors: Vec<(String, String)>,
    },
    /// Invited to a group that we were in before, whose history went up to `after` then.
    Reinvited {
        welcome: Key,
        after: i64,
    },
    CannotFollow {
        epoch: u64,
    },
    /// What an invitation has taken the place of. Nobody is told.
    Earlier(Box<Earlier>),
    /// Invited by somebody else beside what there is of the group.
    Beside(Box<Beside>),
    /// A reaction came. Its text stands in its own row only, and goes with it.
    Reacted {
        seq: i64,
    },
    RemovalUndone {
        account: Key,
        demoted: bool,
        by: Option<Key>,
        at: u64,
    },
    HistoryTrimmed {
        sender: Key,
    },
}

/// How many characters the longest emoji has that is one sign: a kiss of two people with their skin tones.
const LONGEST_SIGN: usize = 10;

/// Kind of [`Stored::Earlier`].
pub(crate) const EARLIER: u8 = 20;

/// Kind of [`Stored::Beside`].
pub(crate) const BESIDE: u8 = 21;

impl Stored {
    fn kind(&self) -> u8 {
        match self {
            Self::MessageReceived { .. } => 0,
            Self::MessageEdited { .. } => 1,
            Self::MessageDeleted { .. } => 2,
            Self::ReactionAdded { .. } | Self::Reacted { .. } => 3,
            Self::ReactionRemoved { .. } => 4,
            Self::Invited { .. } => 5,
            Self::Joined => 6,
            Self::Removed { .. } => 7,
            Self::MembersChanged { .. } => 8,
            Self::GroupUpdated { .. } => 9,
            Self::EpochChanged { .. } => 10,
            Self::MessagesInvalidated { .. } => 11,
            Self::Disbanded { .. } => 12,
            Self::DeliveryChanged { .. } => 13,
            Self::ChangeWithdrawn { .. } => 14,
            Self::HistoryGap { .. } => 15,
            Self::Unrecoverable { .. } => 16,
            Self::InviteDeliveryChanged { .. } => 17,
            Self::Reinvited { .. } => 18,
            Self::CannotFollow { .. } => 19,
            Self::Earlier(_) => EARLIER,
            Self::Beside(_) => BESIDE,
            Self::RemovalUndone { .. } => 22,
            Self::HistoryTrimmed { .. } => 23,
        }
    }
}

impl Stored {
    // rule: 2.9-9 of a reaction that is gone the log keeps who took which sign back, and no text
    /// That the reaction `row` is gone.
    pub(crate) fn reaction_removed(row: &MessageRow) -> Option<Self> {
        let target = *row.target?.as_bytes();
        let emoji = if is_sign(&row.content) { row.content.clone() } else { String::new() };
        Some(Self::ReactionRemoved { target, sender: *row.sender.as_bytes(), emoji })
    }

    fn is_of_message(&self) -> bool {
        self.kind() < 5
    }
}

impl Ctx<'_, '_> {
    /// Records an event once; `subject` distinguishes it from others of its kind in the group.
    pub(crate) fn emit(&mut self, group: &GroupId, subject: &[u8], stored: &Stored) -> Result<()> {
        // A message is delivered once for ever already, so its event needs no id of its own.
        let stable_id = (!stored.is_of_message()).then(|| stable_id(group, subject, stored.kind()));
        self.tell(group, stable_id, stored)
    }

    /// Whether it was told that a commit was withdrawn with that change of branches.
    pub(crate) fn was_withdrawn(
        &self,
        group: &GroupId,
        switch: u64,
        commit: &ContentId,
    ) -> Result<bool> {
        let subject = withdrawal(switch, commit);
        let like = Stored::ChangeWithdrawn { commit: *commit.as_bytes() };
        Ok(self.recorded(group, &subject, &like)?.is_some())
    }

    /// Where in the log, and with what, [`Ctx::emit`] recorded an event of the kind of `like`.
    pub(crate) fn recorded(
        &self,
        group: &GroupId,
        subject: &[u8],
        like: &Stored,
    ) -> Result<Option<(i64, Stored)>> {
        recorded_as(self.tx, group, subject, like.kind())
    }

    /// Records what the step from one state to another brings, in the transaction that takes it: a step is not taken
    /// twice, so this needs no id. A commit that wins, loses and wins again is told each time.
    pub(crate) fn emit_step(&mut self, group: &GroupId, stored: &Stored) -> Result<()> {
        self.tell(group, None, stored)
    }

    fn tell(&mut self, group: &GroupId, stable_id: Option<Key>, stored: &Stored) -> Result<()> {
        let Some(cursor) = self.record(group, stable_id, stored)? else { return Ok(()) };
        if is_hidden(self.tx, Some(group))? {
            return Ok(());
        }
        if let Some(body) = materialize(self.tx, self.identity.account(), Some(group), stored)? {
            self.events.push(EngineEvent { cursor, group_id: Some(group.clone()), body });
        }
        Ok(())
    }

    /// As [`Ctx::emit`], when what the user will see is at hand.
    pub(crate) fn emit_known(
        &mut self,
        group: &GroupId,
        stored: &Stored,
        body: EventBody,
    ) -> Result<()> {
        if let Some(cursor) = self.record(group, None, stored)?
            && !is_hidden(self.tx, Some(group))?
        {
            self.events.push(EngineEvent { cursor, group_id: Some(group.clone()), body });
        }
        Ok(())
    }

    fn record(
        &self,
        group: &GroupId,
        stable_id: Option<Key>,
        stored: &Stored,
    ) -> Result<Option<i64>> {
        let body = postcard::to_stdvec(stored).map_err(Error::bug("event encoding"))?;
        Ok(self.tx.append_event(stable_id.as_ref(), Some(group), stored.kind(), &body)?)
    }
}

/// Reads a row of the log; `None` when its subject is gone (the group was deleted).
pub(crate) fn read(tx: &Tx<'_>, me: PublicKey, row: &EventRow) -> Result<Option<EngineEvent>> {
    // What is left of the newest event of a deleted group.
    if row.body.is_empty() {
        return Ok(None);
    }
    if is_hidden(tx, row.group.as_ref())? {
        return Ok(None);
    }
    let body = materialize(tx, me, row.group.as_ref(), &decode(row)?)?;
    Ok(body.map(|body| EngineEvent { cursor: row.seq, group_id: row.group.clone(), body }))
}

/// Whether nobody is told what happens in a group: the invite to it was declined.
fn is_hidden(tx: &Tx<'_>, group: Option<&GroupId>) -> Result<bool> {
    group.map_or(Ok(false), |group| is_declined(tx, group))
}

/// Where in the log, and with what, [`Ctx::emit`] recorded an event of this kind.
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

fn decode(row: &EventRow) -> Result<Stored> {
    postcard::from_bytes(&row.body).map_err(|_| Error::Unrecoverable("event log"))
}

/// What distinguishes the withdrawal of a commit from others: it may win again, and lose again.
pub(crate) fn withdrawal(switch: u64, commit: &ContentId) -> Vec<u8> {
    [&switch.to_be_bytes()[..], commit.as_bytes()].concat()
}

fn stable_id(group: &GroupId, subject: &[u8], kind: u8) -> Key {
    Sha256::new()
        .chain_update([kind])
        .chain_update(group.as_bytes())
        .chain_update(subject)
        .finalize()
        .into()
}

fn materialize(
    tx: &Tx<'_>,
    me: PublicKey,
    group: Option<&GroupId>,
    stored: &Stored,
) -> Result<Option<EventBody>> {
    Ok(Some(match stored {
        Stored::MessageReceived { seq } | Stored::MessageEdited { seq } => {
            let row = tx.message_by_seq(*seq)?;
            let Some(row) = row.filter(|row| history::is_shown(row.status)) else {
                return Ok(None);
            };
            let message = history::view(tx, row)?;
            if matches!(stored, Stored::MessageEdited { .. }) {
                EventBody::MessageEdited { message }
            } else {
                EventBody::MessageReceived { message }
            }
        }
        Stored::MessageDeleted { id } => {
            EventBody::MessageDeleted { message_id: EventId::from_bytes(*id) }
        }
        Stored::ReactionAdded { target, sender, emoji } => {
            EventBody::ReactionAdded { reaction: reaction(target, sender, emoji)? }
        }
        Stored::Reacted { seq } => {
            let row = tx.message_by_seq(*seq)?.filter(|row| {
                history::is_shown(row.status) && row.status != MessageStatus::Deleted
            });
            let Some(MessageRow { target: Some(message_id), sender, content, .. }) = row else {
                return Ok(None);
            };
            EventBody::ReactionAdded { reaction: Reaction { message_id, sender, emoji: content } }
        }
        Stored::ReactionRemoved { target, sender, emoji } => {
            EventBody::ReactionRemoved { reaction: reaction(target, sender, emoji)? }
        }
        Stored::Invited { welcome } | Stored::Reinvited { welcome, .. } => {
            let row = tx.group_by_welcome(&EventId::from_bytes(*welcome))?;
            let Some(invite) = row.as_ref().and_then(history::invite) else { return Ok(None) };
            EventBody::Invited { invite }
        }
        Stored::Beside(said) => {
            let invite = group.map(|id| beside::told(tx, id, said)).transpose()?.flatten();
            let Some(invite) = invite else { return Ok(None) };
            EventBody::Invited { invite }
        }
        Stored::Earlier(_) => return Ok(None),
        Stored::Joined => {
            let Some(row) = group.map(|g| tx.group(g)).transpose()?.flatten() else {
                return Ok(None);
            };
            EventBody::Joined { group: history::group_info(tx, me, &row)? }
        }
        Stored::Removed { by, left, commit } => EventBody::Removed {
            by: account(by.as_ref())?,
            left: *left,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::MembersChanged { added, removed, left, by, commit } => EventBody::MembersChanged {
            added: accounts(added)?,
            removed: accounts(removed)?,
            left: accounts(left)?,
            by: account(by.as_ref())?,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::GroupUpdated { changed, by, commit } => EventBody::GroupUpdated {
            changed: changed
                .iter()
                .filter_map(|&i| SETTINGS.get(usize::from(i)).copied())
                .collect(),
            by: account(by.as_ref())?,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::EpochChanged { old, new, commit } => EventBody::EpochChanged {
            old: *old,
            new: *new,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::MessagesInvalidated { ids } => EventBody::MessagesInvalidated {
            message_ids: ids.iter().copied().map(EventId::from_bytes).collect(),
        },
        Stored::ChangeWithdrawn { commit } => {
            EventBody::ChangeWithdrawn { commit: ContentId::from_bytes(*commit) }
        }
        Stored::HistoryGap { count, first, last } => {
            EventBody::HistoryGap { count: *count, first: *first, last: *last }
        }
        Stored::RemovalUndone { account: who, demoted, by, at } => EventBody::RemovalUndone {
            account: PublicKey::from_bytes(*who).map_err(|_| Error::Unrecoverable("event log"))?,
            demoted: *demoted,
            by: account(by.as_ref())?,
            at: *at,
        },
        Stored::HistoryTrimmed { sender } => EventBody::HistoryTrimmed {
            sender: PublicKey::from_bytes(*sender)
                .map_err(|_| Error::Unrecoverable("event log"))?,
        },
        Stored::CannotFollow { epoch } => EventBody::CannotFollow { epoch: *epoch },
        Stored::Unrecoverable { reason } => EventBody::Unrecoverable { reason: reason.clone() },
        Stored::Disbanded { by } => EventBody::Disbanded { by: account(by.as_ref())? },
        Stored::DeliveryChanged { id, delivery, errors } => EventBody::DeliveryChanged {
            message_id: EventId::from_bytes(*id),
            delivery: history::delivery(*delivery),
            errors: errors.clone(),
        },
        Stored::InviteDeliveryChanged { account, delivery, errors } => {
            EventBody::InviteDeliveryChanged {
                account: PublicKey::from_bytes(*account)
                    .map_err(|_| Error::Unrecoverable("event log"))?,
                delivery: history::delivery(*delivery),
                errors: errors.clone(),
            }
        }
    }))
}

fn account(key: Option<&Key>) -> Result<Option<PublicKey>> {
    key.map(|key| PublicKey::from_bytes(*key))
        .transpose()
        .map_err(|_| Error::Unrecoverable("event log"))
}

fn accounts(keys: &[Key]) -> Result<BTreeSet<PublicKey>> {
    keys.iter()
        .map(|key| PublicKey::from_bytes(*key))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::Unrecoverable("event log"))
}

/// Whether a reaction is one sign, in which nothing can be written: `+`, `-`, a flag, or pictures that are joined to one.
fn is_sign(content: &str) -> bool {
    let flag = |c: char| ('\u{1f1e6}'..='\u{1f1ff}').contains(&c);
    let picture = |c: char| {
        matches!(c, '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}'
            | '\u{2b00}'..='\u{2bff}' | '\u{1f300}'..='\u{1faff}')
    };
    let chars: Vec<char> = content.chars().take(LONGEST_SIGN + 1).collect();
    if matches!(chars[..], ['+' | '-']) || matches!(chars[..], [a, b] if flag(a) && flag(b)) {
        return true;
    }
    chars.len() <= LONGEST_SIGN
        && chars.split(|&c| c == '\u{200d}').all(|part| match part {
            [base] => picture(*base),
            // (how it is shown, and the tone of a skin)
            [base, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}'] => picture(*base),
            _ => false,
        })
}

fn reaction(target: &Key, sender: &Key, emoji: &str) -> Result<Reaction> {
    Ok(Reaction {
        message_id: EventId::from_bytes(*target),
        sender: PublicKey::from_bytes(*sender).map_err(|_| Error::Unrecoverable("event log"))?,
        emoji: emoji.to_owned(),
    })
}
