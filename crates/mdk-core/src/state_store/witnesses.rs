//! The members that spoke in each state.

use std::collections::{BTreeSet, HashMap};

use mdk_store::{MessageRow, Tx};
use mdk_wire::{EventId, GroupId, PublicKey};

use crate::fork_choice::branch_order;
use crate::fork_choice::settling::touch;
use crate::model::error::Result;
use crate::model::membership;
use crate::model::state_id::Auth;
use crate::state_store::groups::{GroupRows, Groups, edit_row};

/// States whose speakers are remembered. If there are more, they are read again.
const MOST_COUNTED: usize = 256;

/// The speakers in contested states.
#[derive(Default)]
pub(crate) struct Speakers {
    pub(crate) counted: HashMap<Auth, BTreeSet<PublicKey>>,
    /// States in which somebody new has spoken during the current transaction: read again when it does not commit.
    spoken: Vec<Auth>,
}

impl Speakers {
    pub(crate) fn put_counted(&mut self, state: Auth, who: BTreeSet<PublicKey>) {
        if self.counted.len() >= MOST_COUNTED {
            self.counted.clear();
        }
        self.counted.insert(state, who);
    }

    /// Somebody has spoken in a state. True if that was not known, and not enough others had.
    pub(crate) fn count(&mut self, state: Auth, who: PublicKey, most: usize) -> bool {
        let counted = self.counted.entry(state).or_default();
        let new = counted.len() < most && counted.insert(who);
        if new {
            self.spoken.push(state);
        }
        new
    }

    /// The transaction committed.
    pub(crate) fn committed(&mut self) {
        self.spoken.clear();
    }

    pub(crate) fn rolled_back(&mut self) {
        for state in self.spoken.drain(..) {
            self.counted.remove(&state);
        }
    }
}

/// The speakers, and the changes that they make.
pub(crate) struct Witnesses<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) now_millis: u64,
    pub(crate) rows: &'a mut GroupRows,
    pub(crate) speakers: &'a mut Speakers,
}

impl Witnesses<'_> {
    fn groups(&self) -> Groups<'_> {
        Groups { tx: self.tx, rows: self.rows }
    }

    /// A message that can still change a choice makes the pass wait on, or opens one (rule: E5-5). Its epoch lies on a
    /// contested branch, its sender is not counted there yet, and the epoch is not full. After the choice, a message on
    /// the winner only makes that one stronger. Call this before the message counts.
    pub(crate) fn witness(&mut self, said: &MessageRow) -> Result<()> {
        let (id, auth) = (&said.group, &said.authenticator);
        let pass = self.groups().pass_of(id)?;
        if pass.contested == 0 || said.epoch < pass.contested {
            self.speakers.counted.remove(auth);
            return Ok(());
        }
        let states = self.tx.states(id)?;
        let Some(node) = states.get(auth) else { return Ok(()) };
        // A branch that lost may stay for long, and much may be said meanwhile: it is read once who spoke.
        if !self.speakers.counted.contains_key(auth) {
            let counted = self.tx.witnesses_of(id, auth, node.history)?.into_iter().collect();
            self.speakers.put_counted(*auth, counted);
        }
        let new = self.speakers.count(*auth, said.sender, branch_order::POLICY.quorum_senders);
        if !new || node.canonical && pass.opened == 0 {
            return Ok(());
        }
        let now = self.now_millis;
        edit_row(self.tx, self.rows, id, |row| touch(&mut row.pass, row.epoch, now))?;
        Ok(())
    }

    // rule: E4-7 a message of ours counts once a relay has it: what nobody else can know must not lead us where nobody goes
    /// A message of ours is about to count. On the branch that is followed it only makes that one stronger.
    pub(crate) fn witness_ours(&mut self, id: &GroupId, message: &EventId) -> Result<()> {
        if membership::is_over(self.groups().current_row(id)?.status) {
            return Ok(());
        }
        let nodes = self.tx.nodes(id)?;
        for copy in self.tx.copies(id, message)?.iter().filter(|copy| copy.mine) {
            self.speakers.counted.remove(&copy.authenticator);
            if nodes.iter().any(|n| n.authenticator == copy.authenticator && !n.canonical) {
                self.witness(copy)?;
            }
        }
        Ok(())
    }
}
