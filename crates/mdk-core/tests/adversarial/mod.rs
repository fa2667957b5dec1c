//! What breaks a rule, or was found to break a group: refused, and without a trace.

mod betrayed;
mod commits;
mod hostile_worlds;
mod inbound;
mod invariants;
mod join;
mod key_packages;
mod mutations;
mod regressions;
mod regressions_bounds;
mod rejoin;
mod removals;
mod splits;
mod states;
