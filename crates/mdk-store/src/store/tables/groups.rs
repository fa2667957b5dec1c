//! Groups and the routing ids that lead to them.

use std::collections::BTreeSet;

use mdk_wire::{EventId, GroupId, NostrGroupId, PublicKey, Secret, Timestamp};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, U64, encode_keys, encode_list, guarded_debug, stored_enum};
use crate::{Result, Tx};

stored_enum! {
    /// The state of a group for this account.
    pub enum GroupStatus {
        /// Being created; nothing was handed out yet.
        Founding = 0,
        /// Joined from a Welcome, not yet accepted by the user.
        Invited = 1,
        /// In use.
        Active = 2,
        /// A request to leave is out.
        Leaving = 3,
        /// Left on our own request.
        Left = 4,
        /// Removed by an admin.
        Removed = 5,
        /// Invited again after the account had left or was removed; the earlier history is there.
        Reinvited = 6,
        /// Ended for everybody.
        Disbanded = 7,
        /// A needed state is lost; only a new Welcome helps.
        Unrecoverable = 8,
        /// The newest commit ends it. That is final when no other branch has won.
        Disbanding = 9,
        /// A commit of this account is not in this database: the account goes on elsewhere. Otherwise the same as
        /// `Unrecoverable`.
        RunsElsewhere = 10,
    }
}

impl GroupStatus {
    /// Whether the group cannot go on here.
    #[must_use]
    pub const fn is_stuck(self) -> bool {
        matches!(self, Self::Unrecoverable | Self::RunsElsewhere)
    }
}

/// The state of the choice between branches. All zero: nothing to choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassRow {
    /// The time at which the pass was opened, Unix milliseconds; 0: none is open.
    pub opened: u64,
    /// The time of its last relevant input, Unix milliseconds.
    pub relevant: u64,
    /// Epoch of the group when the pass was opened.
    pub base: u64,
    /// Lowest epoch whose states are retained.
    pub floor: u64,
    /// Lowest epoch in which a state of another branch is retained; 0: none.
    pub contested: u64,
    /// The number of changes to another branch.
    pub switches: u64,
    /// The time at which this account was added, as the Welcome gives it, Unix seconds.
    pub joined_at: Timestamp,
}

/// One group: a copy of its MLS state, for reading without OpenMLS, and the facts that only this account knows.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// MLS group id.
    pub id: GroupId,
    /// Generation of the protocol.
    pub profile: u8,
    /// Its state for this account.
    pub status: GroupStatus,
    /// Current epoch.
    pub epoch: u64,
    /// First epoch that this account can read.
    pub join_epoch: u64,
    /// Epoch authenticator of the current state (RFC 9420, 8.7).
    pub authenticator: [u8; 32],
    /// Key of the kind-445 envelope in the current epoch.
    pub event_key: Secret<32>,
    /// Routing id in the current epoch.
    pub nostr_group_id: NostrGroupId,
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Relay URLs.
    pub relays: Vec<String>,
    /// Accounts that are admins.
    pub admins: Vec<PublicKey>,
    /// Accounts that have a leaf: distinct, sorted.
    pub members: Vec<PublicKey>,
    /// Seconds until messages disappear; 0: never.
    pub retention: u64,
    /// Whether it has a picture.
    pub has_image: bool,
    /// Account that sent the MLS Welcome.
    pub welcomer: Option<PublicKey>,
    /// The time at which this account created or joined it, Unix seconds.
    pub created_at: Timestamp,
    /// The time at which this account last renewed its own leaf, Unix seconds.
    pub self_updated_at: Timestamp,
    /// [`MessageRow::seq`](crate::MessageRow::seq) up to which the user has read.
    pub last_read: i64,
    /// Id of the gift wrap that it was joined from: the id of the invite.
    pub welcome: Option<EventId>,
    /// The state of the choice between branches.
    pub pass: PassRow,
}
guarded_debug!(GroupRow { profile, status, epoch, join_epoch, last_read });

// The statements are macros, so that they are literals: nothing is formatted per call.
macro_rules! columns {
    () => {
        "group_id, profile, status, epoch, join_epoch, authenticator, event_key, nostr_group_id, name, description, \
         relays, admins, members, retention, has_image, welcomer, created_at, self_updated_at, last_read, welcome, \
         pass_opened, pass_relevant, pass_base, floor, contested, switches, joined_at"
    };
}
const INSERT: &str = concat!(
    "INSERT INTO groups (",
    columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
     ?21, ?22, ?23, ?24, ?25, ?26, ?27)"
);
const ALL: &str = concat!("SELECT ", columns!(), " FROM groups");
pub(crate) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM groups WHERE group_id = ?1");
pub(crate) const BY_WELCOME: &str =
    concat!("SELECT ", columns!(), " FROM groups WHERE welcome = ?1");
pub(crate) const NEXT_HOLDING: &str = "SELECT group_id FROM held INDEXED BY held_by_group WHERE group_id > ?1 \
     ORDER BY group_id LIMIT 1";
pub(crate) const NEXT_REMOVING: &str =
    "SELECT group_id FROM removals WHERE group_id > ?1 ORDER BY group_id LIMIT 1";
pub(crate) const ROUTE: &str = "SELECT group_id, seq FROM routes WHERE nostr_group_id = ?1";
pub(crate) const ROUTES: &str =
    "SELECT nostr_group_id FROM routes WHERE group_id = ?1 ORDER BY seq";

fn read(row: &Row<'_>) -> Result<GroupRow> {
    let mut c = Columns::new(row, "groups");
    Ok(GroupRow {
        id: c.group_id()?,
        profile: c.u8()?,
        status: c.variant(GroupStatus::from_stored)?,
        epoch: c.u64()?,
        join_epoch: c.u64()?,
        authenticator: c.array()?,
        event_key: c.secret()?,
        nostr_group_id: c.nostr_group_id()?,
        name: c.text()?,
        description: c.text()?,
        relays: c.list()?,
        admins: c.public_keys()?,
        members: c.public_keys()?,
        retention: c.u64()?,
        has_image: c.bool()?,
        welcomer: c.opt(Columns::public_key)?,
        created_at: c.u64()?,
        self_updated_at: c.u64()?,
        last_read: c.i64()?,
        welcome: c.opt(Columns::event_id)?,
        pass: PassRow {
            opened: c.u64()?,
            relevant: c.u64()?,
            base: c.u64()?,
            floor: c.u64()?,
            contested: c.u64()?,
            switches: c.u64()?,
            joined_at: c.u64()?,
        },
    })
}

/// Every table with rows of one group and the column that names it. `seen` has no such column: its rows stay.
pub(crate) const GROUP_TABLES: [(&str, &str); 17] = [
    ("file_keys", "group_id"),
    ("shares", "group_id"),
    ("messages", "group_id"),
    ("events", "group_id"),
    ("welcomes", "group_id"),
    ("commits", "group_id"),
    ("leave_requests", "group_id"),
    ("removals", "group_id"),
    ("push_tokens", "group_id"),
    ("push_requests", "group_id"),
    ("outbox", "group_id"),
    ("held", "group_id"),
    ("inputs", "group_id"),
    ("nodes", "group_id"),
    ("routes", "group_id"),
    ("mls_rows", "scope"),
    ("groups", "group_id"),
];

impl Tx<'_> {
    /// Stores a new group.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or already has the group.
    pub fn insert_group(&self, row: &GroupRow) -> Result<()> {
        self.write_group(INSERT, row)
    }

    /// Replaces every field of a stored group.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the group.
    pub fn update_group(&self, row: &GroupRow) -> Result<()> {
        // `welcome` is left out: SQLite writes the index of a column that is set, whether it changes or not. `?20` is
        // named, so that the parameters stay those of the insert.
        self.write_group(
            "UPDATE groups SET profile = ?2, status = ?3, epoch = ?4, join_epoch = ?5, authenticator = ?6, \
             event_key = ?7, nostr_group_id = ?8, name = ?9, description = ?10, relays = ?11, admins = ?12, \
             members = ?13, retention = ?14, has_image = ?15, welcomer = ?16, created_at = ?17, \
             self_updated_at = ?18, last_read = ?19, \
             pass_opened = ?21, pass_relevant = ?22, pass_base = ?23, floor = ?24, contested = ?25, switches = ?26, \
             joined_at = ?27 WHERE group_id = ?1 AND ?20 IS ?20",
            row,
        )?;
        self.exec(
            "UPDATE groups SET welcome = ?2 WHERE group_id = ?1 AND welcome IS NOT ?2",
            params![row.id.as_bytes(), row.welcome.as_ref().map(EventId::as_bytes)],
        )?;
        Ok(())
    }

    fn write_group(&self, sql: &str, row: &GroupRow) -> Result<()> {
        self.states.written.borrow_mut().insert(row.id.clone());
        self.exec_one(
            sql,
            params![
                row.id.as_bytes(),
                row.profile,
                row.status as u8,
                U64(row.epoch),
                U64(row.join_epoch),
                &row.authenticator[..],
                &row.event_key.expose()[..],
                row.nostr_group_id.as_bytes(),
                row.name,
                row.description,
                encode_list(&row.relays)?,
                encode_keys(&row.admins),
                encode_keys(&row.members),
                U64(row.retention),
                row.has_image,
                row.welcomer.as_ref().map(PublicKey::as_bytes),
                U64(row.created_at),
                U64(row.self_updated_at),
                row.last_read,
                row.welcome.as_ref().map(EventId::as_bytes),
                U64(row.pass.opened),
                U64(row.pass.relevant),
                U64(row.pass.base),
                U64(row.pass.floor),
                U64(row.pass.contested),
                U64(row.pass.switches),
                U64(row.pass.joined_at),
            ],
            "writing a group",
        )
    }

    /// The group with this id.
    pub fn group(&self, id: &GroupId) -> Result<Option<GroupRow>> {
        self.one(BY_ID, [id.as_bytes()], read)
    }

    /// All groups in every status, oldest first; equal times by lower id.
    pub fn groups(&self) -> Result<Vec<GroupRow>> {
        // The rows are sorted here: a sorter in the query would take memory that has to be locked.
        let mut groups = self.all(ALL, [], read)?;
        groups.sort_unstable_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(groups)
    }

    /// Groups whose row was written on this connection since the last call, and some whose writing was undone.
    #[must_use]
    pub fn take_written_groups(&self) -> BTreeSet<GroupId> {
        self.states.written.take()
    }

    /// Groups that have held events or removals: each is found by one search, however much it has.
    pub fn groups_with_something_waiting(&self) -> Result<BTreeSet<GroupId>> {
        let mut groups = BTreeSet::new();
        for next in [NEXT_HOLDING, NEXT_REMOVING] {
            let mut last: Option<GroupId> = None;
            loop {
                let after = last.as_ref().map_or(&[][..], GroupId::as_bytes);
                let found =
                    self.one(next, [after], |row| Columns::new(row, "groups").group_id())?;
                let Some(found) = found else { break };
                groups.insert(found.clone());
                last = Some(found);
            }
        }
        Ok(groups)
    }

    /// The group that was joined from this gift wrap.
    pub fn group_by_welcome(&self, welcome: &EventId) -> Result<Option<GroupRow>> {
        self.one(BY_WELCOME, [welcome.as_bytes()], read)
    }

    /// Deletes every row of the group in every table: its MLS rows too, the mark that its leaf came with a backup, and
    /// the second up to which our messages in it are dated ahead. `seen` stays: a processed event must not be processed
    /// again.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or the row of the marks cannot be decoded.
    pub fn delete_group(&self, id: &GroupId) -> Result<()> {
        self.empty_newest_event(id)?;
        self.hand_over_newest_position(id, i64::MIN)?;
        self.unread.forget(id);
        // The mark is a hash of the id: a reader who knows the id would see that the group was here.
        self.clear_must_update_after_restore(id)?;
        self.drop_pace(id)?;
        for (table, column) in GROUP_TABLES {
            self.erase(&format!("DELETE FROM {table} WHERE {column} = ?1"), [id.as_bytes()])?;
        }
        drop(self.states.take(id));
        self.lower_history()
    }

    /// Deletes the history of a group above the position `after`, with the keys of its files, and its events from
    /// `event` on. `seen` stays.
    pub fn delete_since(&self, id: &GroupId, after: i64, event: i64) -> Result<()> {
        self.empty_newest_event(id)?;
        self.hand_over_newest_position(id, after)?;
        self.unread.forget(id);
        let group = id;
        let id = id.as_bytes();
        self.erase(
            "DELETE FROM file_keys WHERE group_id = ?1 AND message > ?2",
            params![id, after],
        )?;
        self.erase("DELETE FROM messages WHERE group_id = ?1 AND seq > ?2", params![id, after])?;
        self.recount_shares(group)?;
        self.exec("DELETE FROM events WHERE group_id = ?1 AND seq >= ?2", params![id, event])?;
        self.lower_history()
    }

    /// Lowers the remembered positions of other groups' states: positions below them may be given out again now.
    fn lower_history(&self) -> Result<()> {
        self.states.forget();
        self.exec(
            "UPDATE nodes SET history = min(history, (SELECT coalesce(max(seq), 0) FROM messages))",
            [],
        )?;
        Ok(())
    }

    /// Notes that the group uses this routing id, last in `last_epoch`. A later call moves the epoch. When another
    /// group claims the same id, both claims stand.
    pub fn put_route(&self, route: &NostrGroupId, group: &GroupId, last_epoch: u64) -> Result<()> {
        self.exec(
            "INSERT INTO routes (nostr_group_id, group_id, last_epoch) VALUES (?1, ?2, ?3)
             ON CONFLICT (nostr_group_id, group_id) DO UPDATE SET last_epoch = excluded.last_epoch",
            params![route.as_bytes(), group.as_bytes(), U64(last_epoch)],
        )?;
        Ok(())
    }

    /// The group that a routing id leads to. When several claim it, the first claim counts: a routing id is public, and
    /// a later group must not be able to take over the traffic of an earlier one.
    pub fn route(&self, route: &NostrGroupId) -> Result<Option<GroupId>> {
        Ok(self.route_claims(route)?.into_iter().next())
    }

    /// All groups that claim a routing id, the first claim first.
    pub fn route_claims(&self, route: &NostrGroupId) -> Result<Vec<GroupId>> {
        // The rows are sorted here: there is usually one, and a sorter in the query would cost every message.
        let mut claims = self.all(ROUTE, [route.as_bytes()], |row| {
            let mut columns = Columns::new(row, "routes");
            Ok((columns.group_id()?, columns.i64()?))
        })?;
        claims.sort_unstable_by_key(|(_, seq)| *seq);
        Ok(claims.into_iter().map(|(group, _)| group).collect())
    }

    /// The routing ids of a group, the first one first.
    pub fn routes(&self, group: &GroupId) -> Result<Vec<NostrGroupId>> {
        self.all(ROUTES, [group.as_bytes()], |row| Columns::new(row, "routes").nostr_group_id())
    }

    /// Forgets the routing ids of a group that were last used before `min_epoch`, except `keep` and those of its
    /// retained states: the epoch of an id need not be moved while the id stays the same.
    pub fn prune_routes(&self, group: &GroupId, min_epoch: u64, keep: &NostrGroupId) -> Result<()> {
        self.exec(
            "DELETE FROM routes WHERE group_id = ?1 AND last_epoch < ?2 AND nostr_group_id <> ?3 AND NOT EXISTS \
             (SELECT 1 FROM nodes WHERE nodes.group_id = ?1 AND nodes.nostr_group_id = routes.nostr_group_id)",
            params![group.as_bytes(), U64(min_epoch), keep.as_bytes()],
        )?;
        Ok(())
    }
}
