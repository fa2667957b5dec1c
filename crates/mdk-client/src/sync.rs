//! Reading relays: pure machines (one for each relay, one gate for all) and the turn of the account that drives them.

mod by_time; // gives the histories of relays to the engine by time
pub(crate) mod cursor; // how far a relay has been read
pub(crate) mod gate; // what several relays have of one time goes to the engine together
pub(crate) mod held_events; // live events that wait for a relay's history
mod line; // asks one relay for what its machine orders
pub(crate) mod relay_sync; // the machine of one relay that is read, without I/O
pub(crate) mod subscriptions; // the live subscriptions of one relay
pub(crate) mod topics; // the topics that are read on one relay, and their filters
pub(crate) mod turn; // drives machines, gate, engine and pool; the account's loop
pub(crate) mod wanted; // the topics that the engine wants, and on which relays
#[cfg(test)]
mod worlds;
