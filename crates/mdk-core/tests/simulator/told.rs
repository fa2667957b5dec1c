//! Whether what a member was told adds up to how it stands.

use mdk_core::{EventBody, GroupState};
use mdk_store::Progress;

use crate::world::{Checked, World, fault};

impl World {
    /// Who follows the log knows the epoch, and why it is out; and a database is whole whatever it has been through.
    pub fn judge_told(&mut self, who: usize, log: &[EventBody]) -> Checked {
        let mut epoch: Option<u64> = None;
        let (mut out, mut ended): (Option<bool>, bool) = (None, false);
        // Whoever becomes an admin does not leave by asking any more.
        let mut was_left = false;
        for body in log {
            match body {
                EventBody::Joined { .. } => {
                    (epoch, out, ended, was_left) = (None, None, false, false)
                }
                EventBody::EpochChanged { old, new, .. } => {
                    // Whoever is invited anew may hear of commits before he accepts.
                    let anew = |told: &u64| ended && told < old;
                    if let Some(told) = epoch.filter(|told| told != old && !anew(told)) {
                        let text =
                            format!("member {who} was told of {told}, then of {old} to {new}");
                        return fault("told wrongly", text);
                    }
                    ended = ended && epoch != Some(*old);
                    (epoch, out) = (Some(*new), None);
                }
                EventBody::GroupUpdated { changed, .. } if changed.contains("admins") => {
                    was_left = false
                }
                EventBody::Removed { left, .. } => {
                    if was_left && !left {
                        let text = format!("member {who} had left, and then was removed");
                        return fault("told wrongly", text);
                    }
                    (out, ended, was_left) = (Some(*left), true, *left);
                }
                EventBody::Unrecoverable { .. } => ended = true,
                _ => {}
            }
        }
        let group = self.group.clone();
        let Ok(info) = self.call(who, |e| e.group(&group)) else { return Ok(()) };
        if let Some(told) = epoch.filter(|told| *told != info.epoch) {
            let text = format!("member {who} is at {}, and was told of {told}", info.epoch);
            return fault("told wrongly", text);
        }
        let asked = self.members[who].asked;
        let expected = match info.state {
            GroupState::Left => Some(true),
            GroupState::Removed => Some(false),
            _ => None,
        };
        if expected.is_some_and(|left| out != Some(left) || (left && !asked)) {
            let text = format!("member {who} is {:?}, asked: {asked}, told: {out:?}", info.state);
            return fault("told wrongly", text);
        }
        let report = self.must(who, "verify", |e| e.verify(&mut Progress::none()))?;
        if !report.is_intact() {
            return fault("damaged", format!("member {who}: {:?}", report.logic));
        }
        Ok(())
    }
}
