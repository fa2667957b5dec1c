//! What work costs, in steps: the same on a busy machine.

use mdk_core::{Engine, testing};

/// Steps of the database for this engine, and of MLS in this thread.
pub fn so_far(engine: &mut Engine) -> u64 {
    testing::store_steps(engine).unwrap() + testing::mls_steps()
}
