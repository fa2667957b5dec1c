//! Who spoke in which state.

use mdk_store::MessageRow;
use mdk_wire::{EventId, GroupId};

use crate::ctx::Ctx;
use crate::fork_choice::branch_order;
use crate::fork_choice::settling::touch;
use crate::model::error::Result;
use crate::model::membership;

impl Ctx<'_, '_> {
    /// A message that can still change a choice makes the pass wait on, or opens one (rule: E5-5): its epoch lies on a
    /// contested branch, and neither is its sender counted there yet nor is the epoch full. When the choice was made, what is
    /// said on the winner only makes that one stronger. To be called before it counts.
    pub(crate) fn witness(&mut self, said: &MessageRow) -> Result<()> {
        let (id, auth) = (&said.group, &said.authenticator);
        let pass = self.pass_of(id)?;
        if pass.contested == 0 || said.epoch < pass.contested {
            self.memory.speakers.counted.remove(auth);
            return Ok(());
        }
        let states = self.tx.states(id)?;
        let Some(node) = states.get(auth) else { return Ok(()) };
        // A branch that lost may stay for long, and much may be said meanwhile: it is read once who spoke.
        if !self.memory.speakers.counted.contains_key(auth) {
            let counted = self.tx.witnesses_of(id, auth, node.history)?.into_iter().collect();
            self.memory.speakers.put_counted(*auth, counted);
        }
        let new =
            self.memory.speakers.count(*auth, said.sender, branch_order::POLICY.quorum_senders);
        if !new || node.canonical && pass.opened == 0 {
            return Ok(());
        }
        let now = self.now_millis;
        self.edit_row(id, |row| touch(&mut row.pass, row.epoch, now))?;
        Ok(())
    }

    // rule: E4-7 a message of ours counts once a relay has it: what nobody else can know must not lead us where nobody goes
    /// A message of ours is about to count. On the branch that is followed it only makes that one stronger.
    pub(crate) fn witness_ours(&mut self, id: &GroupId, message: &EventId) -> Result<()> {
        if membership::is_over(self.current_row(id)?.status) {
            return Ok(());
        }
        let nodes = self.tx.nodes(id)?;
        for copy in self.tx.copies(id, message)?.iter().filter(|copy| copy.mine) {
            self.memory.speakers.counted.remove(&copy.authenticator);
            if nodes.iter().any(|n| n.authenticator == copy.authenticator && !n.canonical) {
                self.witness(copy)?;
            }
        }
        Ok(())
    }
}
