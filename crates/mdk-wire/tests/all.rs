//! What goes over the wire: events and their envelopes, and the components inside of groups.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod events;
mod kit;
mod push;
mod v2;
