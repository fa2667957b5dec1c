//! Recorded v2 traffic replays: our engine takes a recorded seat and reaches every recorded state.
//!
//! The two races of `story-main` are commits from one epoch; whichever comes first, the recorded winner is followed.

use mdk_core::{DeferredReason, GroupState, RejectCode, Verdict, testing};
use serde_json::Value;

use crate::kit::recorded::{Received, Seat, clock_is_recorded, list, load, number, text};
use crate::kit::telling::{Telling, tell};
use crate::kit::{RIVAL, recorded};

fn refused_as(verdict: &Verdict, code: RejectCode, rule: &str) {
    match verdict {
        Verdict::Rejected(rejection) => {
            assert_eq!((rejection.code, rejection.rule), (code, rule));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn simple_from_bobs_seat() {
    if !clock_is_recorded() {
        return;
    }
    for restart in [None, Some(3), Some(1)] {
        let told = tell("story-simple.json", "bob", &Telling { restart, ..Telling::default() });
        assert_eq!((told.states, told.payloads.len()), (7, 3));
        // Another device of this account sent these; MLS gives nobody the means to read its own messages back.
        for own in [8, 9, 10, 12] {
            assert_eq!(told.verdicts[&own], Verdict::Duplicate);
        }
        let applied = told.verdicts.values().filter(|v| **v == Verdict::Applied).count();
        assert_eq!((applied, told.verdicts.len()), (6, 10));
    }
}

/// The whole of `story-main`, with either commit of each race first.
// shows: 2.1-9
#[test]
fn main_from_daves_seat_to_the_end() {
    if !clock_is_recorded() {
        return;
    }
    let story = load("story-main.json");
    for (restart, swap) in [
        (None, vec![]),
        (Some(3), vec![(39, 40)]),
        (Some(1), vec![(34, 35), (39, 40)]),
        (Some(1), vec![(34, 35)]),
    ] {
        let telling = Telling { swap: swap.clone(), restart, ..Telling::default() };
        let mut told = tell("story-main.json", "dave", &telling);
        assert_eq!((told.states, told.payloads.len()), (25, 14));
        let second = |a, b| if swap.contains(&(a, b)) { a } else { b };
        for (seq, verdict) in &told.verdicts {
            match *seq {
                // The later one of each race waits for the choice.
                seq if seq == second(34, 35) || seq == second(39, 40) => {
                    assert_eq!(*verdict, RIVAL, "{seq}");
                }
                // Not in the group any more; the races before are not forgotten yet, so another branch may still win.
                43 => assert_eq!(*verdict, Verdict::Deferred(DeferredReason::Undecryptable)),
                _ => assert_eq!(*verdict, Verdict::Applied, "{seq}"),
            }
        }
        // The removed member's last GroupContext; the engine keeps no live state, the retained one leads there.
        let remove = &list(&story["events"])[42]["mls"];
        let last = &list(&story["steps"]).last().unwrap()["members"]["dave"]["state"];
        let context = testing::context_after(
            &mut told.seat.engine,
            &told.seat.group,
            &recorded::bytes(remove, "mls_message_hex"),
        );
        assert_eq!(context.unwrap(), recorded::bytes(last, "group_context_hex"));
        assert_eq!(told.seat.engine.group(&told.seat.group).unwrap().state, GroupState::Removed);
    }
}

/// The comparison notices every field: a recorded state with any one of them altered is not ours.
#[test]
fn an_altered_record_is_noticed() {
    if !clock_is_recorded() {
        return;
    }
    let story = load("story-main.json");
    let (step, next) = ("msgs-2", "retention");
    let state = |step: &str| {
        let steps = list(&story["steps"]);
        let step = steps.iter().find(|other| other["name"] == step).unwrap();
        step["members"]["dave"]["state"].clone()
    };
    let told =
        tell("story-main.json", "dave", &Telling { until: Some(next), ..Telling::default() });
    let mut seat = told.seat;
    let mut equal = |state: &Value| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| seat.stands_at(state, step)))
            .is_ok()
    };
    let true_one = state(step);
    assert!(equal(&true_one));
    let other = state("msg-end");
    for field in [
        "epoch",
        "members",
        "admins",
        "name",
        "relays",
        "retention_seconds",
        "components",
        "group_context_hex",
        "group_context_sha256",
        "tree_hash_hex",
        "confirmation_tag_tls_hex",
        "epoch_authenticator_hex",
        "group_event_key_hex",
        "encrypted_media_key_hex",
        "mls_active",
    ] {
        let mut altered = true_one.clone();
        altered[field] = other[field].clone();
        assert_ne!(altered[field], true_one[field], "{field}");
        assert!(!equal(&altered), "{field}");
    }
    for (field, value) in [
        ("own_leaf_index", Value::from(1)),
        ("description", Value::from("another")),
        ("nostr_group_id_hex", Value::from("00".repeat(32))),
    ] {
        let mut altered = true_one.clone();
        altered[field] = value;
        assert!(!equal(&altered), "{field}");
    }
    for field in ["pubkey", "signature_key_hex", "encryption_key_hex"] {
        let mut altered = true_one.clone();
        altered["members"][0][field] = true_one["members"][1][field].clone();
        assert!(!equal(&altered), "{field}");
    }
}

/// Bob acts, so his seat can be held until his own first commit.
#[test]
fn main_from_bobs_seat_until_he_commits() {
    if !clock_is_recorded() {
        return;
    }
    let telling = Telling { until: Some("bob-self-update"), ..Telling::default() };
    let told = tell("story-main.json", "bob", &telling);
    assert_eq!((told.states, told.payloads.len()), (6, 4));
    for own in [15, 16, 17] {
        assert_eq!(told.verdicts[&own], Verdict::Duplicate);
    }
}

/// Carol joins later, leaves by a proposal of hers, and is out.
#[test]
fn main_from_carols_seat_until_she_is_gone() {
    if !clock_is_recorded() {
        return;
    }
    for restart in [None, Some(3)] {
        let told = tell("story-main.json", "carol", &Telling { restart, ..Telling::default() });
        assert_eq!((told.states, told.payloads.len()), (22, 2));
        for (own, expected) in
            [(22, Verdict::Duplicate), (26, Verdict::Duplicate), (30, Verdict::Applied)]
        {
            assert_eq!(told.verdicts[&own], expected, "{own}");
        }
        for seq in 32..=43 {
            refused_as(&told.verdicts[&seq], RejectCode::UnknownGroup, "D1-3");
        }
    }
}

/// A story between real daemons, as the relay had it: everything in it is given to the engine.
#[test]
fn live_from_the_listeners_seat() {
    if !clock_is_recorded() {
        return;
    }
    let story = load("story-live.json");
    let results = list(&story["listener_results"]);
    let group = text(&results[0], "mls_group_id_hex");
    let own = text(&story["listener"], "nostr_public_key_hex");
    for restart in [None, Some(3)] {
        let first = number(&list(&story["events"])[0], "at") / 1000;
        let mut seat = Seat::take(&story["listener"], group, first, restart);
        let mut payloads = Vec::new();
        let mut reached = 0;
        for (index, record) in list(&story["events"]).iter().enumerate() {
            let at = number(record, "at") / 1000;
            // A pass that the time has ended is closed first.
            seat.clock.set(at);
            seat.engine.tick().unwrap();
            let before = seat.engine.digest().unwrap();
            let verdict = seat.takes(&record["event"], at).verdict;
            let Some(result) =
                results.iter().find(|result| number(result, "index") == index as u64)
            else {
                match number(&record["event"], "kind") {
                    30443 if record["event"]["pubkey"] == own => {
                        assert_eq!(verdict, Verdict::Duplicate);
                    }
                    1059 => refused_as(&verdict, RejectCode::WrongRecipient, "B3-1"),
                    _ => refused_as(&verdict, RejectCode::TransportRejected, "2.4-11"),
                }
                assert_eq!(seat.engine.digest().unwrap(), before);
                continue;
            };
            assert_eq!(verdict, Verdict::Applied, "{index}");
            let state = testing::state(&mut seat.engine, &seat.group).unwrap();
            assert_eq!(state.epoch, number(result, "epoch_after"), "{index}");
            assert_eq!(
                state.authenticator.as_slice(),
                recorded::bytes(result, "epoch_authenticator_hex"),
                "{index}"
            );
            assert_eq!(
                state.event_key.expose().as_slice(),
                recorded::bytes(result, "group_event_key_hex"),
                "{index}"
            );
            let what = text(result, "result");
            if let Some(json) = what.strip_prefix("app ") {
                let payload: Value = serde_json::from_str(json).unwrap();
                payloads.push(Received {
                    json: json.to_owned(),
                    sender: text(&payload, "pubkey").to_owned(),
                    epoch: state.epoch,
                    expires_at: None,
                });
            } else if what != "joined" {
                let (epoch, members) = (state.epoch, state.leaves.len());
                assert_eq!(what, format!("commit -> epoch {epoch} members {members} active true"));
            }
            reached += 1;
        }
        assert_eq!((reached, results.len(), payloads.len()), (17, 17, 8));
        seat.has_read(&payloads);
    }
}
