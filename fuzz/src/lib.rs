//! The fuzz targets: what each does with one input, seeds for it from recorded traffic, and a small mutator.
//!
//! `tests/share.rs` runs the seeds and some mutated inputs as plain tests. The programs in `libfuzzer` call the same targets
//! under libFuzzer, with nightly Rust and coverage: `run.py` builds and runs them.

mod json;
mod kit;
pub mod mutate;
pub mod seeds;
mod shared;
mod sqlcipher;
pub mod targets;
