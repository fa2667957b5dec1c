//! What waits for relays.

mod commits;
mod dated;
mod edges;
mod invites;
mod messages;
mod relays;
mod stale;
mod witnesses;
