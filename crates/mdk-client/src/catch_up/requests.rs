//! How many pages this process asks for at one time.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::lock::lock;
use crate::error::{ClientError, Result};

/// Requests that wait for an answer of one relay: a relay that answers nobody holds up nobody but itself.
const AT_ONE: usize = 32;

/// The relays that are being asked.
static RELAYS: LazyLock<Mutex<HashMap<String, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Waits for a turn at this relay.
pub(super) async fn permit(relay: &str) -> Result<OwnedSemaphorePermit> {
    let turns = of(relay);
    turns.acquire_owned().await.map_err(|_| ClientError::Closed)
}

fn of(relay: &str) -> Arc<Semaphore> {
    let mut relays = lock(&RELAYS);
    if let Some(turns) = relays.get(relay).and_then(Weak::upgrade) {
        return turns;
    }
    relays.retain(|_, turns| turns.strong_count() > 0);
    let turns = Arc::new(Semaphore::new(AT_ONE));
    relays.insert(relay.to_owned(), Arc::downgrade(&turns));
    turns
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_relay_does_not_use_up_the_turns_of_another() {
        let (bad, good) = ("wss://bad.example", "wss://good.example");
        let mut held = Vec::new();
        for _ in 0..AT_ONE {
            held.push(permit(bad).await.unwrap());
        }
        assert!(permit(bad).now_or_never().is_none());
        assert!(permit(good).now_or_never().is_some());
        drop(held.pop());
        assert!(permit(bad).now_or_never().is_some());
        drop(held);
        drop(permit(good).await);
        assert!(lock(&RELAYS).get(bad).is_none_or(|turns| turns.strong_count() == 0));
    }
}
