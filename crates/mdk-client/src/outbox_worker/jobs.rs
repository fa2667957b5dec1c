//! What is done aside, and what becomes of it when it panics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use mdk_core::{OutboxItem, OutboxPurpose};

use super::state::Done;
use crate::client::shared::Shared;
use crate::lists;
use crate::relay_pool::Published;

/// Finds the relays of an event that names none.
pub(super) async fn search(shared: Arc<Shared>, item: OutboxItem) -> Done {
    let seq = item.seq;
    let relays = match item.purpose {
        OutboxPurpose::Welcome { recipient } => {
            lists::welcome_targets(&shared, &recipient, item.group.as_ref()).await
        }
        _ => Some(shared.own_relays()).filter(|relays| !relays.is_empty()),
    };
    Done::Found { seq, relays }
}

/// What a job gives, or instead when it panics: its lane is open again then, and it is tried later.
pub(super) async fn or_else<T>(job: impl Future<Output = T>, instead: impl FnOnce() -> T) -> T {
    match AssertUnwindSafe(job).catch_unwind().await {
        Ok(done) => done,
        Err(_) => {
            tracing::error!("a job of the outbox panicked");
            instead()
        }
    }
}

pub(super) fn panicked() -> Published {
    Published::Refused { reason: "internal error".to_owned(), forever: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_opens_its_lane_again() {
        let publish = async { panic!("for the test") };
        let Published::Refused { forever, .. } = or_else(publish, panicked).await else {
            panic!("no answer that leads to another attempt")
        };
        assert!(!forever);
        assert!(or_else(async { true }, || false).await);
    }
}
