//! The local relay, looked at with a WebSocket client of its own.

mod faults;
mod kit;
mod life;
mod speed;
