//! Pauses between attempts, by a clock that does not run.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mdk_wire::Keys;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::pause_after;
use crate::dial::Resolve;
use crate::options::PoolOptions;
use crate::relay_pool::{Account, Origin, Pool};

pub(crate) const URL: &str = "ws://relay.test";

/// Knows no name, and tells when it was asked.
struct Nowhere(mpsc::UnboundedSender<Instant>);

impl Resolve for Nowhere {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
        _: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.0.send(Instant::now()).unwrap();
        Box::pin(async { Err(io::Error::other("no such name")) })
    }
}

#[test]
fn pauses_double_up_to_a_minute() {
    let options = PoolOptions::default();
    let whole = |failures| pause_after(failures, &options, u16::MAX).as_secs_f64().round();
    assert_eq!([0, 1, 2, 5, 6, 60].map(whole), [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]);
    assert_eq!(pause_after(6, &options, 0), options.reconnect_max / 2, "not all clients at once");
}

/// A pool that knows no name, with pauses that get long, and when it looked for one.
pub(crate) fn nowhere() -> (Pool, mpsc::UnboundedReceiver<Instant>) {
    let (tell, attempts) = mpsc::unbounded_channel();
    let options = PoolOptions {
        reconnect_min: Duration::from_millis(50),
        reconnect_max: Duration::from_secs(3600),
        ..PoolOptions::default()
    };
    (Pool::with_resolver(options, Arc::new(Nowhere(tell))), attempts)
}

/// Waits for a pause that lasts for seconds more: when it ends.
pub(crate) async fn in_pause(
    pool: &Pool,
    attempts: &mut mpsc::UnboundedReceiver<Instant>,
) -> Instant {
    loop {
        attempts.recv().await.unwrap();
        tokio::task::yield_now().await;
        let next = pool.status()[0].next_attempt;
        let left = next.and_then(|at| at.duration_since(SystemTime::now()).ok());
        if left.is_some_and(|left| left > Duration::from_secs(3)) {
            return Instant::now() + left.unwrap();
        }
    }
}

#[tokio::test]
async fn something_to_publish_ends_a_pause() {
    let (pool, mut attempts) = nowhere();
    let public_key = Keys::generate().public_key();
    let (sink, _arrived) = mpsc::channel(4);
    let account = Account {
        public_key,
        sink,
        room: Default::default(),
        sign: Arc::new(|_| None),
        false_events: Arc::default(),
    };
    pool.open(URL, Origin::User, &account).await.unwrap();
    let planned = in_pause(&pool, &mut attempts).await;
    pool.hurry(URL, &public_key);
    assert!(attempts.recv().await.unwrap() < planned);
}
