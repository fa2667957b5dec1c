//! The gate of all relays: what several of them have of one time goes to the engine together, and nothing is decided before
//! all that is about to come is there; not late for one that takes its time. A message that only one of them has is read
//! before the commits that all of them have lead away from its epoch (protocol/waiting.md F1-1 and F1-3).

use mdk_wire::Event;
use tokio::time::{Duration, Instant};

use super::relay_sync::JobId;

/// How long a relay is waited for that is being dialled again: it may be gone for good.
const DIALLED_AGAIN: Duration = Duration::from_secs(1);
/// How often relays that are being dialled are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often the engine is told that more is on its way, and when again after it could not be.
const TELL_EVERY: Duration = Duration::from_secs(10);
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// A part of a relay's history, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gift {
    pub(crate) relay: String,
    pub(crate) job: JobId,
    pub(crate) events: Vec<Event>,
    /// All of the history is there with it.
    pub(crate) last: bool,
}

/// How the relays stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Those that the others wait for, in order.
    pub(crate) awaited: Vec<String>,
    /// One of ours is being dialled for the first time; one is dialled again.
    pub(crate) dialled: bool,
    pub(crate) dialled_again: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GateInput {
    /// A history has begun: for which the others wait; when no other is being fetched.
    Began {
        awaited: bool,
        alone: bool,
    },
    Give(Gift),
    /// The engine has what it was to be fed.
    Fed,
    /// A history is over, with so many new events; or it has failed.
    Ended {
        new: u64,
        whole: bool,
    },
    /// Something new was held.
    HeldWasNew,
    /// `sync()` was called.
    Asked,
    /// The engine could not be told what [`GateAction::Expect`] says.
    NotTold,
    Settled,
    /// The relays stand so.
    Look(View),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GateAction {
    /// To the engine with it, by time.
    Feed(Vec<Gift>),
    /// Tell the engine that more is on its way from these relays.
    Expect(Vec<String>),
    /// Tell it that nothing more is.
    ExpectNothing,
    /// Nothing more is, and what came is to be decided on.
    Settle,
    /// Those who wait are told what was settled: new events, and whether a relay has given everything.
    Answer { new: u64, whole: bool },
}

#[derive(Debug, Default)]
enum State {
    /// Nothing is kept.
    #[default]
    Idle,
    /// Gifts wait for the rest, since then.
    Gathering { since: Instant, gifts: Vec<Gift> },
    /// The engine is being given something; what comes meanwhile waits for that.
    Feeding { next: Vec<(Instant, Gift)> },
}

#[derive(Debug)]
pub(crate) struct CatchUpGate {
    state: State,
    /// How long what one relay has is kept until the others have given theirs.
    together_for: Duration,
    /// Something came, or was begun, that is not settled.
    unsettled: bool,
    /// Until when the engine need not be told again that more is on its way, and from which relays.
    told: Option<(Instant, Vec<String>)>,
    /// New events since the last settling, and whether a history was whole.
    new: u64,
    whole: bool,
}

impl CatchUpGate {
    pub(crate) fn new(together_for: Duration) -> Self {
        Self {
            state: State::Idle,
            together_for,
            unsettled: false,
            told: None,
            new: 0,
            whole: false,
        }
    }

    /// Takes an input; gives what is to be done.
    pub(crate) fn on(&mut self, input: GateInput, now: Instant) -> Vec<GateAction> {
        let mut actions = Vec::new();
        match input {
            GateInput::Began { awaited, alone } => {
                self.unsettled |= awaited;
                if alone {
                    (self.new, self.whole) = (0, false);
                }
            }
            GateInput::Give(gift) => self.keep(gift, now),
            GateInput::Fed => self.fed(),
            GateInput::Ended { new, whole } => {
                self.new += new;
                self.whole |= whole;
                self.unsettled |= new > 0;
            }
            GateInput::HeldWasNew | GateInput::Asked => self.unsettled = true,
            GateInput::NotTold => {
                if let Some((until, _)) = &mut self.told {
                    *until = now + TELL_AGAIN;
                }
            }
            GateInput::Settled => {
                let (new, whole) = (std::mem::take(&mut self.new), std::mem::take(&mut self.whole));
                actions.push(GateAction::Answer { new, whole });
            }
            GateInput::Look(view) => self.look(&view, now, &mut actions),
        }
        actions
    }

    /// G2.
    fn keep(&mut self, gift: Gift, now: Instant) {
        match &mut self.state {
            State::Idle => self.state = State::Gathering { since: now, gifts: vec![gift] },
            State::Gathering { gifts, .. } => gifts.push(gift),
            State::Feeding { next } => next.push((now, gift)),
        }
    }

    /// G4.
    fn fed(&mut self) {
        let State::Feeding { next } = std::mem::take(&mut self.state) else { return };
        if let Some(since) = next.iter().map(|(at, _)| *at).min() {
            let gifts = next.into_iter().map(|(_, gift)| gift).collect();
            self.state = State::Gathering { since, gifts };
        }
    }

    /// G1, G3, G5, G6.
    fn look(&mut self, view: &View, now: Instant, to: &mut Vec<GateAction>) {
        if let State::Gathering { since, gifts } = &mut self.state
            && (now >= *since + self.together_for || !more_comes(*since, gifts, view, now))
        {
            to.push(GateAction::Feed(std::mem::take(gifts)));
            self.state = State::Feeding { next: Vec::new() };
        }
        if view.awaited.is_empty() {
            let told = self.told.take().is_some();
            if std::mem::take(&mut self.unsettled) {
                to.push(GateAction::Settle);
            } else if told {
                to.push(GateAction::ExpectNothing);
            }
            return;
        }
        let is_told = |(until, told): &(Instant, _)| *until > now && *told == view.awaited;
        if !self.told.as_ref().is_some_and(is_told) {
            self.told = Some((now + TELL_EVERY, view.awaited.clone()));
            to.push(GateAction::Expect(view.awaited.clone()));
        }
    }

    /// When it is to be looked at again though nothing happens.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        matches!(self.state, State::Gathering { .. }).then(|| now + LOOK_EVERY)
    }
}

/// Whether something is about to come that belongs before what is there.
fn more_comes(since: Instant, gifts: &[Gift], view: &View, now: Instant) -> bool {
    let given = |relay: &String| gifts.iter().any(|gift| gift.relay == *relay);
    view.dialled
        || view.dialled_again && now < since + DIALLED_AGAIN
        || view.awaited.iter().any(|relay| !given(relay))
}

#[cfg(test)]
mod tests;
