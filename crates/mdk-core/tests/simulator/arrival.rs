//! Whether a message came while its epoch was still in the member's window: what came then must not be lost.
//!
//! F6: "Messages that arrive *after* their epoch left the window are lost by design; report stale with a gap event, never
//! silently."

use std::collections::BTreeSet;

use mdk_core::{DeferredReason, Outcome, RejectCode, Verdict, testing};

use super::tree::Auth;
use super::world::{Checked, World};

/// How a member stood when something came to it.
pub struct Arrival {
    /// Its epoch; of one who is out that of the removal.
    epoch: u64,
    out: bool,
    /// The choice between branches has been due since before.
    due: bool,
    /// Another branch may win.
    undecided: bool,
    /// The states that were retained and that it was in.
    states: BTreeSet<Auth>,
}

impl World {
    /// How a member stands to whom messages come, unless it never was in the group or keeps nothing of it.
    pub fn arrives(&mut self, who: usize, places: &[usize]) -> Checked<Option<Arrival>> {
        let group = self.group.clone();
        let said = |place: &usize| self.said.iter().any(|s| s.event == self.net.log[*place].id);
        if !places.iter().any(said) {
            return Ok(None);
        }
        let known = self.call(who, |e| e.group(&group)).is_ok();
        if !known || self.members[who].root.is_none() {
            return Ok(None);
        }
        let watch = self.must(who, "watch", |e| testing::watch(e, &group))?;
        let followed = watch.states.iter().filter(|s| s.followed).map(|s| s.epoch).max();
        let Some(epoch) = followed else { return Ok(None) };
        Ok(Some(Arrival {
            epoch,
            out: self.members[who].tip.is_none(),
            due: watch.pass_due,
            undecided: watch.pass_open || watch.contested,
            states: watch
                .states
                .iter()
                .chain(&watch.asleep)
                .filter(|s| !s.removed)
                .map(|s| s.authenticator)
                .collect(),
        }))
    }

    /// Notes of messages that have come whether they were in time.
    ///
    /// A choice that is due is made before anything else (E5 step 3), so the window is that of what was chosen. Who is out,
    /// and stays so, is refused everything (D1 step 3) and asks for it again: that is no arrival.
    pub fn note_arrival(
        &mut self,
        who: usize,
        arrival: Option<Arrival>,
        places: &[usize],
        outcomes: &[Outcome],
    ) -> Checked {
        let Some(arrival) = arrival else { return Ok(()) };
        let mut epoch = arrival.epoch.max(self.members[who].highest);
        if arrival.due {
            let group = self.group.clone();
            let watch = self.must(who, "watch", |e| testing::watch(e, &group))?;
            let chosen = watch.states.iter().filter(|s| s.followed);
            let chosen = chosen.filter(|s| arrival.states.contains(&s.authenticator));
            epoch = chosen.map(|s| s.epoch).max().map_or(epoch, |chosen| chosen.max(epoch));
        }
        for (place, outcome) in places.iter().zip(outcomes) {
            let id = self.net.log[*place].id;
            let Some(said) = self.said.iter().find(|s| s.event == id) else { continue };
            let refused = matches!(outcome.verdict, Verdict::Rejected(r) if r.code == RejectCode::UnknownGroup);
            let retained =
                arrival.undecided && !arrival.due && arrival.states.contains(&said.state);
            if arrival.out && refused && !retained {
                continue;
            }
            let member = &mut self.members[who];
            if matches!(
                outcome.verdict,
                Verdict::Applied | Verdict::Deferred(DeferredReason::Rival)
            ) {
                member.taken.insert(id);
            }
            if self.tree.epoch(&said.state) + 5 < epoch {
                member.late.insert(id);
            } else if !arrival.out || retained {
                member.in_time.insert(id);
            }
        }
        Ok(())
    }
}
