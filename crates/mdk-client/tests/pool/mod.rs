//! The pool of connections, against relays that do what a test tells them.

mod auth;
mod delivery;
mod dial;
mod hostile;
mod kit;
mod panic;
mod publish;
mod refusals;
mod room;
mod sharing;
