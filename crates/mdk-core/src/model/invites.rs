//! What is known of an invite, and whose invites are taken.

use std::collections::BTreeSet;

use mdk_store::{GroupRow, Tx};
use mdk_wire::{EventId, PublicKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::error::Result;
use crate::policy::invite::is_bygone;
use crate::state_store::log_entry::Key;
use crate::state_store::previous_memberships::{accounts, earlier, keys};

/// What an invitation says that waits beside another one.
#[derive(Serialize, Deserialize)]
pub(crate) struct Beside {
    pub(crate) welcome: Key,
    pub(crate) epoch: u64,
    pub(crate) made: Timestamp,
    pub(crate) inviter: Key,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) member_count: u64,
    pub(crate) admins: Vec<Key>,
    pub(crate) relays: Vec<String>,
    pub(crate) received_at: Timestamp,
}

/// A membership that a later invitation has taken the place of.
#[derive(Serialize, Deserialize)]
pub(crate) struct Earlier {
    epoch: u64,
    join_epoch: u64,
    joined_at: u64,
    name: String,
    description: String,
    admins: Vec<Key>,
    members: Vec<Key>,
    /// The admins of the last membership that was not begun by somebody whom the one before did not know as one.
    trusted: Vec<Key>,
}

impl Earlier {
    /// What is kept of a membership that another invitation takes the place of.
    pub(crate) fn of(tx: &Tx<'_>, row: &GroupRow) -> Result<Self> {
        let before = earlier(tx, row)?.filter(|before| !before.knows(row.welcomer));
        let admins = keys(&row.admins);
        Ok(Self {
            epoch: row.epoch,
            join_epoch: row.join_epoch,
            joined_at: row.pass.joined_at,
            name: row.name.clone(),
            description: row.description.clone(),
            members: keys(&row.members),
            trusted: before.map_or_else(|| admins.clone(), |before| before.trusted),
            admins,
        })
    }

    /// Whether somebody was an admin when we were last in the group as we knew it.
    pub(crate) fn knows(&self, account: Option<PublicKey>) -> bool {
        account.is_some_and(|account| self.trusted.contains(account.as_bytes()))
    }

    // rule: B4-31 who declines an invitation is what it was before it
    /// Puts back what a later invitation has changed.
    pub(crate) fn restores(self, row: &mut GroupRow) -> Result<()> {
        row.admins = accounts(&self.admins)?;
        row.members = accounts(&self.members)?;
        (row.epoch, row.join_epoch, row.pass.joined_at) =
            (self.epoch, self.join_epoch, self.joined_at);
        (row.name, row.description) = (self.name, self.description);
        Ok(())
    }

    /// Whether a Welcome is from before it, as B4-20 has it for one that has ended.
    pub(crate) fn is_after(&self, now: &GroupRow, epoch: u64, made: Timestamp) -> bool {
        let mut row = now.clone();
        (row.epoch, row.join_epoch) = (self.epoch, self.join_epoch);
        row.pass.joined_at = self.joined_at;
        is_bygone(&row, epoch, made)
    }
}

/// Whose invites are taken. An invite counts as that of the account that sent it, whoever signed what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inviters {
    /// Accounts that are no strangers, besides those that are in a group with us.
    pub known: BTreeSet<PublicKey>,
    /// Whether invites of strangers are taken.
    pub strangers: bool,
}

impl Default for Inviters {
    fn default() -> Self {
        Self { known: BTreeSet::new(), strangers: true }
    }
}

/// What a Welcome for a group that we are in is.
pub(crate) struct Offer {
    pub invite: EventId,
    pub epoch: u64,
    /// When it says that it was made, Unix seconds.
    pub made: Timestamp,
}
