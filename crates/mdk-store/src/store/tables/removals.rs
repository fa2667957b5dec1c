//! Removals and demotions that another branch can still undo.

use mdk_wire::{ContentId, GroupId, PublicKey, Timestamp};
use rusqlite::params;

use crate::store::columns::{Columns, U64, guarded_debug};
use crate::{Result, Tx};

/// An account that a commit has put out of a group, or out of its admins.
#[derive(Clone, PartialEq, Eq)]
pub struct RemovalRow {
    /// MLS group id.
    pub group: GroupId,
    /// The account.
    pub account: PublicKey,
    /// Whether it stays a member, and is an admin no more.
    pub demoted: bool,
    /// The commit that did it.
    pub commit: ContentId,
    /// The epoch that the commit led to.
    pub epoch: u64,
    /// The arrival time of the commit, Unix milliseconds.
    pub made_at: u64,
    /// Whether this account made the commit.
    pub own: bool,
    /// Whether commits follow until no other branch can undo it.
    pub seal: bool,
    /// The time at which another branch undid it; 0 while it holds.
    pub undone_at: Timestamp,
    /// The earliest time at which it is made again, Unix milliseconds.
    pub next_at: u64,
    /// The number of attempts to make it again.
    pub attempts: u32,
}
guarded_debug!(RemovalRow { demoted, epoch, own, seal, undone_at, attempts });

impl Tx<'_> {
    /// The rows of a group, in no order.
    pub fn removals(&self, group: &GroupId) -> Result<Vec<RemovalRow>> {
        self.all(
            "SELECT group_id, account, demoted, commit_id, epoch, made_at, own, seal, undone_at, next_at, attempts \
             FROM removals WHERE group_id = ?1",
            [group.as_bytes()],
            |row| {
                let mut c = Columns::new(row, "removals");
                Ok(RemovalRow {
                    group: c.group_id()?,
                    account: c.public_key()?,
                    demoted: c.bool()?,
                    commit: c.content_id()?,
                    epoch: c.u64()?,
                    made_at: c.u64()?,
                    own: c.bool()?,
                    seal: c.bool()?,
                    undone_at: c.u64()?,
                    next_at: c.u64()?,
                    attempts: c.u32()?,
                })
            },
        )
    }

    /// Adds a row, or replaces the one of the same account and sort.
    pub fn put_removal(&self, row: &RemovalRow) -> Result<()> {
        self.exec(
            "INSERT OR REPLACE INTO removals (group_id, account, demoted, commit_id, epoch, made_at, own, seal, \
             undone_at, next_at, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                row.group.as_bytes(),
                row.account.as_bytes(),
                row.demoted,
                row.commit.as_bytes(),
                U64(row.epoch),
                U64(row.made_at),
                row.own,
                row.seal,
                U64(row.undone_at),
                U64(row.next_at),
                row.attempts,
            ],
        )?;
        Ok(())
    }

    /// Forgets a row, if it is there.
    pub fn drop_removal(&self, row: &RemovalRow) -> Result<()> {
        self.exec(
            "DELETE FROM removals WHERE group_id = ?1 AND account = ?2 AND demoted = ?3",
            params![row.group.as_bytes(), row.account.as_bytes(), row.demoted],
        )?;
        Ok(())
    }
}
