//! Reading relays: pure machines (one for each relay, one gate for all) and the turn of the account that drives them.

mod by_time;
pub(crate) mod cursor;
pub(crate) mod gate;
pub(crate) mod held_events;
mod line;
pub(crate) mod relay_sync;
pub(crate) mod subscriptions;
pub(crate) mod topics;
pub(crate) mod turn;
pub(crate) mod wanted;
#[cfg(test)]
mod worlds;
