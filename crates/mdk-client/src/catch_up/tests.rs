use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use serde_json::{Map, Value};

use super::paging::Gap;
use super::unpaged::Gaps;
use super::*;
use crate::testing::event_with;

/// A relay in memory: answers as relays do, newest first, `page` at a time.
struct Store {
    /// Time and number of each event.
    events: Vec<(u64, u64)>,
    page: usize,
    asked: AtomicUsize,
    /// Answers end without EOSE.
    endless: bool,
    /// Numbers of events that count for the page and are left out of it then: deleted, expired, not for us.
    left_out: HashSet<u64>,
    /// Most bytes of one answer; one event is given in any case.
    bytes: usize,
    /// Numbers of events that are long, and how long.
    long: (HashSet<u64>, usize),
    /// It says how large a page is.
    announces: bool,
    /// Events that come through the line in time; of a longer answer no more, and no end.
    carries: usize,
    /// It has never come to an end before.
    never_ends: bool,
    /// Into how many groups they go: each one that is divisible by 40 into the second, the others into the first.
    groups: u64,
}

fn group(number: u64) -> String {
    format!("{number:064x}")
}

impl Store {
    fn new(events: impl IntoIterator<Item = (u64, u64)>, page: usize) -> Self {
        let mut events: Vec<(u64, u64)> = events.into_iter().collect();
        events.sort_by_key(|(time, number)| (std::cmp::Reverse(*time), *number));
        Self {
            events,
            page,
            asked: AtomicUsize::new(0),
            endless: false,
            left_out: HashSet::new(),
            bytes: usize::MAX,
            long: (HashSet::new(), 0),
            announces: false,
            carries: usize::MAX,
            never_ends: false,
            groups: 1,
        }
    }

    fn event(&self, time: u64, number: u64) -> Event {
        let content = if self.long.0.contains(&number) { self.long.1 } else { 0 };
        event_with(time, number, &format!(r#"[["h","{}"]]"#, group(self.of(number))), content)
    }

    fn of(&self, number: u64) -> u64 {
        u64::from(self.groups > 1 && number.is_multiple_of(40))
    }

    fn answer(&self, filter: &str) -> Page {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let filter: BTreeMap<String, Value> = serde_json::from_str(filter).unwrap();
        let number = |name: &str| filter.get(name).and_then(Value::as_u64);
        let (since, until) = (number("since").unwrap_or(0), number("until").unwrap_or(u64::MAX));
        let limit = usize::try_from(number("limit").unwrap()).unwrap().min(self.page);
        let asked = filter.get("#h").map(ToString::to_string);
        let wanted =
            |number| asked.as_ref().is_none_or(|asked| asked.contains(&group(self.of(number))));
        let there = self.events.iter().filter(|(time, _)| (since..=until).contains(time));
        let there = there.filter(|(_, number)| wanted(*number));
        let there = there.take(limit).filter(|(_, number)| !self.left_out.contains(number));
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in there.map(|(time, number)| self.event(*time, *number)) {
            bytes += event.weight();
            if bytes > self.bytes && !events.is_empty() {
                break;
            }
            events.push(event);
        }
        let complete = !self.endless && events.len() <= self.carries;
        events.truncate(self.carries);
        Page { events, complete }
    }
}

struct Read {
    numbers: Vec<u64>,
    times: Vec<u64>,
    gaps: u64,
    fetched: u64,
    batches: usize,
    end: Result<()>,
}

async fn read(store: &Store, since: u64, most_events: usize) -> Read {
    let topics: Vec<String> = (0..store.groups).map(group).collect();
    let mut filter = Map::new();
    if topics.len() > 1 {
        filter.insert("#h".to_owned(), serde_json::json!(topics));
    }
    let work = Span { filter, since, topics, known: false };
    let (gaps, count_gaps, fetched) = (Gaps::of(&[]), AtomicU64::new(0), AtomicU64::new(0));
    let got = Mutex::new(Vec::new());
    let batches = AtomicUsize::new(0);
    let gap = |gap: Gap| add(&count_gaps, u64::from(gaps.add(&gap)));
    let count = |count| add(&fetched, count);
    let history = History {
        work: &work,
        limit: 500,
        most_events,
        most_bytes: usize::MAX,
        never_ends: store.never_ends,
        announced: &|| store.announces.then_some(store.page),
        fetched: &count,
        gap: &gap,
    };
    let ask = |filter: String| async move { Ok(store.answer(&filter)) };
    let feed = |events: Vec<Event>| {
        batches.fetch_add(1, Ordering::Relaxed);
        got.lock().unwrap().extend(events);
        async { Ok(()) }
    };
    let end = history.read(ask, feed).await;
    let mut seen = HashSet::new();
    let (mut numbers, mut times) = (Vec::new(), Vec::new());
    for event in got.into_inner().unwrap() {
        let id = *event.id().as_bytes();
        // The engine knows an event that comes twice.
        if seen.insert(id) {
            numbers.push(u64::from_be_bytes(id[24..].try_into().unwrap()));
            times.push(event.created_at());
        }
    }
    Read {
        numbers,
        times,
        gaps: count_gaps.into_inner(),
        fetched: fetched.into_inner(),
        batches: batches.into_inner(),
        end,
    }
}

fn all(read: &Read, count: u64) {
    assert!(read.end.is_ok());
    let mut numbers = read.numbers.clone();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    assert!(read.times.is_sorted(), "oldest first");
}

#[tokio::test]
async fn every_event_of_every_page_size() {
    for page in [2, 3, 7, 100, 1000] {
        for per_second in [1, 2] {
            let store = Store::new((0..150).map(|n| (1_000 + n / per_second, n)), page);
            let read = read(&store, 0, 20_000).await;
            all(&read, 150);
            assert_eq!(read.fetched, 150, "pages of {page}");
            // Two of a second and pages of two: that there is no third is nothing that can be seen.
            let full = page as u64 == per_second;
            assert_eq!(read.gaps, if full { 74 } else { 0 }, "pages of {page}");
        }
    }
}

#[tokio::test]
async fn nothing_is_asked_for_without_need() {
    for (count, most) in [(0, 1), (1, 3), (5, 3), (500, 8)] {
        let store = Store::new((0..count).map(|n| (1_000 + n, n)), 100);
        all(&read(&store, 0, 20_000).await, count);
        let asked = store.asked.load(Ordering::Relaxed);
        assert!(asked <= most, "{count} events took {asked} requests");
    }
}

#[tokio::test]
async fn what_does_not_fit_in_memory_is_read_in_parts_and_in_order() {
    let store = Store::new((0..5_000).map(|n| (1_000 + n / 5, n)), 100);
    let parts = read(&store, 0, 700).await;
    all(&parts, 5_000);
    assert!(parts.batches >= 7, "{}", parts.batches);
    let asked = store.asked.load(Ordering::Relaxed);
    assert!(asked < 130, "linear in their number: {asked}");
}

#[tokio::test]
async fn a_second_with_more_than_a_page_is_a_gap_and_no_end() {
    let burst = (0..150).map(|n| (2_000, n));
    let store = Store::new(burst.chain((150..200).map(|n| (1_000 + n, n))), 100);
    let read = read(&store, 0, 20_000).await;
    assert!(read.end.is_ok());
    assert_eq!((read.gaps, read.numbers.len()), (1, 150));
}

#[tokio::test]
async fn reading_stops_at_since() {
    let store = Store::new((0..100).map(|n| (1_000 + n, n)), 10);
    let read = read(&store, 1_050, 20_000).await;
    assert_eq!(read.numbers, (50..100).collect::<Vec<_>>());
    assert!(store.asked.load(Ordering::Relaxed) <= 9);
}

#[tokio::test]
async fn a_relay_that_never_comes_to_an_end_gives_what_it_has() {
    let mut store = Store::new((0..50).map(|n| (1_000 + n, n)), 20);
    store.endless = true;
    let first = read(&store, 0, 20_000).await;
    assert!(matches!(first.end, Err(ClientError::NoAnswer)), "{:?}", first.end);
    assert!(first.numbers.is_empty(), "another may only have been interrupted");
    store.never_ends = true;
    let read = read(&store, 0, 20_000).await;
    assert!(matches!(read.end, Err(ClientError::NoAnswer)), "{:?}", read.end);
    assert_eq!(read.numbers, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn over_a_slow_line_less_is_asked_for() {
    for carries in [100, 130, 400] {
        let mut store = Store::new((0..1_500).map(|n| (1_000 + n / 30, n)), 500);
        store.carries = carries;
        let read = read(&store, 0, 20_000).await;
        all(&read, 1_500);
        assert_eq!(read.gaps, 0);
    }
}

/// A relay takes a page's worth of rows, and then leaves out one that was deleted. Whoever takes the largest page for its
/// page size sees the end in the first second that is answered with fewer.
#[tokio::test]
async fn a_full_second_with_one_left_out_is_no_end() {
    let burst = (0..128).map(|n| (2_000, n));
    let quiet = (128..278).map(|n| (1_000 + n, n));
    let after = (278..400).map(|n| (3_000 + n, n));
    let mut store = Store::new(burst.chain(quiet).chain(after), 100);
    store.left_out.insert(7);
    let read = read(&store, 0, 20_000).await;
    assert!(read.end.is_ok());
    let missing = (0..400).filter(|n| !read.numbers.contains(n)).collect::<Vec<_>>();
    assert!(missing.iter().all(|n| *n == 7 || (100..128).contains(n)), "{missing:?}");
    assert_eq!(read.gaps, 1);
}

/// The page is as many events as fit: many small ones, or a few large ones.
#[tokio::test]
async fn a_page_that_is_bounded_by_bytes_is_no_end() {
    let mut store = Store::new((0..260).map(|n| (1_000 + n / 2, n)), 500);
    store.bytes = 30_000;
    store.long = ((0..260).filter(|n| (20..25).contains(&(n % 40))).collect(), 12_000);
    all(&read(&store, 0, 20_000).await, 260);
    // Three of one second that never fit into one answer.
    store.long = ((100..103).collect(), 12_000);
    store.events.iter_mut().filter(|event| event.1 == 102).for_each(|event| event.0 = 1_050);
    store.events.sort_by_key(|(time, number)| (std::cmp::Reverse(*time), *number));
    let read = read(&store, 0, 20_000).await;
    assert_eq!((read.numbers.len(), read.gaps), (259, 1), "the older ones are there");
}

/// Whether a page is the last one cannot be seen from its size.
#[tokio::test]
async fn pages_of_exactly_the_number_are_no_end() {
    for count in [99, 100, 101, 199, 200, 298] {
        let store = Store::new((0..count).map(|n| (1_000 + n, n)), 100);
        let read = read(&store, 0, 20_000).await;
        all(&read, count);
        assert_eq!(read.gaps, 0, "{count}");
    }
    // Ten seconds of a page each: that no more were there is nothing that a page shows.
    let store = Store::new((0..1_000).map(|n| (1_000 + n / 100, n)), 100);
    let read = read(&store, 0, 20_000).await;
    all(&read, 1_000);
    assert_eq!(read.gaps, 10);
}

/// The oldest second of all, which nothing stands behind: a gap as soon as it may be one.
#[tokio::test]
async fn the_first_second_of_a_history_may_be_cut_as_well() {
    for (burst, after, gaps) in [(150, 0, 1), (150, 50, 1), (30, 0, 0), (60, 90, 0)] {
        let events = (0..burst).map(|n| (1_000, n)).chain((0..after).map(|n| (2_000 + n, 500 + n)));
        let store = Store::new(events, 100);
        for since in [0, 1_000] {
            let read = read(&store, since, 20_000).await;
            assert_eq!(read.numbers.len() as u64, burst.min(100) + after);
            assert_eq!(read.gaps, gaps, "{burst} and then {after}, since {since}");
        }
    }
    // One that says how much it gives has given less, or as much.
    for (page, gaps) in [(100, 0), (60, 1), (62, 1), (20, 1)] {
        let mut store = Store::new((0..60).map(|n| (1_000, n)), page);
        store.announces = true;
        assert_eq!(read(&store, 0, 20_000).await.gaps, gaps, "{page}");
    }
}

/// What is read in parts is asked for twice, and a gap in it is one.
#[tokio::test]
async fn a_gap_is_counted_once() {
    let quiet = (0..900).map(|n| (1_000 + n, n));
    let store = Store::new(quiet.chain((900..1_050).map(|n| (1_500, n))), 100);
    let read = read(&store, 0, 300).await;
    assert!(read.end.is_ok() && read.batches > 2);
    // (one of the second is of the quiet ones)
    assert_eq!((read.gaps, read.numbers.len()), (1, 999));
}

/// Of a second that is too full the quiet group is asked for by itself, and has no gap.
#[tokio::test]
async fn a_loud_group_does_not_hide_what_another_one_has() {
    let quiet = (0..50).map(|n| (1_000 + n, n));
    for (since, before) in [(0, true), (2_000, false)] {
        let mut store = Store::new(quiet.clone().chain((50..200).map(|n| (2_000, n))), 100);
        store.groups = 2;
        let read = read(&store, since, 20_000).await;
        let of_quiet = [80, 120, 160];
        assert!(of_quiet.iter().all(|n| read.numbers.contains(n)), "{:?}", read.numbers);
        assert_eq!(read.gaps, 1, "of one group");
        assert_eq!(read.numbers.contains(&0), before);
        assert!(store.asked.load(Ordering::Relaxed) <= 8);
    }
}
