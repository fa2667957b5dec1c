//! Handshakes that were tried in vain and wait: each is tried again when something new may take it, not whenever a pass
//! ends.
//!
//! In memory only: after a restart everything is tried once more. A note is true of a message and a state for ever, so
//! a transaction that is undone leaves nothing wrong here.

use std::collections::HashMap;

use mdk_store::{InputClass, InputRow, InputState, NodeRow};
use mdk_wire::ContentId;
use sha2::{Digest as _, Sha256};

use crate::model::limits::JUDGE_AGAIN;
use crate::model::state_id::Auth;

/// Tries that are remembered, of all groups together. More are forgotten together, and made again.
const MOST: usize = 16_384;

/// The reason for which a try on a state came to nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vain {
    /// It was not made on that state.
    Elsewhere,
    /// It lacks input that was not there then: a commit lacks proposals, as [`proposals_on`] gives them, and a message
    /// lacks others of its sender, as [`heard_until`] gives them.
    Lacks([u8; 32]),
}

/// Messages that were tried on states.
#[derive(Default)]
pub(crate) struct Tried(HashMap<(ContentId, Auth), Vain>);

impl Tried {
    pub(crate) fn note(&mut self, message: ContentId, state: Auth, vain: Vain) {
        if self.0.len() >= MOST {
            self.0 = HashMap::new();
        }
        self.0.insert((message, state), vain);
    }

    pub(crate) fn is_elsewhere(&self, message: ContentId, state: Auth) -> bool {
        self.0.get(&(message, state)) == Some(&Vain::Elsewhere)
    }

    /// Whether an application message would be tried on a state in vain.
    pub(crate) fn is_deaf(&self, message: ContentId, state: Auth, heard: [u8; 32]) -> bool {
        match self.0.get(&(message, state)) {
            None => false,
            Some(Vain::Elsewhere) => true,
            Some(Vain::Lacks(then)) => *then == heard,
        }
    }

    /// Whether an input that waits may find its place in a state. `proposals` are those of the state.
    pub(crate) fn is_open(
        &self,
        input: &InputRow,
        node: &NodeRow,
        proposals: [u8; 32],
        now_millis: u64,
    ) -> bool {
        input.state == InputState::Waiting
            && input.epoch == node.epoch
            && input.parent_auth.is_none_or(|parent| parent == node.authenticator)
            // An input that the clock forbids to judge has its time. A time that is farther off was set by a clock that
            // went back.
            && !input
                .due_at
                .is_some_and(|at| at > now_millis && at - now_millis <= JUDGE_AGAIN)
            && match self.0.get(&(input.content_id, node.authenticator)) {
                None => true,
                Some(Vain::Elsewhere) => false,
                Some(Vain::Lacks(then)) => *then != proposals,
            }
    }
}

/// Names the messages until now, by the newest one.
pub(crate) fn heard_until(newest: i64) -> [u8; 32] {
    let mut heard = [0; 32];
    heard[..8].copy_from_slice(&newest.to_be_bytes());
    heard
}

/// Names the verified proposals of a state.
pub(crate) fn proposals_on(inputs: &[InputRow], state: &Auth) -> [u8; 32] {
    let mut ids: Vec<ContentId> = inputs
        .iter()
        .filter(|i| i.class == InputClass::Proposal && i.state == InputState::Verified)
        .filter(|i| i.parent_auth == Some(*state))
        .map(|i| i.content_id)
        .collect();
    ids.sort_unstable();
    let mut hash = Sha256::new();
    ids.iter().for_each(|id| hash.update(id.as_bytes()));
    hash.finalize().into()
}
