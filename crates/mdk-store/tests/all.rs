//! The store from outside: its keys, its rows, its files, and processes that share them or are killed.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[cfg(unix)]
mod keys;
mod kit;
#[cfg(unix)]
mod processes;
mod rows;
#[cfg(unix)]
mod vault;

#[path = "../../../tests/sampling.rs"]
#[allow(dead_code)] // (each program uses some of it)
mod sampling;
