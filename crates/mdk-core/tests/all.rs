//! The tests of the engine from outside, as one program: it is compiled and linked once.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod adversarial;
mod converge;
mod kit;
mod life;
mod messages;
mod outbox;
mod peers;
mod recorded;
mod scenarios;
mod simulator;

#[path = "../../../tests/sampling.rs"]
#[allow(dead_code)] // (each program uses some of it)
mod sampling;
#[path = "../../../tests/unlocked.rs"]
mod unlocked;
