//! The relay of ours, from outside.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod relay;

#[path = "../../../tests/sampling.rs"]
#[allow(dead_code)] // (each program uses some of it)
mod sampling;
