//! What a relay stored while nobody was listening: paged through from the newest back, given to the engine from the
//! oldest on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mdk_wire::Event;
use mdk_wire::budget::relay::{PATIENCE, WINDOW_BYTES, WINDOW_EVENTS};
use tokio::sync::{mpsc, oneshot};

use crate::client::lock::lock;
use crate::client::shared::{Shared, add};
use crate::client::times::backoff;
use crate::error::{ClientError, Result};
use crate::relay_pool::{Page, wants_auth};
use crate::sync::relay_sync::{Input, JobEnd, JobId};
use crate::sync::topics::Span;

mod paging;
mod reconciled;
mod requests;
mod unpaged;

use self::paging::History;
use self::unpaged::Gaps;

/// An answer to an order, for the relay's machine; `taken` is told when the engine has the events in it.
pub(crate) struct Said {
    pub(crate) relay: Arc<str>,
    pub(crate) serial: u32,
    pub(crate) input: Input,
    pub(crate) taken: Option<oneshot::Sender<()>>,
}

/// The way to one relay's machine.
#[derive(Clone)]
pub(crate) struct Outlet {
    pub(crate) relay: Arc<str>,
    pub(crate) serial: u32,
    pub(crate) to: mpsc::Sender<Said>,
}

impl Outlet {
    pub(crate) async fn say(&self, input: Input) {
        let said = Said { relay: self.relay.clone(), serial: self.serial, input, taken: None };
        // (the turn ends before its lines do)
        let _ = self.to.send(said).await;
    }

    /// Waits until the engine has it, so that no more of a history is in memory than a window.
    async fn give(&self, job: JobId, events: Vec<Event>) -> Result<()> {
        let (taken, done) = oneshot::channel();
        let input = Input::Part(job, events);
        let said =
            Said { relay: self.relay.clone(), serial: self.serial, input, taken: Some(taken) };
        self.to.send(said).await.map_err(|_| ClientError::Closed)?;
        done.await.map_err(|_| ClientError::Closed)
    }
}

/// A history that a machine wants, see [`Action::Fetch`](crate::sync::relay_sync::Action::Fetch).
pub(crate) struct Fetch {
    pub(crate) job: JobId,
    pub(crate) spans: Vec<Span>,
    pub(crate) never_ends: bool,
    pub(crate) slow: bool,
}

/// Events that have come and are not given on: the whole history until its end, or a window of it.
struct Parts<'a> {
    outlet: &'a Outlet,
    job: JobId,
    /// The others do not wait for this relay, nor is what it has given to wait for the rest of it.
    slow: AtomicBool,
    events: Mutex<Vec<Event>>,
}

impl Parts<'_> {
    async fn take(&self, events: Vec<Event>) -> Result<()> {
        let full = {
            let mut all = lock(&self.events);
            all.extend(events);
            let bytes = || all.iter().map(Event::weight).sum::<usize>();
            all.len() >= WINDOW_EVENTS || bytes() >= WINDOW_BYTES
        };
        if full || self.slow.load(Ordering::Relaxed) { self.give().await } else { Ok(()) }
    }

    async fn give(&self) -> Result<()> {
        let events = self.rest();
        if events.is_empty() { Ok(()) } else { self.outlet.give(self.job, events).await }
    }

    fn rest(&self) -> Vec<Event> {
        std::mem::take(&mut lock(&self.events))
    }

    /// Waits for `asking`; the others do not wait for as long.
    async fn while_slow<T>(&self, asking: impl Future<Output = T>) -> T {
        tokio::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            () = tokio::time::sleep(PATIENCE) => {
                self.be_slow().await;
                // Nor is what it has given so far. (what becomes of it is seen at the end)
                tokio::join!(asking, self.give()).0
            }
        }
    }

    async fn be_slow(&self) {
        if !self.slow.swap(true, Ordering::Relaxed) {
            self.outlet.say(Input::Slow(self.job)).await;
        }
    }
}

/// Fetches everything of `fetch` from one relay, and tells its machine what comes. Ends early, with what it has, when the relay
/// fails or the client stops.
pub(crate) async fn run(shared: Arc<Shared>, fetch: Fetch, outlet: Outlet) {
    let (job, relay) = (fetch.job, &*outlet.relay);
    let slow = AtomicBool::new(fetch.slow);
    let parts = Parts { outlet: &outlet, job, slow, events: Mutex::default() };
    let ends = AtomicBool::new(false);
    // The pool knows what the relay announced.
    let limit = shared.options.page_limit.max(2);
    let (mut complete, mut all) = (Vec::new(), true);
    let skipped = AtomicBool::new(false);
    for span in fetch.spans {
        let ask = |filter: String| {
            let (shared, parts, ends) = (&shared, &parts, &ends);
            async move {
                // (it may be asked again for a long time)
                let page = parts.while_slow(ask(shared, relay, &filter)).await;
                if page.as_ref().is_ok_and(|page| page.complete) {
                    ends.store(true, Ordering::Relaxed);
                } else {
                    parts.be_slow().await;
                }
                page
            }
        };
        let counters = &shared.counters;
        let gaps = Gaps::of(&span.topics);
        let feed = |events: Vec<Event>| async {
            // Before what is there: once the engine has that, nothing shows any more that something is not.
            gaps.tell(&shared).await?;
            parts.take(events).await
        };
        if span.known
            && let Some(ids) = parts.while_slow(reconciled::missing(&shared, relay, &span)).await
        {
            let most = limit.min(shared.pool.page_of(relay).unwrap_or(limit));
            if let Some(events) = reconciled::fetch(&span, &ids, most, ask).await {
                add(&counters.fetched, events.len() as u64);
                if parts.take(events).await.is_ok() {
                    complete.extend(span.topics);
                    continue;
                }
                all = false;
                break;
            }
            shared.pool.distrust_ids(relay, &shared.me);
        }
        let history = History {
            work: &span,
            limit,
            most_events: WINDOW_EVENTS,
            most_bytes: WINDOW_BYTES,
            never_ends: fetch.never_ends,
            announced: &|| shared.pool.page_of(relay),
            fetched: &|count| add(&counters.fetched, count),
            gap: &|gap| {
                skipped.store(true, Ordering::Relaxed);
                add(&counters.gaps, u64::from(gaps.add(&gap)));
            },
        };
        match history.read(ask, feed).await {
            Ok(()) => complete.extend(span.topics),
            Err(error) => {
                tracing::debug!("a catch-up ended early: {error}");
                all = false;
                if !matches!(error, ClientError::Refused { .. }) {
                    break;
                }
            }
        }
    }
    let rest = all.then(|| parts.rest());
    if !all && parts.give().await.is_err() {
        complete.clear();
    }
    let heard = shared.pool.heard(relay, &shared.me);
    let counted = shared.counters.processed.load(Ordering::Relaxed);
    tracing::debug!(complete = all, counted, "a catch-up ended");
    let (sends_eose, skipped) = (ends.into_inner(), skipped.into_inner());
    let end = JobEnd { rest, complete, heard, sends_eose, skipped };
    outlet.say(Input::Ended(job, end)).await;
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
