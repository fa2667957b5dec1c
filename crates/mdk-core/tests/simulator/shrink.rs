//! Looks for the smallest world that still fails in the same way.

use std::time::{Duration, Instant};

use super::plan::Plan;
use super::world::Fault;

/// A smaller plan with the same sort of fault, as far as the time reaches.
pub fn shrink(
    plan: Plan,
    fault: Fault,
    time: Duration,
    run: impl Fn(&Plan) -> Option<Fault>,
) -> (Plan, Fault) {
    let until = Instant::now() + time;
    let (mut best, mut why) = (plan, fault);
    let better = |plan: &Plan, why: &Fault| run(plan).filter(|f| f.sort == why.sort);
    loop {
        let before = (best.steps.len(), best.members);
        // Steps: halves first, then ever smaller pieces.
        let mut size = best.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < best.steps.len() && Instant::now() < until {
                let mut smaller = best.clone();
                smaller.steps.drain(at..(at + size).min(smaller.steps.len()));
                match better(&smaller, &why) {
                    Some(fault) => (best, why) = (smaller, fault),
                    None => at += size,
                }
            }
            size /= 2;
        }
        // Members, relays.
        for _ in 0..best.members {
            let mut smaller = best.clone();
            smaller.members -= 1;
            smaller.founders = smaller.founders.min(smaller.members);
            smaller.admins = smaller.admins.min(smaller.founders);
            if smaller.members < 2 || Instant::now() > until {
                break;
            }
            match better(&smaller, &why) {
                Some(fault) => (best, why) = (smaller, fault),
                None => break,
            }
        }
        if best.relays > 1 {
            let smaller = Plan { relays: 1, ..best.clone() };
            if let Some(fault) = better(&smaller, &why) {
                (best, why) = (smaller, fault);
            }
        }
        if (best.steps.len(), best.members) == before || Instant::now() > until {
            return (best, why);
        }
    }
}
