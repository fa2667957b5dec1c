//! The rows G1 to G10 of docs/internals/sync.md.

use super::*;

fn gift(relay: &str, last: bool) -> Gift {
    Gift { relay: relay.to_owned(), job: 1, events: vec![crate::testing::event(1, 1)], last }
}

struct Play {
    gate: CatchUpGate,
    now: Instant,
    view: View,
}

impl Play {
    fn new(awaited: &[&str]) -> Self {
        let gate = CatchUpGate::new(Duration::from_secs(10));
        let mut play = Self { gate, now: Instant::now(), view: View::default() };
        play.awaits(awaited);
        play
    }

    fn awaits(&mut self, relays: &[&str]) {
        self.view.awaited = relays.iter().map(|relay| (*relay).to_owned()).collect();
    }

    fn on(&mut self, input: GateInput) {
        assert!(self.gate.on(input, self.now).is_empty(), "decided only when the relays are seen");
    }

    fn look(&mut self) -> Vec<GateAction> {
        self.gate.on(GateInput::Look(self.view.clone()), self.now)
    }

    /// Without what the engine is told of what is on its way.
    fn decides(&mut self) -> Vec<GateAction> {
        let mut actions = self.look();
        let told = |action: &GateAction| {
            matches!(action, GateAction::Expect(_) | GateAction::ExpectNothing)
        };
        actions.retain(|action| !told(action));
        actions
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_several_have_goes_together() {
    // G2, G3: not before each that is waited for has given.
    let mut play = Play::new(&["a", "b"]);
    play.on(GateInput::Began { awaited: true, alone: true });
    play.on(GateInput::Give(gift("a", true)));
    assert!(play.decides().is_empty(), "G2");
    play.on(GateInput::Give(gift("b", false)));
    assert_eq!(play.decides(), [GateAction::Feed(vec![gift("a", true), gift("b", false)])], "G3");
    // G4: what comes meanwhile waits for that.
    play.on(GateInput::Give(gift("b", true)));
    play.awaits(&["b"]);
    assert!(play.decides().is_empty(), "G4");
    play.on(GateInput::Fed);
    assert_eq!(play.decides(), [GateAction::Feed(vec![gift("b", true)])], "G4");
    play.on(GateInput::Fed);
    assert!(play.decides().is_empty());
}

#[test]
fn nobody_is_waited_for_too_long() {
    // G3: as long as what is there may be kept.
    let mut play = Play::new(&["a", "b"]);
    play.on(GateInput::Give(gift("a", true)));
    play.later(9 * SECOND);
    assert!(play.decides().is_empty());
    play.later(SECOND);
    assert_eq!(play.decides(), [GateAction::Feed(vec![gift("a", true)])], "G3");
    // G5: nobody waits for b any more, and what it gives is fed alone.
    let mut play = Play::new(&["a", "b"]);
    play.on(GateInput::Give(gift("a", true)));
    play.awaits(&["a"]);
    assert_eq!(play.decides(), [GateAction::Feed(vec![gift("a", true)])], "G5");
    play.on(GateInput::Fed);
    play.awaits(&[]);
    play.on(GateInput::Give(gift("b", false)));
    assert_eq!(play.decides(), [GateAction::Feed(vec![gift("b", false)])], "G5");
}

#[test]
fn who_is_dialled_is_waited_for_a_while() {
    // G3
    let mut play = Play::new(&["a"]);
    play.view.dialled = true;
    play.on(GateInput::Give(gift("a", true)));
    play.later(5 * SECOND);
    assert!(play.decides().is_empty(), "G3");
    assert!(play.gate.wake_at(play.now).is_some());
    play.view = View { dialled: false, dialled_again: true, ..play.view };
    assert_eq!(play.decides().len(), 1, "G3: longer ago than that");
    play.on(GateInput::Fed);
    play.on(GateInput::Give(gift("a", true)));
    assert!(play.decides().is_empty(), "G3: once more for a second");
    play.later(SECOND);
    assert_eq!(play.decides().len(), 1, "G3");
}

#[test]
fn the_engine_is_told_of_what_is_on_its_way() {
    // G1
    let mut play = Play::new(&["a", "b"]);
    let expects = |relays: &[&str]| {
        vec![GateAction::Expect(relays.iter().map(|relay| (*relay).to_owned()).collect())]
    };
    assert_eq!(play.look(), expects(&["a", "b"]), "G1");
    assert!(play.look().is_empty(), "G1: not each time");
    play.later(10 * SECOND);
    assert_eq!(play.look(), expects(&["a", "b"]), "G1: again");
    play.awaits(&["b"]);
    assert_eq!(play.look(), expects(&["b"]), "G1: of others");
    play.on(GateInput::NotTold);
    assert!(play.look().is_empty());
    play.later(SECOND);
    assert_eq!(play.look(), expects(&["b"]), "G1: it could not be told");
    play.awaits(&[]);
    assert_eq!(play.look(), [GateAction::ExpectNothing], "nothing began that is to be settled");
    assert!(play.look().is_empty());
}

#[test]
fn what_came_is_settled_once() {
    // G6, G7, G10
    let mut play = Play::new(&["a"]);
    play.on(GateInput::Asked);
    play.on(GateInput::Began { awaited: true, alone: true });
    play.on(GateInput::Give(gift("a", true)));
    assert!(!play.decides().contains(&GateAction::Settle));
    play.on(GateInput::Fed);
    play.on(GateInput::Ended { new: 3, whole: true });
    play.awaits(&[]);
    assert_eq!(play.decides(), [GateAction::Settle], "G6");
    let answer = play.gate.on(GateInput::Settled, play.now);
    assert_eq!(answer, [GateAction::Answer { new: 3, whole: true }], "G7");
    assert!(play.decides().is_empty());
    // G10: nobody came to an end.
    play.on(GateInput::Asked);
    assert_eq!(play.decides(), [GateAction::Settle], "G10");
    let answer = play.gate.on(GateInput::Settled, play.now);
    assert_eq!(answer, [GateAction::Answer { new: 0, whole: false }], "G10");
    // G9
    play.on(GateInput::HeldWasNew);
    assert_eq!(play.decides(), [GateAction::Settle], "G9");
    // A history that nobody waits for is settled if it brought something.
    play.on(GateInput::Began { awaited: false, alone: false });
    play.on(GateInput::Ended { new: 0, whole: false });
    assert!(play.decides().is_empty());
    play.on(GateInput::Ended { new: 1, whole: false });
    assert_eq!(play.decides(), [GateAction::Settle]);
}
