//! What a relay stored while nobody was listening: paged through from the newest back, given to the engine from the
//! oldest on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mdk_wire::Event;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::client::feed::Fed;
use crate::client::shared::{Shared, add, backoff};
use crate::error::{ClientError, Result};
use crate::relay_pool::{Page, wants_auth};

mod gather;
mod listen;
mod paging;
mod requests;
mod unpaged;

use self::gather::Gatherer;
pub(crate) use self::gather::{Gathered, pour};
pub(crate) use self::listen::{Listen, Listened};
use self::paging::History;
use self::unpaged::Gaps;

/// How long the others wait for a page, or for the stored part of a subscription: longer than a relay takes that is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// Events and bytes of a history that are in memory at one time; what is newer is fetched again.
const MOST_EVENTS: usize = 20_000;
const MOST_BYTES: usize = 64 << 20;

/// One thing to fetch: a filter without its times, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) filter: Map<String, Value>,
    pub(crate) since: u64,
    pub(crate) topics: Vec<String>,
}

/// How one relay's catch-up ended.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    pub(crate) relay: String,
    /// Topics whose history is complete.
    pub(crate) complete: Vec<String>,
    /// Whether that is everything that was asked for.
    pub(crate) all: bool,
    /// Whether what is published meanwhile is heard.
    pub(crate) listened: Listened,
    /// How many messages of the relay have come by then.
    pub(crate) heard: u64,
    pub(crate) fed: Fed,
}

/// Fetches everything of `work` from one relay, and gives it to be read together with what others give. Ends early, with what it
/// has, when the relay fails or the client stops. `listen`: what is published while the history is fetched is in no part of
/// it that is still asked for.
/// `slow` is set when the relay is not one that the others should wait for, as it is from the beginning when it has failed
/// before; `ends`, when it has said of an answer that it is all.
pub(crate) async fn run(
    shared: Arc<Shared>,
    relay: String,
    (listen, work): (Option<Listen>, Vec<Work>),
    slow: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    to: mpsc::Sender<Gathered>,
) -> Finished {
    // (a first attempt does not tell)
    let never_ends = slow.load(Ordering::Relaxed) && !ends.load(Ordering::Relaxed);
    let gatherer = Gatherer::new(&relay, to, slow.clone());
    let mut finished = Finished { relay, all: true, ..Finished::default() };
    if let Some(listen) = listen {
        finished.listened = listen.begin(&shared, &finished.relay).await;
    }
    // The pool knows what the relay announced.
    let limit = shared.options.page_limit.max(2);
    for work in work {
        let ask = |filter: String| {
            let (shared, relay) = (shared.clone(), finished.relay.clone());
            let (slow, ends, gatherer) = (slow.clone(), ends.clone(), &gatherer);
            async move {
                let tell = || {
                    if !slow.swap(true, Ordering::Relaxed) {
                        shared.slow_wake.notify_one();
                    }
                };
                let asking = ask(&shared, &relay, &filter);
                tokio::pin!(asking);
                let page = tokio::select! {
                    page = &mut asking => page,
                    // It may be asked again for a long time, and what the others have is not to wait for that.
                    () = tokio::time::sleep(PATIENCE) => {
                        tell();
                        // Nor is what it has given so far. (what becomes of it is seen at the end)
                        tokio::join!(asking, gatherer.give()).0
                    }
                };
                if page.as_ref().is_ok_and(|page| page.complete) {
                    ends.store(true, Ordering::Relaxed);
                } else {
                    tell();
                }
                page
            }
        };
        let counters = &shared.counters;
        let gaps = Gaps::of(&work.topics);
        let feed = |events: Vec<Event>| async {
            // Before what is there: once the engine has that, nothing shows any more that something is not.
            gaps.tell(&shared).await?;
            gatherer.take(events).await
        };
        let history = History {
            work: &work,
            limit,
            most_events: MOST_EVENTS,
            most_bytes: MOST_BYTES,
            never_ends,
            announced: &|| shared.pool.page_of(&finished.relay),
            fetched: &|count| add(&counters.fetched, count),
            gap: &|gap| add(&counters.gaps, u64::from(gaps.add(&gap))),
        };
        let (fed, end) = history.read(ask, feed).await;
        finished.fed.join(&fed);
        match end {
            Ok(()) => finished.complete.extend(work.topics),
            Err(error) => {
                tracing::debug!("a catch-up ended early: {error}");
                finished.all = false;
                if !matches!(error, ClientError::Refused { .. }) {
                    break;
                }
            }
        }
    }
    match gatherer.end().await {
        Ok(fed) => finished.fed.join(&fed),
        Err(_) => {
            finished.complete.clear();
            finished.all = false;
        }
    }
    finished.heard = shared.pool.heard(&finished.relay, &shared.me);
    let counted = shared.counters.processed.load(Ordering::Relaxed);
    tracing::debug!(complete = finished.all, new = finished.fed.new, counted, "a catch-up ended");
    finished
}

/// One page. A request that the relay refused, as those do that limit them, or that a lost connection took away, is made
/// again: to begin anew with every page would never come to an end.
async fn ask(shared: &Shared, relay: &str, filter: &str) -> Result<Page> {
    let options = &shared.options;
    let mut failures = 0;
    loop {
        let page = {
            let _permit = requests::permit(relay).await?;
            tokio::select! {
                () = shared.until_stopped() => return Err(ClientError::Closed),
                page = shared.pool.query_slowly(relay, &shared.me, filter, options.request_timeout) => page,
            }
        };
        let error = match page {
            Ok(page) => return Ok(page),
            Err(error) => error,
        };
        let tries = match &error {
            ClientError::NoAnswer => 1,
            // It knows who asks, and says no; or it is never content.
            ClientError::Refused { reason } if wants_auth(reason) => 0,
            ClientError::Refused { .. } => 6,
            ClientError::NotConnected => 3,
            _ => 0,
        };
        if failures >= tries {
            return Err(error);
        }
        if matches!(error, ClientError::NotConnected) {
            let mut connected = shared.connected.subscribe();
            let back = connected.wait_for(|connected| connected.contains(relay));
            tokio::select! {
                () = shared.until_stopped() => return Err(ClientError::Closed),
                back = tokio::time::timeout(options.request_timeout, back) => {
                    if !matches!(back, Ok(Ok(_))) {
                        return Err(error);
                    }
                }
            }
        }
        if !shared.pause(backoff(options.retry_min, options.retry_max, failures)).await {
            return Err(ClientError::Closed);
        }
        failures += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
