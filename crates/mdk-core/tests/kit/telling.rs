//! Telling a recorded story to a seat in it.

use std::collections::BTreeMap;

use mdk_core::Verdict;
use serde_json::Value;

use super::recorded::{Received, Seat, list, load, number, text};

/// How a story is told.
#[derive(Default)]
pub struct Telling {
    /// Pairs of events that change places.
    pub swap: Vec<(u64, u64)>,
    /// The database is closed and reopened after so many events.
    pub restart: Option<usize>,
    /// The first step that is not told.
    pub until: Option<&'static str>,
}

/// What came of it.
pub struct Told {
    pub seat: Seat,
    pub verdicts: BTreeMap<u64, Verdict>,
    pub payloads: Vec<Received>,
    /// Recorded states that ours was equal to.
    pub states: usize,
}

/// Replays a story from one seat: step by step what that member got, its own events coming back included.
pub fn tell(file: &str, name: &str, telling: &Telling) -> Told {
    let story = load(file);
    let member = &story["members"][name];
    let at = number(&story, "recorded_at");
    let mut seat = Seat::take(member, text(&story, "mls_group_id_hex"), at, telling.restart);
    let mut told_verdicts = BTreeMap::new();
    let mut payloads = Vec::new();
    let mut states = 0;
    for step in list(&story["steps"]) {
        let title = text(step, "name");
        if telling.until == Some(title) {
            break;
        }
        let here = &step["members"][name];
        for seq in feed(&story, step, name) {
            let seq = telling
                .swap
                .iter()
                .find_map(|&(a, b)| {
                    if seq == a {
                        Some(b)
                    } else if seq == b {
                        Some(a)
                    } else {
                        None
                    }
                })
                .unwrap_or(seq);
            let record = &list(&story["events"])[usize::try_from(seq).unwrap()];
            assert_eq!(number(record, "seq"), seq);
            let outcome = seat.takes(&record["event"], number(step, "at").max(at));
            told_verdicts.insert(seq, outcome.verdict);
        }
        // Recorded states are those after the choice.
        seat.settles();
        payloads.extend(list(&here["seen"]).iter().filter_map(Received::recorded));
        if here["state"]["joined"] == true {
            seat.stands_at(&here["state"], title);
            states += 1;
        }
    }
    seat.has_read(&payloads);
    Told { seat, verdicts: told_verdicts, payloads, states }
}

/// The events of a step for one member, in relay order: what it got, and its own as echoes.
fn feed(story: &Value, step: &Value, name: &str) -> Vec<u64> {
    let published = &step["events"];
    let range = published[0].as_u64().unwrap()..published[1].as_u64().unwrap();
    let own = list(&story["events"]).iter().filter(|record| {
        range.contains(&number(record, "seq"))
            && record["publisher"] == name
            && record["kind"] == 445
    });
    let seen = list(&step["members"][name]["seen"]).iter().filter(|seen| seen["type"] == "ingest");
    let mut all: Vec<u64> = own.chain(seen).map(|record| number(record, "seq")).collect();
    all.sort_unstable();
    all
}

/// Dave, invited.
pub fn invited(story: &Value, restart: Option<usize>) -> Seat {
    let at = number(story, "recorded_at");
    let mut seat =
        Seat::take(&story["members"]["dave"], text(story, "mls_group_id_hex"), at, restart);
    seat.takes(&list(&story["events"])[13]["event"], at);
    seat
}
