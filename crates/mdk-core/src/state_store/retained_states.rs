//! The states of a group that are kept: the followed branch and the candidates beside it.

use mdk_store::{GroupRow, InputClass, InputRow, InputState, NodeRow, PassRow, Tx};
use mdk_wire::budget::group::MAX_BESIDE;
use mdk_wire::budget::member::MAX_OF_ONE;
use mdk_wire::{ContentId, GroupId, Secret, SecretVec};

use crate::fork_choice::branch_order::POLICY;
use crate::fork_choice::state_tree::Tree;
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::limits::MAX_LINE;
use crate::model::membership;
use crate::model::membership::UNROUTED;
use crate::model::opened::Opened;
use crate::model::state_id::{Auth, ended_by};
use crate::state_store::groups::Groups;

/// The states of groups.
#[derive(Clone, Copy)]
pub(crate) struct RetainedStates<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) now_millis: u64,
}

impl RetainedStates<'_> {
    /// The removal before the state that brought us back may go. Then that state is where we began.
    pub(crate) fn begin_anew(&self, id: &GroupId, floor: u64) -> Result<()> {
        let nodes = self.tx.nodes(id)?;
        let goes = |auth| {
            nodes.iter().any(|n| n.removed && n.epoch < floor && Some(n.authenticator) == auth)
        };
        for node in nodes.iter().filter(|n| n.epoch >= floor && goes(n.parent)) {
            self.tx.put_node(&NodeRow { parent: None, ..node.clone() })?;
        }
        Ok(())
    }

    /// Whether a state would be beyond its maker's share, so that it has not to be kept at all.
    pub(crate) fn is_surplus(&self, node: &NodeRow) -> Result<bool> {
        let nodes = self.tx.nodes(&node.group)?;
        let mut better: Vec<Option<ContentId>> = nodes
            .iter()
            .filter(|n| n.parent == node.parent && n.committer == node.committer)
            .map(|n| n.commit)
            .filter(|commit| commit.is_some() && *commit < node.commit)
            .collect();
        better.dedup();
        Ok(better.len() >= MAX_OF_ONE)
    }

    /// Keeps the commit that led to a state, so that the state can be made again. Without it the state stays whole.
    pub(crate) fn keep_commit(&self, opened: &Opened, epoch: u64, parent: Auth) -> Result<()> {
        let input = InputRow {
            state: InputState::Placed,
            parent_auth: Some(parent),
            ..opened.input(InputClass::Commit, epoch, self.now_millis / 1000)
        };
        let most = u32::try_from(2 * MAX_BESIDE).unwrap_or(u32::MAX);
        self.tx.put_input(&input, most)?;
        Ok(())
    }

    /// Forgets a state and the commit that led there.
    pub(crate) fn drop_state(&self, node: &NodeRow) -> Result<()> {
        self.tx.drop_node(&node.group, &node.authenticator)?;
        if let Some(commit) = &node.commit {
            self.tx.drop_input(&node.group, commit)?;
        }
        Ok(())
    }

    /// Forgets states before the retained epochs, on every branch. Returns the first contested epoch after that.
    pub(crate) fn prune(&self, row: &GroupRow) -> Result<u64> {
        let (id, floor) = (&row.id, row.pass.floor);
        if row.pass.contested != 0 {
            self.begin_anew(id, floor)?;
        }
        self.tx.prune_nodes(id, floor)?;
        let mut contested = 0;
        if row.pass.contested != 0 {
            let nodes = self.tx.nodes(id)?;
            let tree = Tree::new(&nodes);
            for (i, node) in nodes.iter().enumerate().filter(|(_, n)| !n.canonical) {
                match tree.anchor(i) {
                    // Its parents are gone, so nothing can be compared with it any more.
                    None => self.drop_state(node)?,
                    Some(shared) if contested == 0 => contested = shared.saturating_add(1),
                    Some(shared) => contested = contested.min(shared.saturating_add(1)),
                }
            }
        }
        self.tx.prune_routes(id, floor, &row.nostr_group_id)?;
        self.tx.prune_inputs(id, floor)?;
        self.tx.prune_discarded(id, floor)?;
        for seq in self.tx.surplus(id, floor)? {
            self.tx.drop_file_keys(seq)?;
            self.tx.expire_message(seq)?;
        }
        self.tx.purge_expired(id, floor)?;
        Ok(contested)
    }
}

/// The lowest position in the history of a state above any fork.
pub(crate) fn fork_history(nodes: &[NodeRow]) -> i64 {
    let contested = nodes.iter().filter(|n| !n.canonical).map(|n| n.epoch).min().unwrap_or(0);
    nodes.iter().filter(|n| n.epoch >= contested).map(|n| n.history).min().unwrap_or(0)
}

impl RetainedStates<'_> {
    /// The group's rows as one blob: the state an epoch is left in, without a commit of ours that is pending.
    pub(crate) fn snapshot(&self, row: &GroupRow) -> Result<SecretVec> {
        Ok(self.tx.mls_dump_settled(&row.id)?)
    }

    /// Retains the state that is being left (protocol/branches.md E2).
    pub(crate) fn retain(&self, row: &GroupRow, state: &SecretVec) -> Result<()> {
        // First out, then in: the row and the pages of the state that leaves the window are used again at once. Freed
        // pages are wiped, and wiping them only to fill others would double what a commit writes. An open pass keeps
        // the states that it may have to go back to, and rivals keep their order.
        let floor = floor(&row.pass, row.epoch.saturating_add(1));
        if row.pass.contested == 0 {
            return Ok(self.tx.retain_node(&row.id, &row.authenticator, state, floor)?);
        }
        if row.pass.opened == 0 {
            self.tx.prune_nodes(&row.id, floor)?;
        }
        self.tx.set_node_state(&row.id, &row.authenticator, state)?;
        Ok(())
    }

    /// Records the live state as the tip of its branch; its blob comes when it is left.
    pub(crate) fn put_tip(
        &self,
        row: &GroupRow,
        parent: Option<&GroupRow>,
        step: Option<&Step>,
    ) -> Result<()> {
        let removed = membership::is_over(row.status)
            || step.is_some_and(|s| row.authenticator == ended_by(&s.digest));
        // A route that stays is noted already, and kept as long as a retained state has it.
        let rerouted = parent.is_none_or(|p| p.nostr_group_id != row.nostr_group_id);
        if row.nostr_group_id != UNROUTED && !removed && rerouted {
            self.tx.put_route(&row.nostr_group_id, &row.id, row.epoch)?;
        }
        self.tx.put_tip_node(&NodeRow {
            group: row.id.clone(),
            authenticator: row.authenticator,
            epoch: row.epoch,
            parent: parent.map(|p| p.authenticator),
            commit: step.map(|s| s.digest),
            committer: step.and_then(|s| s.committer),
            privileged: step.is_some_and(|s| s.privileged),
            canonical: true,
            removed,
            history: self.tx.newest_message()?,
            made_at: self.now_millis,
            sent_at: step.map_or(row.pass.joined_at, |s| s.sent_at),
            event_key: if removed { Secret::new([0; 32]) } else { row.event_key.clone() },
            nostr_group_id: row.nostr_group_id,
            relays: row.relays.clone(),
            retention: row.retention,
            state: SecretVec::new(Vec::new()),
        })?;
        Ok(())
    }
}

/// The node of the current state.
pub(crate) fn tip(groups: Groups<'_>, id: &GroupId) -> Result<NodeRow> {
    let auth = groups.current_row(id)?.authenticator;
    let node = groups.tx.states(id)?.get(&auth).cloned();
    node.ok_or(Error::Unrecoverable("the current state has no row"))
}

/// The time since which this group has been in its epoch here, Unix milliseconds. The claimed time of its commit tells
/// nothing of that: it may have waited for a relay, and clocks differ.
pub(crate) fn epoch_since(groups: Groups<'_>, id: &GroupId) -> Result<u64> {
    let row = groups.current_row(id)?;
    Ok(groups.tx.node_made_at(id, &row.authenticator)?.unwrap_or(0))
}

/// The oldest epoch that is retained when the group has come to `epoch`. That is the window, and while a pass is open
/// all states that it may have to go back to. A line without rivals retains a bounded number of states.
pub(crate) fn floor(pass: &PassRow, epoch: u64) -> u64 {
    let floor = match (pass.opened, pass.contested) {
        (0, _) => horizon(epoch),
        (_, 0) => horizon(epoch).min(epoch.saturating_sub(MAX_LINE)),
        _ => 0,
    };
    floor.max(pass.floor)
}

// rule: E2-2 five epochs are kept whatever the configuration says: branches are chosen among them, and who keeps fewer
// chooses otherwise than the others
/// The oldest epoch whose state is still retained when the group is at `epoch`.
pub(crate) fn horizon(epoch: u64) -> u64 {
    epoch.saturating_sub(POLICY.max_rewind_commits)
}
