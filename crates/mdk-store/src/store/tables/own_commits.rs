//! Outgoing changes: our own commits with their exact bytes, and our requests to leave.

use mdk_wire::{ContentId, EventId, GroupId, SecretVec, Timestamp};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, U64, encode_list, guarded_debug, stored_enum};
use crate::store::secure_deletion::Erased;
use crate::{Result, Tx};

stored_enum! {
    /// The stage of a commit of ours.
    pub enum CommitStatus {
        /// Stored; nobody can have it yet.
        Prepared = 0,
        /// Handed out: others may have it.
        Exposed = 1,
        /// A relay has it, and it was applied here.
        Confirmed = 2,
        /// Given up; it may still come back.
        Discarded = 3,
    }
}

/// A commit of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// Assigned by the store, ignored on insert; never assigned twice.
    pub id: i64,
    /// MLS group id.
    pub group: GroupId,
    /// Id of the MLS message.
    pub digest: ContentId,
    /// Epoch that it starts from.
    pub source_epoch: u64,
    /// Epoch authenticator of the state that it starts from.
    pub source_auth: [u8; 32],
    /// Epoch authenticator of the state that it leads to.
    pub next_auth: [u8; 32],
    /// Its purpose; numbered by the engine.
    pub purpose: u8,
    /// Whether the engine made it by itself.
    pub automatic: bool,
    /// Its stage.
    pub status: CommitStatus,
    /// Id of the kind-445 event.
    pub event_id: Option<EventId>,
    /// The signed kind-445 event, as it is to be published; gone once it is confirmed, none for a founding.
    pub event_json: Option<String>,
    /// Its relays.
    pub relays: Vec<String>,
    /// The time of its making, Unix seconds.
    pub created_at: Timestamp,
    /// The MLS rows of the group ([`Tx::mls_dump`]) with the commit pending, once it was discarded; empty before.
    pub group_state: SecretVec,
    /// The MLSMessage(Welcome) for all its new members; empty when it adds nobody.
    pub welcome: Vec<u8>,
}
guarded_debug!(PendingRow { id, source_epoch, purpose, automatic, status });

/// Our request to leave a group.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaveRow {
    /// MLS group id.
    pub group: GroupId,
    /// The time of the user's request, Unix seconds.
    pub requested_at: Timestamp,
    /// Epoch of the last proposal.
    pub proposed_epoch: u64,
    /// The signed kind-445 event with that proposal.
    pub event_json: String,
}
guarded_debug!(LeaveRow { proposed_epoch });

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, group_id, digest, source_epoch, source_auth, next_auth, purpose, automatic, status, event_id, \
             event_json, relays, created_at, group_state, welcome FROM commits ",
            $rest
        )
    };
}
// A group has a few commits, so an index of the unfinished ones would only be one more page to write.
pub(crate) const OPEN_OF_GROUP: &str =
    "SELECT min(id) FROM commits WHERE group_id = ?1 AND status < 2";

fn read(row: &Row<'_>) -> Result<PendingRow> {
    let mut c = Columns::new(row, "commits");
    Ok(PendingRow {
        id: c.i64()?,
        group: c.group_id()?,
        digest: c.content_id()?,
        source_epoch: c.u64()?,
        source_auth: c.array()?,
        next_auth: c.array()?,
        purpose: c.u8()?,
        automatic: c.bool()?,
        status: c.variant(CommitStatus::from_stored)?,
        event_id: c.opt(Columns::event_id)?,
        event_json: c.opt(Columns::text)?,
        relays: c.list()?,
        created_at: c.u64()?,
        group_state: c.secret_vec()?,
        welcome: c.bytes()?,
    })
}

impl Tx<'_> {
    /// Stores a commit of ours and returns its id. `row.id` is ignored.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or already has a commit of the group with this digest.
    pub fn insert_pending(&self, row: &PendingRow) -> Result<i64> {
        self.exec(
            "INSERT INTO commits (group_id, digest, source_epoch, source_auth, next_auth, purpose, automatic, status, \
             event_id, event_json, relays, created_at, group_state, welcome) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            params![
                row.group.as_bytes(),
                row.digest.as_bytes(),
                U64(row.source_epoch),
                &row.source_auth[..],
                &row.next_auth[..],
                row.purpose,
                row.automatic,
                row.status as u8,
                row.event_id.as_ref().map(EventId::as_bytes),
                row.event_json,
                encode_list(&row.relays)?,
                U64(row.created_at),
                row.group_state.expose(),
                row.welcome,
            ],
        )?;
        Ok(self.last_id())
    }

    /// The commit with this id, in every status.
    pub fn pending(&self, id: i64) -> Result<Option<PendingRow>> {
        self.one(select!("WHERE id = ?1"), [id], read)
    }

    /// The unfinished commit (prepared or exposed) of a group; of several, the oldest.
    pub fn pending_of(&self, group: &GroupId) -> Result<Option<PendingRow>> {
        let first = self.one(OPEN_OF_GROUP, [group.as_bytes()], |row| {
            Columns::new(row, "commits").opt(Columns::i64)
        })?;
        first.flatten().map_or(Ok(None), |id| self.pending(id))
    }

    /// All unfinished commits (prepared or exposed), oldest first.
    pub fn pendings(&self) -> Result<Vec<PendingRow>> {
        self.all(select!("WHERE status < 2 ORDER BY id"), [], read)
    }

    /// The commit of a group with this digest, in every status.
    pub fn pending_by_digest(
        &self,
        group: &GroupId,
        digest: &ContentId,
    ) -> Result<Option<PendingRow>> {
        self.one(
            select!("WHERE group_id = ?1 AND digest = ?2"),
            params![group.as_bytes(), digest.as_bytes()],
            read,
        )
    }

    /// Changes the stage of a commit.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the commit.
    pub fn set_commit_status(&self, id: i64, status: CommitStatus) -> Result<()> {
        self.exec_one(
            "UPDATE commits SET status = ?2 WHERE id = ?1",
            params![id, status as u8],
            "an unknown commit",
        )
    }

    /// Changes the purpose of a commit.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the commit.
    pub fn set_commit_purpose(&self, id: i64, purpose: u8) -> Result<()> {
        self.exec_one(
            "UPDATE commits SET purpose = ?2 WHERE id = ?1",
            params![id, purpose],
            "an unknown commit",
        )
    }

    /// Marks a commit as confirmed. Its event is out and not needed any more, so `event_json` goes.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the commit.
    pub fn confirm_commit(&self, id: i64) -> Result<()> {
        self.exec_one(
            "UPDATE commits SET status = ?2, event_json = NULL WHERE id = ?1",
            params![id, CommitStatus::Confirmed as u8],
            "an unknown commit",
        )
    }

    /// Keeps the MLS rows of a commit that is given up, in case it comes back.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the commit.
    pub fn set_commit_state(&self, id: i64, state: &SecretVec) -> Result<()> {
        self.exec_one(
            "UPDATE commits SET group_state = ?2 WHERE id = ?1",
            params![id, state.expose()],
            "an unknown commit",
        )
    }

    /// Forgets the finished commits (confirmed or discarded) of a group that start before `min_epoch`, and their
    /// Welcomes that never became sendable. A sendable Welcome stays until it is dropped, and its commit with it.
    pub fn prune_commits(&self, group: &GroupId, min_epoch: u64) -> Result<()> {
        self.prune_finished(
            "SELECT id FROM commits WHERE group_id = ?1 AND source_epoch < ?2 AND status >= 2",
            group,
            min_epoch,
        )
    }

    /// The same as [`Tx::prune_commits`], only for commits that were given up: they hold MLS state. The others may wait
    /// until the next commit of the group is stored, which writes the same pages.
    pub fn prune_discarded(&self, group: &GroupId, min_epoch: u64) -> Result<()> {
        self.prune_finished(
            "SELECT id FROM commits WHERE group_id = ?1 AND source_epoch < ?2 AND status = 3",
            group,
            min_epoch,
        )
    }

    fn prune_finished(&self, select: &str, group: &GroupId, min_epoch: u64) -> Result<()> {
        // The rows are deleted one by one, because there is usually at most one, and a subquery would cost every commit
        // a temporary table.
        let old = self.all(select, params![group.as_bytes(), U64(min_epoch)], |row| {
            Ok(row.get::<_, i64>(0)?)
        })?;
        for id in old {
            self.exec("DELETE FROM welcomes WHERE pending = ?1 AND sendable = 0", [id])?;
            self.exec(
                "DELETE FROM commits WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM welcomes WHERE pending = ?1)",
                [id],
            )?;
            self.note_erased(Erased::Epochs);
        }
        Ok(())
    }

    /// Stores the request to leave a group, or replaces it.
    pub fn put_leave(&self, row: &LeaveRow) -> Result<()> {
        self.exec(
            "INSERT OR REPLACE INTO leave_requests (group_id, requested_at, proposed_epoch, event_json) \
             VALUES (?1, ?2, ?3, ?4)",
            params![row.group.as_bytes(), U64(row.requested_at), U64(row.proposed_epoch), row.event_json],
        )?;
        Ok(())
    }

    /// The request to leave a group.
    pub fn leave(&self, group: &GroupId) -> Result<Option<LeaveRow>> {
        self.one(
            "SELECT group_id, requested_at, proposed_epoch, event_json FROM leave_requests WHERE group_id = ?1",
            [group.as_bytes()],
            |row| {
                let mut c = Columns::new(row, "leave_requests");
                Ok(LeaveRow {
                    group: c.group_id()?,
                    requested_at: c.u64()?,
                    proposed_epoch: c.u64()?,
                    event_json: c.text()?,
                })
            },
        )
    }

    /// Forgets the request to leave a group.
    pub fn delete_leave(&self, group: &GroupId) -> Result<()> {
        self.exec("DELETE FROM leave_requests WHERE group_id = ?1", [group.as_bytes()])?;
        Ok(())
    }
}
