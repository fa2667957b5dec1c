//! What keeps a connection's task alive: a panic in it is a bug of ours, and must not cost the account its relay for as
//! long as the process lives.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;

use super::reconnect::{End, Worker};
use super::{Arrived, RelayState};

/// What `RelayStatus::last_error` says after a panic. Where it was is in the log of the panic, and its text nowhere: it
/// may quote what was being handled.
const PANICKED: &str = "internal error";

impl Worker {
    /// Runs until the last account has released the relay, or the pool is gone.
    pub(super) async fn run(mut self) {
        let mut first = None;
        while let Err(panic) = AssertUnwindSafe(self.work(first.take())).catch_unwind().await {
            dispose(panic);
            self.recover();
            first = Some(End::Failed(PANICKED.to_owned()));
        }
        self.set(|status| {
            status.state = RelayState::Closed;
            status.next_attempt = None;
        });
    }

    /// Makes ready for another connection. The session is gone with its socket and its requests, whose callers have been
    /// told so; what its accounts had not taken yet they fetch again.
    fn recover(&mut self) {
        if let Some(pool) = self.home.pool.upgrade() {
            pool.panics.fetch_add(1, Ordering::Relaxed);
        }
        tracing::error!(
            failures = self.failures,
            "the task of a relay panicked, and connects again"
        );
        let was_connected = self.accounts.connected;
        self.accounts.renew();
        if was_connected {
            let (relay, reason) = (self.accounts.relay(), Some(PANICKED.to_owned()));
            self.accounts.deliver_all(&Arrived::Disconnected { relay, reason });
        }
        self.has_ended();
    }
}

/// Dropping a panic's payload may panic itself.
fn dispose(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::Future;
    use std::io;
    use std::net::SocketAddr;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use mdk_relay::{LocalRelay, LocalRelayOptions};
    use mdk_wire::Keys;
    use tokio::sync::mpsc;

    use crate::dial::Resolve;
    use crate::options::PoolOptions;
    use crate::relay_pool::{Account, Arrived, Origin, Pool};

    /// Panics once, then knows every name.
    struct Faulty(AtomicBool);

    impl Resolve for Faulty {
        fn resolve<'a>(
            &'a self,
            _: &'a str,
            port: u16,
        ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
            Box::pin(async move {
                assert!(self.0.swap(true, Ordering::SeqCst), "a panic that the test asked for");
                Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
            })
        }
    }

    #[tokio::test]
    async fn a_panic_before_there_is_a_connection_is_a_failed_attempt() {
        let relay = LocalRelay::start(LocalRelayOptions::default()).await.unwrap();
        let port = relay.url().rsplit(':').next().unwrap().to_owned();
        let options =
            PoolOptions { reconnect_min: Duration::from_millis(20), ..PoolOptions::default() };
        let pool = Pool::with_resolver(options, Arc::new(Faulty(AtomicBool::new(false))));
        let (sink, mut arrived) = mpsc::channel(4);
        let public_key = Keys::generate().public_key();
        let account = Account {
            public_key,
            sink,
            room: Default::default(),
            sign: Arc::new(|_| None),
            false_events: Arc::default(),
        };
        pool.open(&format!("ws://relay.test:{port}"), Origin::User, &account).await.unwrap();
        let first = tokio::time::timeout(Duration::from_secs(20), arrived.recv()).await;
        // Nothing was connected before, so nobody is told of an end.
        assert!(matches!(first.unwrap(), Some(Arrived::Connected { .. })));
        assert_eq!(pool.panics(), 1);
    }
}
