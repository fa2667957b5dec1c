//! What a relay that the owner named does not do for us: told in the log, once for each reason until it works again.
//!
//! Only what an owner named is told by its address: an address that a group or somebody else named would tell of them. What
//! looks like an id, a key or an address in a relay's words is left out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use tokio::sync::watch;
use url::Url;

use super::Origin;

/// Different reasons that are told: who invents new words all the time must not fill the log.
const MAX_TOLD: usize = 32;
/// Characters of a relay's words.
const MAX_WORDS: usize = 200;
/// From so many letters and digits on, what has both is an id; without digits it is no word of any language.
const ID: usize = 12;
const NO_WORD: usize = 24;
/// Seconds by which a clock may be wrong: relays take what is made some minutes from now.
const CLOCK: u64 = 120;
/// Seconds ahead from which on others refuse a KeyPackage.
const REFUSED: u64 = 300;
const NO_INVITES: &str = ": until it is set right, nobody can invite this account";

/// What does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    /// To be connected.
    Reach,
    /// To be given events.
    Read,
    /// To have an event of this kind taken.
    Write(u16),
    /// To agree on the time.
    Clock,
}

/// The troubles with one relay, over all connections to it.
pub(super) struct Troubles {
    /// `None` if it is not ours to name.
    relay: Option<String>,
    told: Mutex<BTreeSet<(Matter, String)>>,
    /// Counts what was told, so that somebody fetches it.
    count: watch::Sender<u64>,
    unanswered: AtomicU64,
    lost: AtomicU64,
}

impl Troubles {
    pub(super) fn new(url: &Url, origin: Origin, count: watch::Sender<u64>) -> Self {
        // What stands behind the path may be what the owner pays with.
        let shown = &url[..url::Position::AfterPath];
        let relay = (origin == Origin::User).then(|| shown.trim_end_matches('/').to_owned());
        let (unanswered, lost) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { relay, told: Mutex::default(), count, unanswered, lost }
    }

    /// It left something without an answer.
    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// It does not have so many events any more that it had acknowledged.
    pub(super) fn lost(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }

    /// How often it left something without an answer, and how many events it lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.unanswered.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    /// Something does not work.
    pub(super) fn note(&self, matter: Matter, words: &str) {
        let Some(relay) = &self.relay else { return };
        let said = masked(words);
        // A number in it, of seconds to wait say, makes no other reason of it.
        let reason = said.chars().filter(|c| !c.is_ascii_digit()).collect();
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() >= MAX_TOLD || !told.insert((matter, reason)) {
                return;
            }
        }
        match matter {
            Matter::Reach => tracing::info!(relay, reason = said, "a relay is not reached"),
            Matter::Read => tracing::info!(relay, words = said, "a relay refuses to give events"),
            Matter::Write(kind) if speaks_of_time(&said) => {
                let hint = "look at the clock of this machine";
                tracing::info!(relay, kind, words = said, hint, "a relay refuses events");
            }
            Matter::Write(kind) => {
                tracing::info!(relay, kind, words = said, "a relay refuses events");
            }
            Matter::Clock if said.ends_with(NO_INVITES) => tracing::warn!(relay, "{said}"),
            Matter::Clock => tracing::info!(relay, "{said}"),
        }
        self.count.send_modify(|count| *count += 1);
    }

    /// The relay's time and ours, in seconds.
    pub(super) fn clock(&self, theirs: u64, ours: u64) {
        let (apart, word) = match ours.checked_sub(theirs) {
            Some(ahead) => (ahead, "ahead of"),
            None => (theirs - ours, "behind"),
        };
        if apart > CLOCK {
            self.note(Matter::Clock, &clock_words(apart, word));
        } else {
            self.works(Matter::Clock);
        }
    }

    /// It works.
    pub(super) fn works(&self, matter: Matter) {
        let Some(relay) = &self.relay else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.len();
        told.retain(|(of, _)| *of != matter);
        if told.len() == before {
            return;
        }
        drop(told);
        match matter {
            Matter::Reach => tracing::info!(relay, "a relay works again"),
            Matter::Read => tracing::info!(relay, "a relay gives events again"),
            Matter::Write(kind) => tracing::info!(relay, kind, "a relay takes events again"),
            Matter::Clock => tracing::info!(relay, "the clock of this machine is right again"),
        }
        self.count.send_modify(|count| *count += 1);
    }
}

/// How wrong the clock is, and what comes of it.
fn clock_words(apart: u64, word: &str) -> String {
    let words = format!("the clock of this machine is {apart} s {word} a relay's");
    // What the owner sees of it otherwise is that no invite comes.
    match word.starts_with("ahead") && apart > REFUSED {
        true => format!("{words}{NO_INVITES}"),
        false => words,
    }
}

/// Whether a refusal is about when an event was made.
fn speaks_of_time(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["created_at", "timestamp", "future", "clock"].iter().any(|word| words.contains(word))
}

/// A relay's words without what may name somebody: ids, keys, addresses.
fn masked(words: &str) -> String {
    let words: String = words.chars().filter(|c| !c.is_control()).collect();
    let hide = |word| match str::contains(word, "://") {
        true => "…".to_owned(),
        false => without_ids(word),
    };
    // Cut at the end: a piece of an id would not look like one.
    words.split(' ').map(hide).collect::<Vec<_>>().join(" ").chars().take(MAX_WORDS).collect()
}

fn without_ids(word: &str) -> String {
    let mut found = String::new();
    let mut run = String::new();
    for c in word.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_alphanumeric() => run.push(c),
            c => {
                let long = run.chars().count();
                let is_id =
                    long >= ID && run.chars().any(|c| c.is_ascii_digit()) || long >= NO_WORD;
                found.push_str(if is_id { "…" } else { &run });
                run.clear();
                found.extend(c);
            }
        }
    }
    found
}

/// Seconds since 1970 of an HTTP date (RFC 9110, 5.6.7).
pub(crate) fn http_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read_and_nothing_else() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        for wrong in ["", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
        assert_eq!(http_date("Sun, 06 Nov 18446744073709551615 08:49:37 GMT"), None);
    }

    #[test]
    fn what_may_name_somebody_is_left_out_of_a_relays_words() {
        let id = "a1".repeat(32);
        let words = format!("blocked: {id} (npub1qqqqqqqqqqqqq) is not on wss://other.example/x");
        assert_eq!(masked(&words), "blocked: … (…) is not on …");
        let plain = "auth-required: we only accept unauthenticated events created_at 15 min ago";
        assert_eq!(masked(plain), plain);
        assert!(masked(&"long ".repeat(1000)).chars().count() <= MAX_WORDS);
        assert_eq!(masked("two\nlines"), "twolines");
    }

    fn troubles(origin: Origin) -> (Troubles, watch::Receiver<u64>) {
        let (count, counted) = watch::channel(0);
        let url = Url::parse("wss://relay.example/inbox?token=secret").unwrap();
        (Troubles::new(&url, origin, count), counted)
    }

    #[test]
    fn each_reason_is_told_once_until_it_works_again() {
        let (troubles, counted) = troubles(Origin::User);
        assert_eq!(troubles.relay.as_deref(), Some("wss://relay.example/inbox"));
        let told = |expected: u64| assert_eq!(*counted.borrow(), expected);
        troubles.note(Matter::Reach, "no connection in time");
        troubles.note(Matter::Reach, "no connection in time");
        told(1);
        troubles.note(Matter::Reach, "the TLS handshake failed");
        told(2);
        troubles.note(Matter::Write(445), "rate-limited: wait 10 s");
        troubles.note(Matter::Write(445), "rate-limited: wait 9 s");
        told(3);
        troubles.works(Matter::Write(1));
        told(3);
        troubles.works(Matter::Reach);
        troubles.works(Matter::Reach);
        told(4);
        troubles.note(Matter::Reach, "no connection in time");
        told(5);
        troubles.clock(1_000_000, 1_000_000 + CLOCK);
        told(5);
        troubles.clock(1_000_000, 1_000_000 + CLOCK + 1);
        troubles.clock(1_000_000, 1_000_000 + CLOCK + 2);
        told(6);
        troubles.clock(1_000_000, 1_000_000);
        told(7);
        for number in 0..1_000_u32 {
            let letters = number.to_string().replace(|c: char| c.is_ascii_digit(), "x");
            troubles.note(Matter::Read, &format!("{letters}{}", "y".repeat(number as usize % 20)));
        }
        assert!(*counted.borrow() <= 7 + MAX_TOLD as u64);
    }

    #[test]
    fn a_clock_that_is_far_ahead_is_told_with_what_comes_of_it() {
        assert!(clock_words(540, "ahead of").contains("nobody can invite this account"));
        for (apart, word) in [(300, "ahead of"), (540, "behind")] {
            assert!(!clock_words(apart, word).contains("invite"), "{apart} {word}");
        }
        let words = clock_words(540, "ahead of");
        assert_eq!(masked(&words), words);
    }

    #[test]
    fn a_relay_that_somebody_else_named_is_not_told_of() {
        let (troubles, counted) = troubles(Origin::Peer);
        troubles.note(Matter::Reach, "no connection in time");
        troubles.clock(0, 1_000_000);
        troubles.works(Matter::Reach);
        assert_eq!(*counted.borrow(), 0);
    }
}
