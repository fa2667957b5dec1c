use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::*;

/// A relay in memory: answers as relays do, newest first, `page` at a time.
struct Store {
    /// Time and number of each event.
    events: Vec<(u64, u64)>,
    page: usize,
    asked: AtomicUsize,
    /// Answers end without EOSE.
    endless: bool,
}

fn json_of(time: u64, number: u64) -> String {
    format!(r#"{{"id":"{number:064x}","created_at":{time}}}"#)
}

impl Store {
    fn new(events: impl IntoIterator<Item = (u64, u64)>, page: usize) -> Self {
        let mut events: Vec<(u64, u64)> = events.into_iter().collect();
        events.sort_by_key(|(time, number)| (std::cmp::Reverse(*time), *number));
        Self { events, page, asked: AtomicUsize::new(0), endless: false }
    }

    fn answer(&self, filter: &str) -> Page {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let filter: BTreeMap<String, Value> = serde_json::from_str(filter).unwrap();
        let number = |name: &str| filter.get(name).and_then(Value::as_u64);
        let (since, until) = (number("since").unwrap_or(0), number("until").unwrap_or(u64::MAX));
        let limit = usize::try_from(number("limit").unwrap()).unwrap().min(self.page);
        let there = self.events.iter().filter(|(time, _)| (since..=until).contains(time));
        let events = there.take(limit).map(|(time, number)| json_of(*time, *number)).collect();
        Page { events, complete: !self.endless }
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
    let work = Work { filter: Map::new(), since, topics: Vec::new() };
    let (gaps, fetched) = (AtomicU64::new(0), AtomicU64::new(0));
    let got = Mutex::new(Vec::new());
    let batches = AtomicUsize::new(0);
    let (gap, count) = (|| add(&gaps, 1), |count| add(&fetched, count));
    let history = History {
        work: &work,
        limit: 500,
        most_events,
        most_bytes: usize::MAX,
        fetched: &count,
        gap: &gap,
    };
    let ask = |filter: String| async move { Ok(store.answer(&filter)) };
    let feed = |events: Vec<String>| {
        batches.fetch_add(1, Ordering::Relaxed);
        got.lock().unwrap().extend(events);
        async { Ok(Fed::default()) }
    };
    let (_, end) = history.read(ask, feed).await;
    let mut seen = HashSet::new();
    let (mut numbers, mut times) = (Vec::new(), Vec::new());
    for json in got.into_inner().unwrap() {
        let id = named_id(&json).unwrap();
        // The engine knows an event that comes twice.
        if seen.insert(id) {
            numbers.push(u64::from_be_bytes(id[24..].try_into().unwrap()));
            times.push(named_time(&json).unwrap());
        }
    }
    Read {
        numbers,
        times,
        gaps: gaps.into_inner(),
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
            assert_eq!((read.gaps, read.fetched), (0, 150), "pages of {page}");
        }
    }
}

#[tokio::test]
async fn nothing_is_asked_for_without_need() {
    for (count, most) in [(0, 1), (1, 3), (5, 2), (500, 8)] {
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
    let read = read(&store, 0, 20_000).await;
    assert!(matches!(read.end, Err(ClientError::NoAnswer)), "{:?}", read.end);
    assert_eq!(read.numbers, (0..50).collect::<Vec<_>>());
}
