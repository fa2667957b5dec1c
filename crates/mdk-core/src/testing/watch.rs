//! The kept and the waiting data of a group, for tests that drive many engines.

use std::collections::BTreeMap;

use mdk_store::{InputClass, InputState, NodeRow};
use mdk_wire::{ContentId, GroupId};

use crate::engine::Engine;
use crate::model::error::Result;
use crate::state_store::buffered_memory::is_gift_wrap;
use crate::state_store::held_times::ours_from;

/// Work that is not done, and the amount of kept data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// Events that no key has opened.
    pub raw: usize,
    /// The same by the numbers of the relays that gave them.
    pub given: BTreeMap<i64, usize>,
    /// Welcomes that wait for the end of this membership.
    pub welcomes: usize,
    /// Opened commits whose place is not known.
    pub commits: usize,
    /// Opened proposals whose place is not known.
    pub proposals: usize,
    /// Opened commits and proposals in all.
    pub inputs: usize,
    /// A choice between branches has begun and is not made.
    pub pass_open: bool,
    /// It is to be made as soon as the engine is asked anything.
    pub pass_due: bool,
    /// Another branch is known that competes with the followed one.
    pub contested: bool,
    /// The first second of which everything is for this member.
    pub ours_from: u64,
    /// Retained states, on all branches.
    pub states: Vec<Place>,
    /// Rivals of which only the data is kept that makes their states again.
    pub asleep: Vec<Place>,
}

/// The place of a retained state in the tree of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Epoch.
    pub epoch: u64,
    /// Epoch authenticator, the state's name.
    pub authenticator: [u8; 32],
    /// The authenticator of the state before it.
    pub parent: Option<[u8; 32]>,
    /// The commit that led there.
    pub commit: Option<ContentId>,
    /// The account is not in the group there; then the name is one of this engine's own.
    pub removed: bool,
    /// It is on the branch that is followed.
    pub followed: bool,
}

/// The kept and the waiting data of a group.
///
/// # Errors
/// [`Error::GroupNotFound`](crate::Error::GroupNotFound).
pub fn watch(engine: &mut Engine, id: &GroupId) -> Result<Watch> {
    engine.look(|ctx| {
        let row = ctx.work.records.groups().row(id)?;
        let mut inputs = ctx.work.records.tx.inputs(id)?;
        inputs.retain(|i| i.state != InputState::Placed);
        let waiting = |class| {
            inputs.iter().filter(|i| i.class == class && i.state == InputState::Waiting).count()
        };
        let whole = ctx.work.records.tx.whole_nodes(id)?;
        let nodes = ctx.work.records.tx.nodes(id)?.into_iter();
        let (states, asleep) = nodes.partition::<Vec<_>, _>(|node| {
            node.canonical || node.removed || whole.contains(&node.authenticator)
        });
        let places = |nodes: Vec<NodeRow>| {
            let place = |node: NodeRow| Place {
                epoch: node.epoch,
                authenticator: node.authenticator,
                parent: node.parent,
                commit: node.commit,
                removed: node.removed,
                followed: node.canonical,
            };
            nodes.into_iter().map(place).collect()
        };
        let held = ctx.work.records.tx.held(id)?;
        let (mut welcomes, mut given) = (0, BTreeMap::new());
        for held in &held {
            if is_gift_wrap(&held.event_json) {
                welcomes += 1;
            } else {
                *given.entry(held.source).or_default() += 1;
            }
        }
        Ok(Watch {
            raw: held.len() - welcomes,
            given,
            welcomes,
            commits: waiting(InputClass::Commit),
            proposals: waiting(InputClass::Proposal),
            inputs: inputs.len(),
            pass_open: row.pass.opened != 0,
            pass_due: ctx.work.records.settling().is_due(&row.id, &row.pass),
            contested: row.pass.contested != 0,
            ours_from: ours_from(&row),
            states: places(states),
            asleep: places(asleep),
        })
    })
}
