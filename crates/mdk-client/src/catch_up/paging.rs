//! One part of a relay's history, page by page: from the newest back, and on from the oldest.

use std::collections::HashSet;
use std::future::Future;

use mdk_wire::{Event, EventId};
use serde_json::{Map, Value, json};

use crate::error::{ClientError, Result};
use crate::relay_pool::Page;
use crate::sync::topics::Span;

/// What one relay may give us in one catch-up; what is older is left out, and counted as a gap.
const MOST_AT_ONCE: u64 = 500_000;
/// Fewer events of one second than this, with nothing older, are no full page of a relay that does not say how many are.
const LEAST_PAGE: usize = 50;
/// What is asked for at least, where the newest comes first.
const LEAST_ASKED: usize = 100;
/// Requests on one way back for groups one by one.
const APART: usize = 512;
/// How often an answer without its end is tried again with a smaller page.
const SMALLER_PAGES: u32 = 4;
/// How many answers without their end are taken, before it is tried again later.
const UNENDED_PAGES: u32 = 5;

/// One part of a history, read in two directions.
pub(super) struct History<'a> {
    pub(super) work: &'a Span,
    /// Events to ask for at one time.
    pub(super) limit: usize,
    pub(super) most_events: usize,
    pub(super) most_bytes: usize,
    /// How many events the relay says that it gives at one time.
    pub(super) announced: &'a (dyn Fn() -> Option<usize> + Send + Sync),
    pub(super) fetched: &'a (dyn Fn(u64) + Send + Sync),
    /// The relay has never said of anything that it is all, though it was asked before.
    pub(super) never_ends: bool,
    /// Told of what cannot be paged through. More than once of the same, maybe.
    pub(super) gap: &'a (dyn Fn(Gap) + Send + Sync),
}

/// Times of a history that may not be whole, and cannot be made so.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
    /// What the relay gives of that time, if it is what was given that shows it.
    pub(super) events: Vec<Event>,
}

/// What is read back to, and what came of it.
#[derive(Default)]
struct Window {
    events: Vec<Event>,
    ids: HashSet<EventId>,
    bytes: usize,
}

impl Window {
    /// Takes in what is new of a page; how much that was.
    fn take(&mut self, page: Vec<Event>) -> usize {
        let before = self.events.len();
        for event in page {
            if self.ids.insert(event.id()) {
                self.bytes += event.weight();
                self.events.push(event);
            }
        }
        self.events.len() - before
    }

    /// Times are whole seconds; within one, relays that keep the order of arrival give the last first.
    fn oldest_first(mut self) -> Vec<Event> {
        self.events.reverse();
        self.events.sort_by_key(Event::created_at);
        self.events
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
    pub(super) async fn read<A, P, E, F>(&self, ask: A, feed: E) -> Result<()>
    where
        A: Fn(String) -> P,
        P: Future<Output = Result<Page>>,
        E: Fn(Vec<Event>) -> F,
        F: Future<Output = Result<()>>,
    {
        // Times at which a window was full, newest first.
        let mut borders: Vec<Option<u64>> = vec![None];
        let mut total = 0_u64;
        let oldest = loop {
            let until = borders.last().copied().flatten();
            match self.page_back(&ask, self.work.since, until, true).await {
                Back::Whole(window) => break window,
                Back::Full(window, at) => {
                    total += window.events.len() as u64;
                    if total >= MOST_AT_ONCE || until.is_some_and(|until| at >= until) {
                        // All that is older is left out.
                        let gap = Gap { first: self.work.since, last: at, events: Vec::new() };
                        (self.gap)(gap);
                        break window;
                    }
                    borders.push(Some(at));
                }
                Back::Broken(window, error) => {
                    // From a relay that never says that it is at the end, take what it gave. Nothing from any other: what
                    // is older comes when it is asked again, and could not be read any more after what is younger
                    // (protocol/waiting.md F1-3).
                    if self.never_ends && matches!(error, ClientError::NoAnswer) {
                        // (what becomes of it is seen at the end)
                        let _ = feed(window.oldest_first()).await;
                    }
                    return Err(error);
                }
            }
        };
        feed(oldest.oldest_first()).await?;
        // From the last border to now.
        while let Some(from) = borders.pop().flatten() {
            let mut until = borders.last().copied().flatten();
            loop {
                let window = match self.page_back(&ask, from, until, false).await {
                    Back::Whole(window) => window,
                    // New events came since: the older part first, as above.
                    Back::Full(_, at) if until.is_none_or(|until| at < until) && at > from => {
                        borders.push(Some(at));
                        until = Some(at);
                        continue;
                    }
                    Back::Full(window, at) => {
                        (self.gap)(Gap { first: from, last: at, events: Vec::new() });
                        window
                    }
                    Back::Broken(_, error) => return Err(error),
                };
                feed(window.oldest_first()).await?;
                break;
            }
        }
        Ok(())
    }

    /// Pages back from `until` (inclusive) to `since`. `count`: it is done for the first time.
    ///
    /// How much a relay gives at one time is its own business, and is not the same each time: some count bytes, some leave
    /// out what was deleted or has expired after they have counted. So the end is a page without events, or one
    /// that reaches `since`, and no other.
    async fn page_back<A, P>(&self, ask: &A, since: u64, until: Option<u64>, count: bool) -> Back
    where
        A: Fn(String) -> P,
        P: Future<Output = Result<Page>>,
    {
        let mut window = Window::default();
        let (mut until, mut limit, mut smaller) = (until, self.limit, 0);
        let mut unended = 0;
        // The most that this relay gave in one answer.
        let mut largest = 0;
        // The last answer, when it was of one second that was asked for again, and brought nothing new.
        let mut second: Option<Second> = None;
        let mut apart = APART;
        loop {
            let page = match ask(self.filter(since, until, limit)).await {
                Ok(page) => page,
                Err(error) => return Back::Broken(window, error),
            };
            let (size, complete) = (page.events.len(), page.complete);
            let given = page.events;
            let Some(oldest) = given.iter().map(Event::created_at).min() else {
                if !complete {
                    return Back::Broken(window, ClientError::NoAnswer);
                }
                let last = second.filter(|_| count);
                return self.end(ask, last, since, window, largest).await;
            };
            // (over a very slow line each brings a little)
            let further = until.is_none_or(|until| oldest < until);
            unended = if complete || further { 0 } else { unended + 1 };
            // Cut off in the middle, and we do not know where: ask for less.
            if !complete && !is_newest_first(&given) {
                if smaller == SMALLER_PAGES {
                    return Back::Broken(window, ClientError::NoAnswer);
                }
                smaller += 1;
                limit = (limit / 4).max(2);
                continue;
            }
            // There is something older, and it was not given with that second: there was no room for it. So there may
            // have been none for the rest of that second, which cannot be asked for.
            if let Some(second) = second.take()
                && let Err(error) = self.cut(ask, second, since, &mut window, &mut apart).await
            {
                return Back::Broken(window, error);
            }
            largest = largest.max(size);
            // The line is slow. (But less than others have of one second would make gaps of whole seconds.)
            if !complete && size < limit {
                limit = limit.min((limit / 4).max(LEAST_ASKED));
            }
            let again = until.map_or_else(Vec::new, |until| if_all_of(until, &given));
            let new = window.take(given);
            if count {
                (self.fetched)(new as u64);
            }
            if unended > UNENDED_PAGES {
                return Back::Broken(window, ClientError::NoAnswer);
            }
            // (where the beginning is reached, all but a rest of its second is there)
            if self.is_full(&window, if oldest > since { 1 } else { 2 }) {
                return Back::Full(window, oldest);
            }
            if new > 0 {
                // The page may end in the middle of a second.
                until = Some(oldest);
                continue;
            }
            let known = Second { at: oldest, events: again, limit };
            if oldest <= since {
                let last = Some(known).filter(|_| count);
                return self.end(ask, last, since, window, largest).await;
            }
            second = Some(known);
            // (what is given is not younger than what was asked for, so this is earlier than the last time)
            until = Some(oldest - 1);
        }
    }

    fn is_full(&self, window: &Window, room: usize) -> bool {
        window.events.len() >= room * self.most_events
            || window.bytes >= self.most_bytes.saturating_mul(room)
    }

    /// The beginning. Nothing older shows whether there was room for all of the last second: its size has to.
    async fn end<A, P>(
        &self,
        ask: &A,
        last: Option<Second>,
        since: u64,
        mut window: Window,
        largest: usize,
    ) -> Back
    where
        A: Fn(String) -> P,
        P: Future<Output = Result<Page>>,
    {
        let announced = (self.announced)();
        if let Some(last) = last.filter(|last| last.is_full(largest, announced))
            && let Err(error) = self.cut(ask, last, since, &mut window, &mut { APART }).await
        {
            return Back::Broken(window, error);
        }
        Back::Whole(window)
    }

    /// A second of which there may be more. Groups that are asked for together are asked for one by one, so that a loud one
    /// does not hide what the others have; of one alone it is a gap.
    async fn cut<A, P>(
        &self,
        ask: &A,
        second: Second,
        since: u64,
        window: &mut Window,
        apart: &mut usize,
    ) -> Result<()>
    where
        A: Fn(String) -> P,
        P: Future<Output = Result<Page>>,
    {
        const GROUPS: &str = "#h";
        let groups = self.work.filter.get(GROUPS).and_then(Value::as_array);
        let groups = groups.filter(|groups| groups.len() > 1 && groups.len() <= *apart);
        let Some(groups) = groups else {
            let mut gap = second.gap();
            if self.work.topics.len() > 1 {
                // A loud one may have hidden each of the others.
                gap.events.clear();
            }
            (self.gap)(gap);
            return Ok(());
        };
        *apart -= groups.len();
        for group in groups {
            let mut filter = self.work.filter.clone();
            filter.insert(GROUPS.to_owned(), json!([group]));
            let page = ask(times(filter, since, Some(second.at), second.limit)).await?;
            let (of_it, older): (Vec<_>, Vec<_>) =
                page.events.into_iter().partition(|event| event.created_at() == second.at);
            let events = of_it.clone();
            window.take(of_it);
            // What is older would not be there, were there more of it; nor is a small part of a page a whole one.
            let short = page.complete && events.len() * 2 < second.events.len();
            if older.is_empty() && !short {
                (self.gap)(Gap { first: second.at, last: second.at, events });
            }
        }
        Ok(())
    }

    fn filter(&self, since: u64, until: Option<u64>, limit: usize) -> String {
        times(self.work.filter.clone(), since, until, limit)
    }
}

fn times(mut filter: Map<String, Value>, since: u64, until: Option<u64>, limit: usize) -> String {
    if since > 0 {
        filter.insert("since".to_owned(), json!(since));
    }
    if let Some(until) = until {
        filter.insert("until".to_owned(), json!(until));
    }
    filter.insert("limit".to_owned(), json!(limit));
    Value::Object(filter).to_string()
}

/// What a relay gives of one second, and nothing else.
struct Second {
    at: u64,
    events: Vec<Event>,
    limit: usize,
}

impl Second {
    /// Whether that may be all for which there was room, as far as its size says; a few may have been left out.
    fn is_full(&self, largest: usize, announced: Option<usize>) -> bool {
        let size = self.events.len();
        let full = |page: usize| size > 0 && size + size / 8 >= page;
        match announced {
            Some(page) => full(page.min(self.limit)),
            None => full(self.limit) || size >= LEAST_PAGE && full(largest),
        }
    }

    fn gap(self) -> Gap {
        Gap { first: self.at, last: self.at, events: self.events }
    }
}

fn is_newest_first(events: &[Event]) -> bool {
    events.windows(2).all(|pair| pair[0].created_at() >= pair[1].created_at())
}

/// The events, if all of them are of one second.
fn if_all_of(second: u64, events: &[Event]) -> Vec<Event> {
    let all = events.iter().all(|event| event.created_at() == second);
    if all { events.to_vec() } else { Vec::new() }
}
