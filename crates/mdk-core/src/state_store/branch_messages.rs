//! Messages on branches that lose stay in the history, marked (protocol/branches.md E5).

use std::collections::BTreeSet;

use mdk_store::{MessageRow, MessageStatus, NodeRow};
use mdk_wire::{EventId, GroupId, kind};

use crate::model::error::Result;
use crate::model::state_id::Auth;
use crate::state_store::event_log::EventLog;
use crate::state_store::groups::Groups;
use crate::state_store::log_entry::Stored;
use crate::state_store::message_effects::Messages;

/// Whether a message stands in the history by itself, and does not change another one.
fn is_shown(row: &MessageRow) -> bool {
    !matches!(row.kind, kind::REACTION | kind::EDIT | kind::DELETE)
}

/// The history, by the followed branch.
pub(crate) struct BranchMessages<'a> {
    pub(crate) groups: Groups<'a>,
    pub(crate) log: EventLog<'a>,
}

impl<'a> BranchMessages<'a> {
    fn messages(&self) -> Messages<'a> {
        Messages { tx: self.log.tx }
    }

    /// Marks messages of the retained states from this epoch on: others do not follow any of these states.
    pub(crate) fn lose_branch(&mut self, id: &GroupId, from: u64) -> Result<()> {
        for node in self.log.tx.nodes(id)?.iter().filter(|node| node.epoch >= from) {
            self.log.tx.set_canonical(id, &node.authenticator, false)?;
        }
        self.sort_messages(id)
    }

    // rule: E5-4 what was said on a branch that lost is marked and stays; what was said on the winner is delivered
    /// Brings the history in line with the branch that is followed.
    pub(crate) fn sort_messages(&mut self, id: &GroupId) -> Result<()> {
        let mut nodes = self.log.tx.nodes(id)?;
        nodes.reverse();
        let mut lost: Vec<EventId> = Vec::new();
        // Rivals may be many, and mostly nobody spoke there: one query asks for all of them.
        let beside = nodes.iter().filter(|n| !n.canonical).map(|n| n.history).min();
        let spoken: BTreeSet<Auth> = match beside {
            Some(from) => self.log.tx.spoken_in(id, None, from)?.into_iter().collect(),
            None => BTreeSet::new(),
        };
        let silent = |node: &NodeRow| !spoken.contains(&node.authenticator);
        for node in nodes.iter().filter(|n| !n.canonical && !silent(n)) {
            for row in self.log.tx.said_in(id, &node.authenticator, node.history)? {
                if !matches!(row.status, MessageStatus::Valid | MessageStatus::Parked) {
                    continue;
                }
                // A copy of a shown message says nothing new, wherever it stands.
                if row.status == MessageStatus::Parked
                    && self.log.tx.message(id, &row.id)?.is_some()
                {
                    continue;
                }
                self.log.tx.set_message_status(row.seq, MessageStatus::Invalidated)?;
                self.withdraw(&row)?;
                lost.extend(is_shown(&row).then_some(row.id));
            }
        }
        self.tell_lost(id, &lost)?;
        for node in nodes.iter().filter(|n| n.canonical) {
            for row in self.log.tx.said_in(id, &node.authenticator, node.history)? {
                if matches!(row.status, MessageStatus::Invalidated | MessageStatus::Parked) {
                    self.show(row)?;
                }
            }
        }
        Ok(())
    }

    // rule: E5-10 what comes on a branch that has lost is marked as soon as it comes, if no choice is to come
    /// Shows or marks a message of a state that is not live. If a pass is open, its end does so. If none is, the
    /// message cannot change the choice any more (rule: E5-5), and no later step would look at it.
    pub(crate) fn place_late(&mut self, row: &MessageRow) -> Result<()> {
        let id = &row.group;
        if is_to_choose(self.groups, id)? || self.log.tx.message(id, &row.id)?.is_some() {
            return Ok(());
        }
        // (an account that is out of the group has states that are followed as far as the removal)
        let there = |node: &NodeRow| node.canonical && node.authenticator == row.authenticator;
        if self.log.tx.nodes(id)?.iter().any(there) {
            return self.show(row.clone());
        }
        self.log.tx.set_message_status(row.seq, MessageStatus::Invalidated)?;
        let lost: Vec<EventId> = is_shown(row).then_some(row.id).into_iter().collect();
        self.tell_lost(id, &lost)
    }

    fn tell_lost(&mut self, id: &GroupId, lost: &[EventId]) -> Result<()> {
        if lost.is_empty() {
            return Ok(());
        }
        let mut subject = self.groups.current_row(id)?.pass.switches.to_be_bytes().to_vec();
        lost.iter().for_each(|id| subject.extend_from_slice(id.as_bytes()));
        let ids = lost.iter().map(|id| *id.as_bytes()).collect();
        self.log.emit(id, &subject, &Stored::MessagesInvalidated { ids })
    }

    /// A message of the branch that is followed now: delivered, at the end of the history if it was never shown.
    pub(crate) fn show(&mut self, mut row: MessageRow) -> Result<()> {
        // rule: 2.5-10 of several copies one is shown
        let mut copies = self.log.tx.copies(&row.group, &row.id)?;
        copies.retain(|copy| copy.seq != row.seq);
        if copies.iter().any(|copy| copy.status == MessageStatus::Deleted) {
            return self.messages().expire_row(&row);
        }
        if copies.iter().any(|copy| copy.status == MessageStatus::Valid) {
            return Ok(self.log.tx.set_message_status(row.seq, MessageStatus::Parked)?);
        }
        self.messages().park_copies(&copies)?;
        if row.status == MessageStatus::Parked {
            row.seq = self.messages().show_row_last(&row)?;
        } else {
            self.log.tx.set_message_status(row.seq, MessageStatus::Valid)?;
        }
        row.status = MessageStatus::Valid;
        let (group, subject) = (row.group.clone(), *row.content_id.as_bytes());
        if self.messages().is_deleted(&row)? {
            self.messages().erase_edits(&group, &row.id, None)?;
            return self.messages().erase_row(&row);
        }
        let Some(stored) = self.messages().apply_to_target(&row)? else { return Ok(()) };
        if let Stored::MessageReceived { .. } = stored {
            self.log.emit_message(row)
        } else {
            self.log.emit(&group, &subject, &stored)
        }
    }

    /// Undoes the effect of a lost branch's message on another one.
    pub(crate) fn withdraw(&mut self, row: &MessageRow) -> Result<()> {
        let shown = row.status == MessageStatus::Valid;
        let Some(target) = row.target.filter(|_| shown) else { return Ok(()) };
        let stored = match row.kind {
            kind::REACTION => Stored::reaction_removed(row),
            kind::EDIT => {
                let edited = self.log.tx.message(&row.group, &target)?;
                edited.map(|edited| Stored::MessageEdited { seq: edited.seq })
            }
            _ => None,
        };
        let Some(stored) = stored else { return Ok(()) };
        self.log.emit(&row.group, row.content_id.as_bytes(), &stored)
    }
}

/// Whether a choice between branches is to come.
pub(crate) fn is_to_choose(groups: Groups<'_>, id: &GroupId) -> Result<bool> {
    Ok(groups.current_row(id)?.pass.opened != 0)
}
