//! The relay, looked at with a WebSocket client of its own.

mod faults;
mod hostile;
mod kit;
mod life;
mod nips;
