//! The facts of an invite, and the accounts whose invites are taken.

use std::collections::BTreeSet;

use mdk_store::GroupRow;
use mdk_wire::{EventId, PublicKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};

/// An invitation that waits beside another one.
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
    pub(crate) epoch: u64,
    pub(crate) join_epoch: u64,
    pub(crate) joined_at: u64,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) admins: Vec<Key>,
    pub(crate) members: Vec<Key>,
    /// The admins of the last membership whose inviter the membership before it knew as an admin, or of the first one.
    pub(crate) trusted: Vec<Key>,
}

impl Earlier {
    /// Keeps the facts of a membership that another invitation takes the place of. `before` is the membership that this
    /// one has taken the place of.
    pub(crate) fn of(before: Option<Self>, row: &GroupRow) -> Self {
        let before = before.filter(|before| !before.knows(row.welcomer));
        let admins = keys(&row.admins);
        Self {
            epoch: row.epoch,
            join_epoch: row.join_epoch,
            joined_at: row.pass.joined_at,
            name: row.name.clone(),
            description: row.description.clone(),
            members: keys(&row.members),
            trusted: before.map_or_else(|| admins.clone(), |before| before.trusted),
            admins,
        }
    }

    /// Whether somebody was an admin when we were last in the group as we knew it.
    pub(crate) fn knows(&self, account: Option<PublicKey>) -> bool {
        account.is_some_and(|account| self.trusted.contains(account.as_bytes()))
    }

    // rule: B4-31 who declines an invitation is what it was before it
    /// Puts back the fields that a later invitation has changed.
    pub(crate) fn restores(self, row: &mut GroupRow) -> Result<()> {
        row.admins = accounts(&self.admins)?;
        row.members = accounts(&self.members)?;
        (row.epoch, row.join_epoch, row.pass.joined_at) =
            (self.epoch, self.join_epoch, self.joined_at);
        (row.name, row.description) = (self.name, self.description);
        Ok(())
    }
}

/// The accounts whose invites are taken. An invite counts as that of the account that sent it, no matter who signed its
/// content.
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

/// A Welcome for a group that we are in.
pub(crate) struct Offer {
    pub invite: EventId,
    pub epoch: u64,
    /// The claimed time of its making, Unix seconds.
    pub made: Timestamp,
}

pub(crate) type Key = [u8; 32];

pub(crate) fn keys(accounts: &[PublicKey]) -> Vec<Key> {
    accounts.iter().map(|key| *key.as_bytes()).collect()
}

pub(crate) fn accounts(keys: &[Key]) -> Result<Vec<PublicKey>> {
    let key = |key: &Key| PublicKey::from_bytes(*key);
    let all: std::result::Result<_, _> = keys.iter().map(key).collect();
    all.map_err(|_| Error::Unrecoverable("event log"))
}
