//! What a relay stored while nobody was listening: paged through from the newest back, given to the engine from the
//! oldest on.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::client::feed::Fed;
use crate::client::recent::{named_id, named_time};
use crate::client::shared::{Shared, add, backoff};
use crate::error::{ClientError, Result};
use crate::relay_pool::{Page, wants_auth};

mod gather;
mod requests;

use self::gather::Gatherer;
pub(crate) use self::gather::{Gathered, pour};

/// How long the others wait for a page, or for the stored part of a subscription: longer than a relay takes that is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// Events and bytes of a history that are in memory at one time; what is newer is fetched again.
const MOST_EVENTS: usize = 20_000;
const MOST_BYTES: usize = 64 << 20;
/// What one relay may give us in one catch-up; what is older is left out, and counted as a gap.
const MOST_AT_ONCE: u64 = 500_000;
/// Fewer events of one second than this are no full page of any relay.
const LEAST_PAGE: usize = 20;
/// How often an answer without its end is tried again with a smaller page.
const SMALLER_PAGES: u32 = 4;
/// How many answers without their end are taken, before it is tried again later.
const UNENDED_PAGES: u32 = 5;

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
    pub(crate) fed: Fed,
}

/// Fetches everything of `work` from one relay, and gives it to be read together with what others give. Ends early, with what it
/// has, when the relay fails or the client stops.
/// `slow` is set when the relay is not one that the others should wait for.
pub(crate) async fn run(
    shared: Arc<Shared>,
    relay: String,
    work: Vec<Work>,
    slow: Arc<AtomicBool>,
    to: mpsc::Sender<Gathered>,
) -> Finished {
    let gatherer = Gatherer::new(&relay, to, slow.clone());
    let mut finished = Finished { relay, all: true, ..Finished::default() };
    // The pool knows what the relay announced.
    let limit = shared.options.page_limit.max(2);
    for work in work {
        let ask = |filter: String| {
            let (shared, relay) = (shared.clone(), finished.relay.clone());
            let (slow, gatherer) = (slow.clone(), &gatherer);
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
                if !page.as_ref().is_ok_and(|page| page.complete) {
                    tell();
                }
                page
            }
        };
        let feed = |events: Vec<String>| gatherer.take(events);
        let counters = &shared.counters;
        let history = History {
            work: &work,
            limit,
            most_events: MOST_EVENTS,
            most_bytes: MOST_BYTES,
            fetched: &|count| add(&counters.fetched, count),
            gap: &|| add(&counters.gaps, 1),
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
                page = shared.pool.query(relay, &shared.me, filter, options.request_timeout) => page,
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

/// One part of a history, read in two directions.
struct History<'a> {
    work: &'a Work,
    /// Events to ask for at one time.
    limit: usize,
    most_events: usize,
    most_bytes: usize,
    fetched: &'a (dyn Fn(u64) + Send + Sync),
    gap: &'a (dyn Fn() + Send + Sync),
}

/// Events of one page or of many: each with its time and id.
type Stamped = (u64, [u8; 32], String);

/// What is read back to, and what came of it.
#[derive(Default)]
struct Window {
    events: Vec<Stamped>,
    ids: HashSet<[u8; 32]>,
    bytes: usize,
}

impl Window {
    /// Takes in what is new of a page; how much that was.
    fn take(&mut self, page: Vec<Stamped>) -> usize {
        let before = self.events.len();
        for event in page {
            if self.ids.insert(event.1) {
                self.bytes += event.2.len();
                self.events.push(event);
            }
        }
        self.events.len() - before
    }

    /// Times are whole seconds; within one, relays that keep the order of arrival give the last first.
    fn oldest_first(mut self) -> Vec<String> {
        self.events.reverse();
        self.events.sort_by_key(|event| event.0);
        self.events.into_iter().map(|(_, _, json)| json).collect()
    }
}

/// How reading back ended.
enum Back {
    /// Everything since the beginning is in the window.
    Whole(Window),
    /// The window is full; it reaches back to this time, and everything of that second may not be in it.
    Full(Window, u64),
    /// The relay stopped answering.
    Broken(Window, ClientError),
}

impl History<'_> {
    /// Reads back to the beginning and feeds from there on. What does not fit in memory is only measured on the way
    /// back, and fetched again on the way on: every event is transferred twice at most.
    async fn read<A, P, E, F>(&self, ask: A, feed: E) -> (Fed, Result<()>)
    where
        A: Fn(String) -> P,
        P: Future<Output = Result<Page>>,
        E: Fn(Vec<String>) -> F,
        F: Future<Output = Result<Fed>>,
    {
        let mut fed = Fed::default();
        // Times at which a window was full, newest first.
        let mut borders: Vec<Option<u64>> = vec![None];
        let mut total = 0_u64;
        let oldest = loop {
            let until = borders.last().copied().flatten();
            match self.back(&ask, self.work.since, until, true).await {
                Back::Whole(window) => break window,
                Back::Full(window, at) => {
                    total += window.events.len() as u64;
                    if total >= MOST_AT_ONCE || until.is_some_and(|until| at >= until) {
                        (self.gap)();
                        break window;
                    }
                    borders.push(Some(at));
                }
                Back::Broken(window, error) => {
                    // A relay that never says that it is at the end: take what it gave.
                    if matches!(error, ClientError::NoAnswer)
                        && let Ok(some) = feed(window.oldest_first()).await
                    {
                        fed.join(&some);
                    }
                    return (fed, Err(error));
                }
            }
        };
        match feed(oldest.oldest_first()).await {
            Ok(some) => fed.join(&some),
            Err(error) => return (fed, Err(error)),
        }
        // From the last border to now.
        while let Some(from) = borders.pop().flatten() {
            let mut until = borders.last().copied().flatten();
            loop {
                let window = match self.back(&ask, from, until, false).await {
                    Back::Whole(window) => window,
                    // New events came since: the older part first, as above.
                    Back::Full(_, at) if until.is_none_or(|until| at < until) && at > from => {
                        borders.push(Some(at));
                        until = Some(at);
                        continue;
                    }
                    Back::Full(window, _) => {
                        (self.gap)();
                        window
                    }
                    Back::Broken(_, error) => return (fed, Err(error)),
                };
                match feed(window.oldest_first()).await {
                    Ok(some) => fed.join(&some),
                    Err(error) => return (fed, Err(error)),
                }
                break;
            }
        }
        (fed, Ok(()))
    }

    /// Pages back from `until` (inclusive) to `since`.
    async fn back<A, P>(&self, ask: &A, since: u64, until: Option<u64>, count: bool) -> Back
    where
        A: Fn(String) -> P,
        P: Future<Output = Result<Page>>,
    {
        let mut window = Window::default();
        let (mut until, mut limit, mut smaller) = (until, self.limit, 0);
        let mut unended = 0;
        // The most that this relay gave in one answer: less than that is all there is.
        let mut largest = 0;
        loop {
            let page = match ask(self.filter(since, until, limit)).await {
                Ok(page) => page,
                Err(error) => return Back::Broken(window, error),
            };
            let (size, complete) = (page.events.len(), page.complete);
            let stamped: Vec<Stamped> = page
                .events
                .into_iter()
                .filter_map(|json| Some((named_time(&json)?, named_id(&json)?, json)))
                .collect();
            unended += u32::from(!complete);
            let newest_first = stamped.windows(2).all(|pair| pair[0].0 >= pair[1].0);
            let times = || stamped.iter().map(|event| event.0);
            let (oldest, newest) = (times().min(), times().max());
            let Some((oldest, newest)) = oldest.zip(newest) else {
                return if complete {
                    Back::Whole(window)
                } else {
                    Back::Broken(window, ClientError::NoAnswer)
                };
            };
            // Cut off in the middle, and we do not know where: ask for less.
            if !complete && !newest_first {
                if smaller == SMALLER_PAGES {
                    return Back::Broken(window, ClientError::NoAnswer);
                }
                smaller += 1;
                limit = (limit / 4).max(2);
                continue;
            }
            let new = window.take(stamped);
            if count {
                (self.fetched)(new as u64);
            }
            if unended > UNENDED_PAGES {
                return Back::Broken(window, ClientError::NoAnswer);
            }
            if window.events.len() >= self.most_events || window.bytes >= self.most_bytes {
                return Back::Full(window, oldest);
            }
            if new == 0 && complete && size < largest {
                return Back::Whole(window);
            }
            largest = largest.max(size);
            until = if new > 0 {
                Some(oldest)
            } else if oldest == 0 || oldest <= since {
                return Back::Whole(window);
            } else {
                // One second may hold more than a page; what lies behind it cannot be asked for.
                if oldest == newest && size >= largest && (size >= LEAST_PAGE || size >= limit) {
                    (self.gap)();
                }
                Some(oldest - 1)
            };
        }
    }

    fn filter(&self, since: u64, until: Option<u64>, limit: usize) -> String {
        let mut filter = self.work.filter.clone();
        if since > 0 {
            filter.insert("since".to_owned(), json!(since));
        }
        if let Some(until) = until {
            filter.insert("until".to_owned(), json!(until));
        }
        filter.insert("limit".to_owned(), json!(limit));
        Value::Object(filter).to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
