//! What breaks a rule, or was found to break a group: refused, and without a trace.

mod commits;
mod inbound;
mod invariants;
mod join;
mod key_packages;
mod mutations;
mod regressions;
mod regressions_bounds;
mod rejoin;
mod removals;
mod states;
mod storm;
