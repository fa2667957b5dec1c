//! Retained states: the state of an epoch before a commit left it, on every branch that may still win.

use mdk_wire::{ContentId, GroupId, PublicKey, SecretVec};
use rusqlite::params;

use crate::store::columns::{Columns, U64, encode_list};
use crate::store::epoch_state_cache::States;
use crate::store::secure_deletion::Erased;
use crate::store::tables::epoch_state_row::NodeRow;
use crate::{Result, Tx};

/// The name of the row that [`Tx::retain_node`] leaves for [`Tx::put_tip_node`] within one transaction. No state has
/// this name.
const VACANT: [u8; 32] = [0; 32];

pub(crate) const NODES: &str = "SELECT group_id, authenticator, epoch, parent, commit_id, committer, privileged, canonical, removed, \
     history, made_at, sent_at, event_key, nostr_group_id, relays, retention, seq FROM nodes WHERE group_id = ?1";

pub(crate) const WHOLE_NODES: &str =
    "SELECT authenticator FROM nodes WHERE group_id = ?1 AND length(state) > 0";

pub(crate) const RETAINED_RELAYS: &str = "SELECT relays FROM nodes WHERE group_id = ?1";

macro_rules! node_params {
    ($row:expr $(, $first:expr)?) => {
        params![
            $($first,)?
            $row.group.as_bytes(),
            &$row.authenticator[..],
            U64($row.epoch),
            $row.parent.as_ref().map(|auth| &auth[..]),
            $row.commit.as_ref().map(ContentId::as_bytes),
            $row.committer.as_ref().map(PublicKey::as_bytes),
            $row.privileged,
            $row.canonical,
            $row.removed,
            $row.history,
            U64($row.made_at),
            U64($row.sent_at),
            &$row.event_key.expose()[..],
            $row.nostr_group_id.as_bytes(),
            encode_list(&$row.relays)?,
            U64($row.retention),
            $row.state.expose(),
        ]
    };
}

impl Tx<'_> {
    /// Stores a state, or replaces the one with the same authenticator. An empty `state` means "not loaded", as
    /// [`Tx::nodes`] gives it. The stored one then stays.
    pub fn put_node(&self, row: &NodeRow) -> Result<()> {
        let known = self.states.take(&row.group);
        self.exec(
            "INSERT INTO nodes (group_id, authenticator, epoch, parent, commit_id, committer, privileged, canonical, \
             removed, history, made_at, sent_at, event_key, nostr_group_id, relays, retention, state) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) \
             ON CONFLICT (group_id, authenticator) DO UPDATE SET epoch = excluded.epoch, parent = excluded.parent, \
             commit_id = excluded.commit_id, committer = excluded.committer, privileged = excluded.privileged, \
             canonical = excluded.canonical, removed = excluded.removed, history = excluded.history, \
             made_at = excluded.made_at, sent_at = excluded.sent_at, event_key = excluded.event_key, \
             nostr_group_id = excluded.nostr_group_id, relays = excluded.relays, retention = excluded.retention, \
             state = CASE length(excluded.state) WHEN 0 THEN nodes.state ELSE excluded.state END",
            node_params!(row),
        )?;
        if let Some(mut known) = known {
            let seq = known.seq(&row.authenticator).unwrap_or_else(|| self.last_id());
            known.store(row, seq, self.states);
            self.states.put(&row.group, known);
        }
        Ok(())
    }

    /// Stores the state that a group is in from now on, as [`Tx::put_node`] does. It uses the row that
    /// [`Tx::retain_node`] has left for it, if there is one.
    pub fn put_tip_node(&self, row: &NodeRow) -> Result<()> {
        let Some(seq) = self.node_seq(&row.group, &VACANT)? else { return self.put_node(row) };
        // A state that has this name already keeps its row; `put_node` does that.
        if self.node_seq(&row.group, &row.authenticator)?.is_some() {
            self.drop_node(&row.group, &VACANT)?;
            return self.put_node(row);
        }
        let known = self.states.take(&row.group);
        self.exec_one(
            "UPDATE nodes SET group_id = ?2, authenticator = ?3, epoch = ?4, parent = ?5, commit_id = ?6, \
             committer = ?7, privileged = ?8, canonical = ?9, removed = ?10, history = ?11, made_at = ?12, \
             sent_at = ?13, event_key = ?14, nostr_group_id = ?15, relays = ?16, retention = ?17, state = ?18 \
             WHERE seq = ?1",
            node_params!(row, seq),
            "an unknown state",
        )?;
        if let Some(mut known) = known {
            known.store(row, seq, self.states);
            self.states.put(&row.group, known);
        }
        Ok(())
    }

    /// Forgets the states of a group before `min_epoch` and keeps the MLS rows of the state that is being left.
    ///
    /// Those rows take the place of the oldest state that goes. The row of the left state is kept for its successor,
    /// which [`Tx::put_tip_node`] has to store before the transaction ends. Overwriting rows of equal length in their
    /// place touches half the pages of deleting, wiping and inserting. The order of states within an epoch is not kept,
    /// so this is for groups without rival states.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the state.
    pub fn retain_node(
        &self,
        group: &GroupId,
        authenticator: &[u8; 32],
        state: &SecretVec,
        min_epoch: u64,
    ) -> Result<()> {
        let known = self.states.take(group);
        let old = match &known {
            Some(known) => known.before(min_epoch, authenticator),
            None => self.one(
                "SELECT seq FROM nodes WHERE group_id = ?1 AND epoch < ?2 AND authenticator <> ?3",
                params![group.as_bytes(), U64(min_epoch), &authenticator[..]],
                |row| Ok(row.get::<_, i64>(0)?),
            )?,
        };
        let (Some(old), Some(left)) = (old, self.node_seq(group, authenticator)?) else {
            self.set_node_state(group, authenticator, state)?;
            known.into_iter().for_each(|known| self.states.put(group, known));
            return Ok(());
        };
        // The row is found by number: a search in the index that changes would have to remember its place.
        self.exec_one(
            "UPDATE nodes SET authenticator = ?2 WHERE seq = ?1",
            params![left, &VACANT[..]],
            "an unknown state",
        )?;
        self.exec_one(
            "UPDATE nodes SET (authenticator, epoch, parent, commit_id, committer, privileged, canonical, removed, \
             history, made_at, sent_at, event_key, nostr_group_id, relays, retention, state) = \
             (SELECT ?2, epoch, parent, commit_id, committer, privileged, canonical, removed, history, made_at, \
              sent_at, event_key, nostr_group_id, relays, retention, ?3 FROM nodes WHERE seq = ?4) WHERE seq = ?1",
            params![old, &authenticator[..], state.expose(), left],
            "an unknown state",
        )?;
        // The content of that row before was of an epoch that is over.
        self.note_erased(Erased::Epochs);
        if let Some(mut known) = known {
            known.relocate(left, old, VACANT);
            self.states.put(group, known);
        }
        self.prune_nodes(group, min_epoch)
    }

    fn node_seq(&self, group: &GroupId, authenticator: &[u8; 32]) -> Result<Option<i64>> {
        self.one(
            "SELECT seq FROM nodes WHERE group_id = ?1 AND authenticator = ?2",
            params![group.as_bytes(), &authenticator[..]],
            |row| Ok(row.get(0)?),
        )
    }

    /// The states of a group, newest epoch first; within an epoch the one stored last first. Their `state` is empty.
    pub fn nodes(&self, group: &GroupId) -> Result<Vec<NodeRow>> {
        Ok(self.nodes_with_seq(group)?.into_iter().map(|(node, _)| node).collect())
    }

    /// The states of a group as [`Tx::nodes`] gives them, mostly without reading anything.
    pub fn states(&self, group: &GroupId) -> Result<States> {
        if let Some(known) = self.states.of(group) {
            return Ok(known);
        }
        Ok(self.states.learn(group, self.nodes_with_seq(group)?))
    }

    /// Rows of states that were read from the file so far, for tests of the cost of work.
    #[must_use]
    pub fn states_read(&self) -> u64 {
        self.states.rows_read()
    }

    fn nodes_with_seq(&self, group: &GroupId) -> Result<Vec<(NodeRow, i64)>> {
        // The rows are sorted here: a sorter in the query would take memory that has to be locked, even for a few rows.
        let mut nodes = self.all(NODES, [group.as_bytes()], |row| {
            let mut c = Columns::new(row, "nodes");
            let node = NodeRow {
                group: c.group_id()?,
                authenticator: c.array()?,
                epoch: c.u64()?,
                parent: c.opt(Columns::array)?,
                commit: c.opt(Columns::content_id)?,
                committer: c.opt(Columns::public_key)?,
                privileged: c.bool()?,
                canonical: c.bool()?,
                removed: c.bool()?,
                history: c.i64()?,
                made_at: c.u64()?,
                sent_at: c.u64()?,
                event_key: c.secret()?,
                nostr_group_id: c.nostr_group_id()?,
                relays: c.list()?,
                retention: c.u64()?,
                state: SecretVec::new(Vec::new()),
            };
            Ok((node, c.i64()?))
        })?;
        nodes.sort_unstable_by_key(|(node, seq)| std::cmp::Reverse((node.epoch, *seq)));
        Ok(nodes)
    }

    /// The relays of each state of a group, in no order.
    pub fn retained_relays(&self, group: &GroupId) -> Result<Vec<Vec<String>>> {
        self.all(RETAINED_RELAYS, [group.as_bytes()], |row| Columns::new(row, "nodes").list())
    }

    /// The MLS rows of one state, or `None` when it is unknown or was stored without them.
    pub fn node_state(
        &self,
        group: &GroupId,
        authenticator: &[u8; 32],
    ) -> Result<Option<SecretVec>> {
        let state = self.one(
            "SELECT state FROM nodes WHERE group_id = ?1 AND authenticator = ?2",
            params![group.as_bytes(), &authenticator[..]],
            |row| Columns::new(row, "nodes").secret_vec(),
        )?;
        Ok(state.filter(|state| !state.expose().is_empty()))
    }

    /// The time at which a state was made here, Unix milliseconds; `None` when the state is unknown.
    pub fn node_made_at(&self, group: &GroupId, authenticator: &[u8; 32]) -> Result<Option<u64>> {
        self.one(
            "SELECT made_at FROM nodes WHERE group_id = ?1 AND authenticator = ?2",
            params![group.as_bytes(), &authenticator[..]],
            |row| Columns::new(row, "nodes").u64(),
        )
    }

    /// Whether this state of a group is retained.
    pub fn has_node(&self, group: &GroupId, authenticator: &[u8; 32]) -> Result<bool> {
        let found = self.one(
            "SELECT 1 FROM nodes WHERE group_id = ?1 AND authenticator = ?2",
            params![group.as_bytes(), &authenticator[..]],
            |row| Columns::new(row, "nodes").i64(),
        )?;
        Ok(found.is_some())
    }

    /// The states of a group that were stored with their MLS rows, which are not read; in no order.
    pub fn whole_nodes(&self, group: &GroupId) -> Result<Vec<[u8; 32]>> {
        self.all(WHOLE_NODES, [group.as_bytes()], |row| Columns::new(row, "nodes").array())
    }

    /// Replaces the MLS rows of a stored state.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the state.
    pub fn set_node_state(
        &self,
        group: &GroupId,
        authenticator: &[u8; 32],
        state: &SecretVec,
    ) -> Result<()> {
        self.exec_one(
            "UPDATE nodes SET state = ?3 WHERE group_id = ?1 AND authenticator = ?2",
            params![group.as_bytes(), &authenticator[..], state.expose()],
            "an unknown state",
        )
    }

    /// Sets whether a state is on the branch that this account follows.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the state.
    pub fn set_canonical(
        &self,
        group: &GroupId,
        authenticator: &[u8; 32],
        canonical: bool,
    ) -> Result<()> {
        let known = self.states.take(group);
        self.exec_one(
            "UPDATE nodes SET canonical = ?3 WHERE group_id = ?1 AND authenticator = ?2",
            params![group.as_bytes(), &authenticator[..], canonical],
            "an unknown state",
        )?;
        if let Some(mut known) = known {
            known.set_canonical(authenticator, canonical);
            self.states.put(group, known);
        }
        Ok(())
    }

    /// Forgets one state.
    pub fn drop_node(&self, group: &GroupId, authenticator: &[u8; 32]) -> Result<()> {
        let known = self.states.take(group);
        self.exec(
            "DELETE FROM nodes WHERE group_id = ?1 AND authenticator = ?2",
            params![group.as_bytes(), &authenticator[..]],
        )?;
        self.note_erased(Erased::Epochs);
        if let Some(mut known) = known {
            known.retain(|node| node.authenticator != *authenticator);
            self.states.put(group, known);
        }
        Ok(())
    }

    /// Forgets the states of a group before `min_epoch`.
    pub fn prune_nodes(&self, group: &GroupId, min_epoch: u64) -> Result<()> {
        let known = self.states.take(group);
        if let Some(known) = known.as_ref().filter(|k| k.iter().all(|n| n.epoch >= min_epoch)) {
            self.states.put(group, known.clone());
            return Ok(());
        }
        self.exec(
            "DELETE FROM nodes WHERE group_id = ?1 AND epoch < ?2",
            params![group.as_bytes(), U64(min_epoch)],
        )?;
        self.note_erased(Erased::Epochs);
        if let Some(mut known) = known {
            known.retain(|node| node.epoch >= min_epoch);
            self.states.put(group, known);
        }
        Ok(())
    }
}
