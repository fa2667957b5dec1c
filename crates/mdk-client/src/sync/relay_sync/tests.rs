//! Every transition of the table in docs/internals/sync.md, by its number, and a walk through all states and inputs.

use std::collections::BTreeMap;

use mdk_wire::budget::relay::HELD_EVENTS;

use super::*;
use crate::options::ClientOptions;

const A: &str = "aa";
const B: &str = "bb";

fn event(at: u64) -> Event {
    crate::testing::event(at, at)
}

fn scope(groups: &[&str]) -> Scope {
    let groups = groups.iter().map(|group| ((*group).to_owned(), 0)).collect();
    Scope { own: true, inbox: false, groups }
}

fn newest(newest: u64) -> IngestReport {
    IngestReport { newest, ..IngestReport::default() }
}

fn refused(from: u64) -> IngestReport {
    IngestReport { refused_from: Some(from), newest: from, ..IngestReport::default() }
}

/// A machine, and what it ordered last.
struct Play {
    sync: RelaySync,
    now: Now,
    /// The newest subscription and the newest history that it asked for.
    subscription: u64,
    job: JobId,
    spans: Vec<Span>,
    heard: u64,
}

impl Play {
    /// A relay that is not connected.
    fn offline() -> Self {
        let rules = Arc::new(Rules::of("me".to_owned(), &ClientOptions::default()));
        let at = Instant::now();
        let sync = RelaySync::new(rules, 1, scope(&[A]), Cursor::default(), at);
        let now = Now { at, wall: 1_000_000_000, chance: 0.5 };
        Self { sync, now, subscription: 0, job: 0, spans: Vec::new(), heard: 0 }
    }

    fn backfilling() -> Self {
        let mut play = Self::offline();
        play.on(Input::Connected);
        play.opens();
        play
    }

    fn gated() -> Self {
        let mut play = Self::backfilling();
        play.ends();
        play
    }

    fn live() -> Self {
        let mut play = Self::gated();
        play.gate_opens(newest(100));
        play
    }

    /// The history failed too often, and is tried again later.
    fn degraded() -> Self {
        let mut play = Self::backfilling();
        for _ in 1..TRIES {
            play.fails();
            play.later();
        }
        play.fails();
        play
    }

    fn on(&mut self, input: Input) -> Vec<Action> {
        let actions = self.sync.on(input, self.now);
        for action in &actions {
            match action {
                Action::Subscribe(opening) => self.subscription = opening.new[0].0,
                Action::Fetch { job, spans, .. } => (self.job, self.spans) = (*job, spans.clone()),
                _ => {}
            }
        }
        actions
    }

    /// The last subscriptions are open, and their stored part is over.
    fn opens(&mut self) -> Vec<Action> {
        let mut actions = self.on(Input::Opened(self.subscription, Opened::Well));
        actions.extend(self.on(Input::EndOfStored(self.subscription)));
        actions
    }

    fn end(&mut self, rest: Option<Vec<Event>>) -> JobEnd {
        self.heard += 1;
        let complete = match rest {
            Some(_) => self.spans.iter().flat_map(|span| span.topics.clone()).collect(),
            None => Vec::new(),
        };
        JobEnd { rest, complete, heard: self.heard, sends_eose: true, skipped: false }
    }

    fn ends(&mut self) -> Vec<Action> {
        let end = self.end(Some(vec![event(50)]));
        self.on(Input::Ended(self.job, end))
    }

    fn fails(&mut self) -> Vec<Action> {
        let end = self.end(None);
        self.on(Input::Ended(self.job, end))
    }

    fn gate_opens(&mut self, report: IngestReport) -> Vec<Action> {
        self.on(Input::GateOpened(self.job, report))
    }

    /// After the longest pause.
    fn later(&mut self) -> Vec<Action> {
        self.now.at += Duration::from_secs(301);
        self.on(Input::Tick)
    }

    fn is(&self, state: &str) {
        assert_eq!(name(&self.sync.state), state, "{:?}", self.sync.state);
    }
}

fn name(state: &State) -> &'static str {
    match state {
        State::Offline { .. } => "Offline",
        State::Backfilling { task: Task::Runs(_), .. } => "Backfilling",
        State::Backfilling { .. } => "Backfilling, waits",
        State::Gated { .. } => "Gated",
        State::Live { extra: None } => "Live",
        State::Live { .. } => "Live, extra",
        State::Degraded { task: Task::Runs(_), .. } => "Degraded",
        State::Degraded { .. } => "Degraded, waits",
    }
}

fn fetches(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Fetch { .. }))
}

fn subscribes(actions: &[Action]) -> Option<&Opening> {
    actions.iter().find_map(|action| match action {
        Action::Subscribe(opening) => Some(opening),
        _ => None,
    })
}

fn delivered(actions: &[Action]) -> Vec<Event> {
    let events = actions.iter().filter_map(|action| match action {
        Action::Deliver { events, .. } => Some(events.clone()),
        _ => None,
    });
    events.flatten().collect()
}

#[test]
fn offline() {
    // S4: what is not wanted any more leaves the cursor, and nothing else happens.
    let mut play = Play::live();
    play.on(Input::Disconnected);
    assert_eq!(play.on(Input::Scope(scope(&[B]))), [Action::SaveCursor], "S4");
    play.is("Offline");
    assert!(play.sync.cursor.topics.is_empty());
    // S2: subscriptions first, then the history.
    let actions = play.on(Input::Connected);
    assert!(matches!(actions[..], [Action::Subscribe(_), Action::Fetch { .. }]), "S2: {actions:?}");
    play.is("Backfilling");
    // S40: without a connection nothing is asked for.
    for input in [Input::Sync, Input::Tick, Input::Disconnected] {
        assert!(Play::offline().on(input).is_empty(), "S40");
    }
    // S6: what comes late is held.
    let mut play = Play::offline();
    assert!(play.on(Input::Event(1, event(9))).is_empty(), "S6");
    play.on(Input::Connected);
    play.opens();
    play.ends();
    assert_eq!(delivered(&play.gate_opens(newest(9))), [event(9)]);
    play.is("Live");
}

#[test]
fn a_history_goes_on_when_there_is_a_connection_again() {
    // S1, S2: it is not the whole, because nobody listened for a time.
    let mut play = Play::backfilling();
    play.on(Input::Disconnected);
    play.is("Offline");
    assert!(play.on(Input::Connected).is_empty(), "S2");
    play.is("Backfilling");
    let cursor = play.sync.cursor.at;
    play.ends();
    let actions = play.gate_opens(newest(70));
    assert!(subscribes(&actions).is_some() && fetches(&actions), "S3: {actions:?}");
    play.is("Backfilling");
    assert_eq!(play.sync.cursor.at, cursor);
    assert!(play.sync.cursor.topics.contains(A), "what is complete counts as read");
    play.opens();
    play.ends();
    play.gate_opens(newest(70));
    play.is("Live");
    // The gate keeps the part that it has.
    let mut play = Play::gated();
    play.on(Input::Disconnected);
    play.on(Input::Connected);
    play.is("Gated");
    assert!(fetches(&play.gate_opens(newest(70))), "S20");
    // It may come to its end without one.
    let mut play = Play::gated();
    play.on(Input::Disconnected);
    play.gate_opens(newest(70));
    play.is("Offline");
    assert!(fetches(&play.on(Input::Connected)), "S2");
}

#[test]
fn who_knows_us_only_now_is_asked_again() {
    // S3: a late NIP-42.
    for mut play in [Play::live(), Play::degraded()] {
        assert!(fetches(&play.on(Input::Connected)), "S3");
        play.is("Backfilling");
        assert_eq!(play.sync.tries, 0, "what failed before says nothing of this");
    }
    let mut play = Play::backfilling();
    assert!(play.on(Input::Connected).is_empty(), "S3");
    play.ends();
    assert!(fetches(&play.gate_opens(newest(1))), "S3");
    play.is("Backfilling");
    assert!(play.sync.cursor.topics.is_empty(), "S3: it may have hidden something");
    // Everything since the beginning of this connection is asked for.
    let mut play = Play::live();
    assert!(play.on(Input::Connected).contains(&Action::SaveCursor), "S3");
    assert_eq!(play.sync.cursor, Cursor::default(), "S3");
    assert_eq!(play.spans[0].since, 0);
    // Nothing older is.
    let mut play = Play::live();
    play.on(Input::Disconnected);
    play.on(Input::Connected);
    play.opens();
    play.on(Input::Connected);
    assert_eq!((play.sync.cursor.at, play.sync.cursor.topics.len()), (100, 1), "S3");
}

/// As of when it was asked for: what has come since is of the subscriptions.
#[test]
fn a_relay_is_complete_once_the_engine_has_its_whole_history() {
    let said = |actions: &[Action]| {
        actions.iter().find_map(|action| match action {
            Action::CompleteAsOf(at) => Some(*at),
            _ => None,
        })
    };
    // S19, S28
    let mut play = Play::backfilling();
    let asked = play.now.wall;
    play.now.wall += 7;
    assert_eq!(said(&play.ends()), None, "S19");
    assert_eq!(said(&play.gate_opens(newest(9))), Some(asked), "S19");
    play.on(Input::Sync);
    play.now.wall += 7;
    play.ends();
    assert_eq!(said(&play.gate_opens(newest(9))), Some(asked + 7), "S28");
    // A part says nothing of the other topics.
    play.on(Input::Scope(scope(&[A, B])));
    play.opens();
    play.ends();
    assert_eq!(said(&play.gate_opens(newest(9))), None, "S25");
    play.is("Live");
    // Nor is it said where a place could not be paged through, or there was no room.
    let mut play = Play::backfilling();
    let end = JobEnd { skipped: true, ..play.end(Some(Vec::new())) };
    play.on(Input::Ended(play.job, end));
    assert_eq!(said(&play.gate_opens(newest(9))), None, "S19");
    play.is("Live");
    assert_eq!(said(&Play::gated().gate_opens(refused(9))), None, "S17");
    // S3: it may have hidden something.
    let mut play = Play::backfilling();
    play.on(Input::Connected);
    play.ends();
    assert_eq!(said(&play.gate_opens(newest(9))), None, "S3");
}

#[test]
fn what_is_not_wanted_any_more_is_given_up() {
    // S5
    for mut play in [Play::backfilling(), Play::gated(), Play::live(), Play::degraded()] {
        let open = play.subscription;
        let actions = play.on(Input::Scope(Scope::default()));
        assert!(actions.contains(&Action::Unsubscribe(vec![open])), "S5");
        play.is("Offline");
    }
}

#[test]
fn subscriptions_replace_one_another() {
    // S7: the former ones end when the new ones are live. S26: fewer topics.
    let mut play = Play::live();
    play.on(Input::Scope(scope(&[A, B])));
    play.opens();
    play.ends();
    play.gate_opens(newest(100));
    play.is("Live");
    let former = play.subscription;
    let generation = play.sync.subs.generation();
    let actions = play.on(Input::Scope(scope(&[B])));
    assert_eq!(subscribes(&actions).map(|opening| &opening.former), Some(&vec![former]), "S26");
    play.is("Live");
    assert_eq!(play.sync.subs.generation(), generation, "S26");
    assert_eq!(play.opens(), [Action::Unsubscribe(vec![former])], "S7");
    // S8: or when their end was waited for long enough.
    let mut play = Play::live();
    let former = play.subscription;
    play.on(Input::Scope(scope(&[A, B])));
    assert!(play.later().is_empty(), "S8: it may not have been sent");
    play.on(Input::Opened(play.subscription, Opened::Well));
    assert_eq!(play.later()[0], Action::Unsubscribe(vec![former]), "S8");
}

#[test]
fn backfilling() {
    // S6: everything waits, what was stored as well, and comes by time.
    let mut play = Play::offline();
    play.on(Input::Connected);
    let id = play.subscription;
    play.on(Input::Event(id, event(30)));
    play.on(Input::EndOfStored(id));
    play.on(Input::Event(id, event(20)));
    // S9: parts go to the gate, S9b: nobody waits for who is slow.
    assert!(play.sync.awaited_until(None, play.now.at).is_some());
    let part = Input::Part(play.job, vec![event(5)]);
    assert!(matches!(play.on(part)[..], [Action::Give { last: false, .. }]), "S9");
    assert!(play.on(Input::Slow(play.job)).is_empty());
    assert_eq!(play.sync.awaited_until(None, play.now.at), None, "S9b");
    play.on(Input::Taken(play.job, newest(5)));
    play.is("Backfilling");
    // S10
    assert!(matches!(play.ends()[..], [Action::Give { last: true, .. }]), "S10");
    play.is("Gated");
    // S19
    let actions = play.gate_opens(newest(4));
    assert_eq!(delivered(&actions), [event(20), event(30)], "S19");
    assert!(actions.contains(&Action::CheckPublished) && actions.contains(&Action::SaveCursor));
    assert_eq!(play.sync.cursor.at, 5, "the newest of all parts");
    play.is("Live");
}

#[test]
fn a_history_that_fails_is_tried_again_and_then_given_up() {
    // S12, S15, S13
    let mut play = Play::offline();
    play.on(Input::Connected);
    play.on(Input::Event(play.subscription, event(8)));
    play.on(Input::EndOfStored(play.subscription));
    play.on(Input::Event(play.subscription, event(9)));
    for _ in 1..TRIES {
        assert!(delivered(&play.fails()).is_empty(), "S12");
        play.is("Backfilling, waits");
        assert!(fetches(&play.later()), "S15");
        play.is("Backfilling");
        assert_eq!(
            play.sync.awaited_until(None, play.now.at),
            None,
            "who failed is not waited for"
        );
    }
    assert_eq!(delivered(&play.fails()), [event(9)], "S13: not what is stored");
    play.is("Degraded, waits");
    // Silence does not count.
    let mut play = Play::backfilling();
    for _ in 0..9 {
        play.heard = 0;
        let end = JobEnd { heard: 0, ..play.end(None) };
        play.on(Input::Ended(play.job, end));
        play.is("Backfilling, waits");
        play.later();
    }
    // A relay that never says that something is all is given up sooner.
    let mut play = Play::backfilling();
    play.sync.traits.sends_eose = false;
    for _ in 0..TRIES_WITHOUT_END {
        let end = JobEnd { sends_eose: false, ..play.end(None) };
        play.on(Input::Ended(play.job, end));
        play.later();
    }
    play.is("Degraded");
}

#[test]
fn a_topic_that_was_complete_counts_as_read_though_others_failed() {
    // S12
    let mut play = Play::backfilling();
    play.on(Input::Scope(scope(&[A, B])));
    let end = JobEnd { complete: vec![A.to_owned(), "gone".to_owned()], ..play.end(None) };
    assert_eq!(play.on(Input::Ended(play.job, end)), [Action::SaveCursor]);
    assert_eq!(play.sync.cursor.topics, BTreeSet::from([A.to_owned()]), "and not what is unwanted");
    play.later();
    let asked: BTreeSet<_> = play.spans.iter().flat_map(|span| span.topics.clone()).collect();
    assert_eq!(asked, BTreeSet::from([A.to_owned(), B.to_owned()]), "S15: everything");
}

#[test]
fn a_closed_subscription_makes_a_history_less_than_whole() {
    // S14
    for input in [Input::Closed as fn(u64) -> Input, |id| Input::Opened(id, Opened::Refused)] {
        for (mut play, gated) in [(Play::backfilling(), false), (Play::gated(), true)] {
            assert!(play.on(input(play.subscription)).is_empty(), "S14");
            if !gated {
                play.ends();
            }
            play.is("Gated");
            // S11
            assert!(!fetches(&play.gate_opens(newest(90))), "S11: later each time");
            play.is("Backfilling, waits");
            assert_eq!(play.sync.cursor.at, 0);
            let actions = play.later();
            assert!(subscribes(&actions).is_some_and(|opening| opening.crowded), "S15");
        }
        // S13
        let mut play = Play::backfilling();
        play.on(Input::Event(play.subscription, event(9)));
        play.sync.tries = TRIES - 1;
        assert_eq!(delivered(&play.on(input(play.subscription))), [event(9)], "S13");
        play.is("Degraded");
        // S24, S31
        let mut play = Play::live();
        assert!(play.on(input(play.subscription)).is_empty(), "S24");
        play.is("Degraded, waits");
        assert!(subscribes(&play.later()).is_some(), "S31");
        play.is("Backfilling");
    }
}

#[test]
fn subscriptions_that_could_not_stand_beside_one_another() {
    // S24b: what was said between the former and the new ones has to be asked for.
    let mut play = Play::live();
    play.on(Input::Scope(scope(&[A, B])));
    play.on(Input::Opened(play.subscription, Opened::Late));
    play.opens();
    play.ends();
    assert!(fetches(&play.gate_opens(newest(1))), "S24b: the part is not all that was missed");
    play.is("Backfilling");
    // A whole history that is asked for afterwards has it.
    let mut play = Play::offline();
    play.on(Input::Connected);
    play.on(Input::Opened(play.subscription, Opened::Late));
    play.opens();
    play.ends();
    play.gate_opens(newest(1));
    play.is("Live");
    // Not if something else was missed as well.
    let mut play = Play::offline();
    play.on(Input::Connected);
    play.on(Input::Connected);
    play.on(Input::Opened(play.subscription, Opened::Late));
    play.ends();
    assert!(fetches(&play.gate_opens(newest(1))), "S3");
    play.is("Backfilling");
    let mut play = Play::live();
    play.on(Input::Scope(scope(&[A, B])));
    play.opens();
    play.ends();
    play.gate_opens(newest(1));
    play.on(Input::Scope(scope(&[A])));
    assert!(fetches(&play.on(Input::Opened(play.subscription, Opened::Late))), "S24b");
    play.is("Backfilling");
}

#[test]
fn other_topics_while_a_history_is_fetched() {
    // S16, S20: what is new is listened to and asked for afterwards; what was held of the others comes before.
    let mut play = Play::backfilling();
    play.on(Input::Event(play.subscription, event(60)));
    assert!(play.on(Input::Scope(scope(&[A, B]))).is_empty(), "S16");
    play.ends();
    let actions = play.gate_opens(newest(55));
    assert_eq!(delivered(&actions), [event(60)], "S20");
    assert!(subscribes(&actions).is_some() && fetches(&actions), "S20");
    assert_eq!((play.spans.len(), &play.spans[0].topics[..]), (1, &[B.to_owned()][..]));
    play.is("Backfilling");
    assert_eq!(play.sync.cursor.at, 55, "S20: of the topics that are read");
    play.opens();
    play.ends();
    play.gate_opens(newest(99));
    play.is("Live");
    assert_eq!(play.sync.cursor.at, 55, "S19: a part says nothing of other topics");
}

#[test]
fn what_was_too_much_is_asked_for_once_more() {
    // S11, S20: the way stays shut. S13: not for ever.
    let mut play = Play::backfilling();
    for tries in 1..=TRIES {
        let id = play.subscription;
        (0..=HELD_EVENTS as u64).for_each(|at| drop(play.on(Input::Event(id, event(at)))));
        play.ends();
        let actions = play.gate_opens(newest(90));
        assert_eq!(delivered(&actions).len(), HELD_EVENTS, "S20");
        assert!(fetches(&actions), "S20");
        assert_eq!(play.sync.cursor.at, 0, "S20: the cursor stands");
        play.is(if tries < TRIES { "Backfilling" } else { "Degraded" });
    }
    play.ends();
    play.gate_opens(newest(90));
    play.is("Live");
}

#[test]
fn what_there_was_no_room_for_is_asked_for_again() {
    // S17, in a part and at the end of a history.
    let mut play = Play::live();
    play.on(Input::Disconnected);
    play.on(Input::Connected);
    assert_eq!(play.on(Input::Taken(play.job, refused(40))), [Action::SaveCursor], "S17");
    play.ends();
    play.gate_opens(newest(90));
    play.is("Backfilling, waits");
    assert_eq!(play.sync.cursor.at, 40);
    assert!(fetches(&play.later()), "S17");
    play.ends();
    play.gate_opens(refused(30));
    play.is("Backfilling, waits");
    assert_eq!(play.sync.cursor.at, 30);
    // S23
    let mut play = Play::live();
    assert_eq!(play.on(Input::Delivered(refused(70))), [Action::SaveCursor], "S23");
    play.is("Degraded, waits");
    play.on(Input::Delivered(newest(200)));
    assert_eq!(play.sync.cursor.at, 70, "S30: what is live moves nothing on");
    // S23: a history that was asked for before does not have it.
    let mut play = Play::live();
    play.on(Input::Sync);
    play.on(Input::Delivered(refused(70)));
    play.is("Degraded");
    play.ends();
    play.gate_opens(newest(200));
    play.is("Degraded, waits");
    assert_eq!(play.sync.cursor.at, 70, "S33b");
}

#[test]
fn live() {
    // S21, S22
    let mut play = Play::live();
    let actions = play.on(Input::Event(play.subscription, event(110)));
    assert_eq!(actions, [Action::Deliver { events: vec![event(110)], held: false }], "S21");
    assert_eq!(play.on(Input::Delivered(newest(110))), [Action::SaveCursor], "S22");
    assert_eq!(play.sync.cursor.at, 110);
    // S25
    let former = play.subscription;
    let actions = play.on(Input::Scope(scope(&[A, B])));
    assert_eq!(subscribes(&actions).map(|opening| &opening.former), Some(&vec![former]), "S25");
    assert_eq!(play.spans.len(), 1, "S25: only what is new");
    play.is("Backfilling");
    assert!(play.on(Input::Event(former, event(111))).is_empty(), "S25: shut");
    play.opens();
    play.ends();
    assert_eq!(delivered(&play.gate_opens(newest(1))), [event(111)]);
    play.is("Live");
}

#[test]
fn a_history_on_top_shuts_nothing() {
    // S27, S28
    let mut play = Play::live();
    let actions = play.on(Input::Sync);
    assert!(fetches(&actions) && subscribes(&actions).is_none(), "S27");
    play.is("Live, extra");
    assert!(!delivered(&play.on(Input::Event(play.subscription, event(120)))).is_empty(), "S27");
    assert!(play.on(Input::Sync).is_empty(), "one after the other");
    play.ends();
    assert!(fetches(&play.gate_opens(newest(119))), "S28: the next");
    assert_eq!(play.sync.cursor.at, 119);
    // S29
    play.fails();
    play.is("Live, extra");
    assert!(fetches(&play.later()), "S29");
    play.ends();
    play.gate_opens(newest(119));
    play.is("Live");
    // S25 with one under way: what is new is fetched afterwards, behind the gate.
    play.on(Input::Sync);
    assert!(play.on(Input::Scope(scope(&[A, B]))).is_empty(), "S25");
    play.is("Backfilling");
    play.ends();
    assert!(subscribes(&play.gate_opens(newest(1))).is_some());
    play.is("Backfilling");
}

#[test]
fn a_group_that_stands_still_is_searched_deeper() {
    // S27, S28, S39
    let groups = || Input::SearchDeeper(BTreeSet::from([A.to_owned(), "unknown".to_owned()]));
    let mut play = Play::live();
    let at = play.now.wall;
    play.on(Input::Delivered(newest(at)));
    assert!(fetches(&play.on(groups())), "S27");
    assert_eq!(play.spans[0].since, at - 30 * 86_400);
    play.is("Live, extra");
    play.ends();
    assert_eq!(play.gate_opens(newest(1)), [Action::SearchedDeeper(vec![A.to_owned()])], "S28");
    play.is("Live");
    let mut play = Play::gated();
    assert!(play.on(groups()).is_empty(), "S39");
    assert!(fetches(&play.gate_opens(newest(1))), "S39");
    play.is("Live, extra");
    // The next history does what failed.
    play.fails();
    play.later();
    play.ends();
    assert!(play.gate_opens(newest(1)).contains(&Action::SearchedDeeper(vec![A.to_owned()])));
    let mut play = Play::offline();
    play.on(groups());
    play.on(Input::Connected);
    play.opens();
    play.ends();
    let actions = play.gate_opens(newest(1));
    assert!(actions.contains(&Action::SearchedDeeper(vec![A.to_owned()])), "S2");
}

#[test]
fn degraded() {
    // S30
    let mut play = Play::degraded();
    play.is("Degraded, waits");
    assert!(!delivered(&play.on(Input::Event(play.subscription, event(9)))).is_empty(), "S30");
    // S32
    assert!(fetches(&play.later()), "S32");
    play.is("Degraded");
    // S34
    play.fails();
    play.is("Degraded, waits");
    // S33
    play.later();
    play.ends();
    play.is("Gated");
    play.gate_opens(newest(9));
    play.is("Live");
    assert_eq!((play.sync.tries, play.sync.failures), (0, 0));
    // S35, S33b: opened anew with the next attempt.
    let mut play = Play::degraded();
    play.later();
    assert!(play.on(Input::Closed(play.subscription)).is_empty(), "S35");
    play.is("Degraded");
    play.ends();
    play.is("Degraded");
    play.gate_opens(newest(9));
    play.is("Degraded, waits");
    assert_eq!(play.sync.cursor.at, 0, "S33b");
    let actions = play.later();
    assert!(subscribes(&actions).is_some() && fetches(&actions), "S33b");
    // S30: the stored part of that is not passed on.
    assert!(play.on(Input::Event(play.subscription, event(9))).is_empty(), "S30");
    // S35b
    let mut play = Play::degraded();
    let actions = play.on(Input::Scope(scope(&[A, B])));
    assert!(subscribes(&actions).is_some() && fetches(&actions), "S35b");
    play.is("Degraded");
}

#[test]
fn a_clock_that_was_ahead_hides_nothing() {
    // S38
    let mut play = Play::live();
    play.on(Input::Delivered(newest(play.now.wall)));
    play.now.wall -= 50 * 86_400;
    play.on(Input::Sync);
    assert!(play.spans[0].since < play.now.wall, "S38");
}

#[test]
fn others_do_not_wait_for_ever() {
    // S39, G5
    let mut play = Play::backfilling();
    let longest = Some(Duration::from_secs(30));
    assert!(play.sync.awaited_until(longest, play.now.at).is_some());
    let later = play.now.at + Duration::from_secs(31);
    assert!(play.sync.awaited_until(None, later).is_some(), "nobody else has given everything");
    assert_eq!(play.sync.awaited_until(longest, later), None);
    assert!(play.on(Input::Sync).is_empty(), "S39");
    play.ends();
    assert!(fetches(&play.gate_opens(newest(1))), "S39");
    play.is("Live, extra");
    for mut play in [Play::degraded(), {
        let mut play = Play::backfilling();
        play.fails();
        play
    }] {
        assert!(fetches(&play.on(Input::Sync)), "S39: at once");
    }
}

/// An input that no row of the table names changes nothing.
#[test]
fn all_states_and_inputs() {
    type Make = fn() -> Play;
    let states: [(&str, Make); 8] = [
        ("Offline", Play::offline),
        ("Backfilling", Play::backfilling),
        ("Backfilling, waits", || {
            let mut play = Play::backfilling();
            play.fails();
            play
        }),
        ("Gated", Play::gated),
        ("Live", Play::live),
        ("Live, extra", || {
            let mut play = Play::live();
            play.on(Input::Sync);
            play
        }),
        ("Degraded", || {
            let mut play = Play::degraded();
            play.later();
            play
        }),
        ("Degraded, waits", Play::degraded),
    ];
    const OTHER: u64 = 7;
    let group = BTreeSet::from(["unknown".to_owned()]);
    let inputs: [(&str, Input); 22] = [
        ("connected", Input::Connected),
        ("disconnected", Input::Disconnected),
        ("same scope", Input::Scope(scope(&[A]))),
        ("more", Input::Scope(scope(&[A, B]))),
        ("other", Input::Scope(scope(&[B]))),
        ("well", Input::Opened(OTHER, Opened::Well)),
        ("late", Input::Opened(OTHER, Opened::Late)),
        ("refused", Input::Opened(OTHER, Opened::Refused)),
        ("event", Input::Event(OTHER, event(9))),
        ("end", Input::EndOfStored(OTHER)),
        ("closed", Input::Closed(OTHER)),
        ("slow", Input::Slow(OTHER)),
        ("part", Input::Part(OTHER, vec![event(9)])),
        ("taken", Input::Taken(OTHER, newest(9))),
        ("ended", Input::Ended(OTHER, JobEnd { sends_eose: true, ..JobEnd::default() })),
        ("failed", Input::Ended(OTHER, JobEnd::default())),
        ("gate", Input::GateOpened(OTHER, newest(9))),
        ("delivered", Input::Delivered(newest(9))),
        ("nothing", Input::Delivered(IngestReport::default())),
        ("sync", Input::Sync),
        ("deeper", Input::SearchDeeper(group)),
        ("tick", Input::Tick),
    ];
    let acts = |state: &str, input: &str| match input {
        "connected" | "more" | "other" => true,
        "event" => !state.starts_with("Live") && !state.starts_with("Degraded"),
        "disconnected" | "sync" => state != "Offline",
        _ => false,
    };
    let passes = |state: &str| state.starts_with("Live") || state.starts_with("Degraded");
    let mut seen = BTreeMap::new();
    for (state, make) in states {
        for (input, given) in &inputs {
            let mut play = make();
            play.sync.traits.sends_eose = true;
            play.is(state);
            let before = format!("{:?}", play.sync);
            let actions = play.on(given.clone());
            let changed = format!("{:?}", play.sync) != before;
            assert_eq!(changed, acts(state, input), "{state}, {input}");
            if *input == "event" {
                assert_eq!(delivered(&actions).len(), usize::from(passes(state)), "{state}");
            } else if !acts(state, input) {
                assert!(actions.is_empty(), "{state}, {input}: {actions:?}");
            }
            *seen.entry(state).or_insert(0) += 1;
        }
    }
    assert!(seen.len() == 8 && seen.values().all(|count| *count == inputs.len()));
}
