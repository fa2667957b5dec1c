//! What a group keeps and what it waits for, for tests that drive many engines.

use mdk_store::{InputClass, InputState};
use mdk_wire::GroupId;

use crate::engine::Engine;
use crate::error::Result;

/// Work that is not done, and how much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// Events that no key has opened.
    pub raw: usize,
    /// Opened commits whose place is not known.
    pub commits: usize,
    /// Opened proposals whose place is not known.
    pub proposals: usize,
    /// Opened commits and proposals in all.
    pub inputs: usize,
    /// Retained states, on all branches.
    pub states: usize,
    /// Lowest epoch of a retained state.
    pub oldest_state: Option<u64>,
    /// A choice between branches has begun and is not made.
    pub pass_open: bool,
}

/// What a group keeps and waits for.
///
/// # Errors
/// [`Error::GroupNotFound`](crate::Error::GroupNotFound).
pub fn watch(engine: &mut Engine, id: &GroupId) -> Result<Watch> {
    engine.look(|ctx| {
        let row = ctx.row(id)?;
        let inputs = ctx.tx.inputs(id)?;
        let nodes = ctx.tx.nodes(id)?;
        let waiting = |class| {
            inputs.iter().filter(|i| i.class == class && i.state == InputState::Waiting).count()
        };
        Ok(Watch {
            raw: ctx.tx.held(id)?.len(),
            commits: waiting(InputClass::Commit),
            proposals: waiting(InputClass::Proposal),
            inputs: inputs.len(),
            states: nodes.len(),
            oldest_state: nodes.iter().map(|n| n.epoch).min(),
            pass_open: row.pass.opened != 0,
        })
    })
}
