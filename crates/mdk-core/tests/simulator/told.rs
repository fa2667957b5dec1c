//! Whether what a member was told adds up to how it stands.

use mdk_core::{EventBody, GroupState};
use mdk_store::Progress;

use super::world::{Checked, World, fault};

/// What somebody knows who has followed the log.
#[derive(Default)]
struct Told {
    epoch: Option<u64>,
    /// Whether it was its own wish, if it is out.
    out: Option<bool>,
    ended: bool,
    /// It asked to leave, and has left.
    was_left: bool,
    /// It was told of a new membership, and has not taken it up.
    unanswered: bool,
}

impl Told {
    fn follow(log: &[EventBody]) -> Result<Self, String> {
        let mut told = Self::default();
        log.iter().try_for_each(|body| told.hear(body))?;
        if told.unanswered {
            return Err("was told of another membership and not asked".into());
        }
        Ok(told)
    }

    fn hear(&mut self, body: &EventBody) -> Result<(), String> {
        match body {
            EventBody::Joined { .. } => *self = Self::default(),
            EventBody::EpochChanged { old, new, .. } => {
                // Whoever is invited anew may hear of commits before he accepts: behind the end of the last membership,
                // or on a branch that has not come so far. (Of the invitation the log says no more when another came.)
                if let Some(told) = self.epoch.filter(|told| told != old) {
                    if !self.ended {
                        return Err(format!("was told of {told}, then of {old} to {new}"));
                    }
                    (self.was_left, self.unanswered) = (false, true);
                }
                self.ended = self.ended && self.epoch != Some(*old);
                (self.epoch, self.out) = (Some(*new), None);
            }
            // Whoever becomes an admin does not leave by asking any more.
            EventBody::GroupUpdated { changed, .. } if changed.contains("admins") => {
                self.was_left = false;
            }
            EventBody::Removed { left, .. } => {
                if self.was_left && !left {
                    return Err("had left, and then was removed".into());
                }
                (self.out, self.was_left) = (Some(*left), *left);
                (self.ended, self.unanswered) = (true, false);
            }
            EventBody::Unrecoverable { .. } => (self.ended, self.unanswered) = (true, false),
            EventBody::Disbanded { .. } => self.unanswered = false,
            _ => {}
        }
        Ok(())
    }
}

impl World {
    /// Who follows the log knows the epoch, and why it is out; and a database is whole whatever it has been through.
    pub fn judge_told(&mut self, who: usize, log: &[EventBody]) -> Checked {
        let told = Told::follow(log);
        let Told { epoch, out, .. } = match told {
            Ok(told) => told,
            Err(text) => return fault("told wrongly", format!("member {who} {text}")),
        };
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

/// A new membership begins anywhere, and its end is its own; a membership that goes on does so where it was.
#[test]
fn what_a_log_may_say() {
    let step = |old: u64, new: u64| EventBody::EpochChanged { old, new, commit: None };
    let out = |left: bool| EventBody::Removed { by: None, left, commit: None };
    let follow = |log: &[EventBody]| Told::follow(log).map(|told| (told.epoch, told.out));
    for old in [6, 12] {
        let anew = [step(7, 8), out(true), step(old, old + 1), step(old + 1, old + 2), out(false)];
        assert_eq!(follow(&anew), Ok((Some(old + 2), Some(false))));
        assert!(follow(&anew[..4]).is_err(), "nobody is in a group again without being asked");
    }
    assert!(follow(&[step(7, 8), step(6, 7)]).is_err());
    assert!(follow(&[step(7, 8), out(true), step(8, 9), step(10, 11)]).is_err());
    assert!(follow(&[step(7, 8), out(true), step(8, 9), out(false)]).is_err());
}
