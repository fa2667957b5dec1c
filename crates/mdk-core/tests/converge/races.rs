//! Three commits from one epoch and five messages among four members, told to each in an order of its own: all end in the
//! same state, and no message is gone.

use mdk_core::{Error, EventBody, Verdict};
use mdk_wire::Event;

use crate::kit::RIVAL;
use crate::kit::cast::{Cast, Who};
use crate::kit::dice::Dice;
use crate::sampling;

/// Alice renames the group, bob renews his leaf and carol renames it, too; each says something then. Dave, who has spoken
/// before it all, may follow one of them first, and erin only listens.
fn race(dave_follows: Option<usize>) -> (Cast, Vec<Event>) {
    let all = ["alice", "bob", "carol", "dave", "erin"];
    let mut cast = Cast::new(&all, &["bob", "carol", "dave"]);
    let mut events = vec![cast.says("dave", "before it all")];
    let commits =
        [cast.renames("alice", "alice's"), cast.renews("bob"), cast.renames("carol", "carol's")];
    for (who, commit) in all.into_iter().zip(commits) {
        events.push(commit);
        events.push(cast.says(who, &format!("on the branch of {who}")));
    }
    if let Some(who) = dave_follows {
        cast.applies("dave", &events[1 + 2 * who]);
        events.push(cast.says("dave", "with them"));
    }
    (cast, events)
}

/// One member hears it all. Some passes end between events, and so do some processes.
fn hears(cast: &mut Cast, who: Who, events: &[Event], dice: &mut Dice) {
    for event in events {
        let verdict = cast.takes(who, event).verdict;
        assert!(!matches!(verdict, Verdict::Rejected(_)), "{who}: {verdict:?}");
        match dice.below(6) {
            0 | 1 => drop(cast.waits(who, 300)),
            2 => drop(cast.waits(who, 1_500)),
            3 => cast.restarts(who),
            _ => {}
        }
    }
    cast.waits_often(who, 2, 1_000);
    // Nothing is left open, and commits of ours are let through again.
    let own = cast.prepares(who, |engine, group| engine.self_update(group));
    cast.engine(who).discard(own.id).unwrap();
}

/// Where all come to, and what they have read there.
fn ends(dave_follows: Option<usize>, expected: impl Fn(&Cast) -> (String, Vec<&'static str>)) {
    let first = sampling::first_seed();
    for seed in first..first + 4 {
        println!("MDK_SEED={seed}");
        let (mut cast, mut events) = race(dave_follows);
        let mut dice = Dice::new(seed);
        for who in cast.names() {
            dice.shuffles(&mut events);
            hears(&mut cast, who, &events, &mut dice);
        }
        cast.same(&cast.names());
        let (name, kept) = expected(&cast);
        let end = cast.end("erin");
        assert_eq!(end.name, name);
        assert_eq!(end.said.len(), 4 + usize::from(dave_follows.is_some()), "none is deleted");
        for (text, invalidated) in &end.said {
            assert_eq!(*invalidated, !kept.contains(&text.as_str()), "{text}");
        }
    }
}

/// The privileged commits beat the ordinary one, and of the two that with the lower committer key.
#[test]
fn one_voice_each() {
    ends(None, |cast| {
        let (winner, said) = match cast.key("alice") < cast.key("carol") {
            true => ("alice's", "on the branch of alice"),
            false => ("carol's", "on the branch of carol"),
        };
        (winner.to_owned(), vec!["before it all", said])
    });
}

// shows: E5-4, E5-9
/// Two speakers on a branch outweigh who made it, and an ordinary commit wins over privileged ones.
#[test]
fn a_quorum_decides() {
    ends(Some(1), |_| {
        ("before".to_owned(), vec!["before it all", "on the branch of bob", "with them"])
    });
}

// shows: E5-6
/// What a member is told on its way to another branch, in order.
#[test]
fn what_is_told() {
    let (mut cast, events) = race(Some(1));
    let group = cast.group.clone();
    for at in [3, 4, 7] {
        let outcome = cast.takes("alice", &events[at]);
        assert_eq!((outcome.verdict, outcome.events.len()), (RIVAL, 0), "not before the choice");
    }
    let due = |cast: &mut Cast| cast.engine("alice").needs_self_update(86_400).unwrap();
    assert!(due(&mut cast).is_empty());
    let settles_in = |cast: &mut Cast| match cast.engine("alice").self_update(&group) {
        Err(Error::Settling { millis }) => millis,
        other => panic!("no commit meanwhile: {other:?}"),
    };
    assert_eq!(settles_in(&mut cast), 1_000);
    assert!(cast.waits("alice", 999).events.is_empty());
    assert_eq!(settles_in(&mut cast), 1);
    let told = cast.waits("alice", 1).events;
    let bodies: Vec<&EventBody> = told.iter().map(|e| &e.body).collect();
    assert!(
        matches!(
            bodies.as_slice(),
            [
                EventBody::ChangeWithdrawn { .. },
                EventBody::GroupUpdated { .. },
                EventBody::MessagesInvalidated { message_ids },
                EventBody::MessageReceived { message: first },
                EventBody::MessageReceived { message: second },
            ] if message_ids.len() == 1
                && first.text == "on the branch of bob"
                && second.text == "with them"
        ),
        "{bodies:?}"
    );
    // The keys of her leaf went with her commit.
    assert_eq!(due(&mut cast), std::slice::from_ref(&group));
    // The log says the same to whoever asks later.
    let log = cast.engine("alice").events(0, 1_000).unwrap();
    assert!(log.ends_with(&told));
    // Told once: the same events again change nothing.
    let before = cast.engine("alice").digest().unwrap();
    for at in [1, 3, 4, 7] {
        assert_eq!(cast.takes("alice", &events[at]).verdict, Verdict::Duplicate);
    }
    assert!(cast.engine("alice").digest().unwrap() == before);
}
