//! The effects of one call, beside its writes.

use std::collections::BTreeSet;

use mdk_store::HeldRow;
use mdk_wire::{Event, EventId, GroupId};

use crate::model::follow_up::FollowUp;
use crate::model::state_id::Auth;
use crate::model::values::EngineEvent;

/// News, and events to publish.
#[derive(Default)]
pub(crate) struct Effects {
    /// The news, in order; in the log already.
    pub(crate) told: Vec<EngineEvent>,
    /// Effects of buffered events that took effect because of this call.
    pub(crate) told_later: Vec<EngineEvent>,
    /// Events for the caller to publish.
    pub(crate) publish: Vec<Event>,
    /// Events that are not to be published any more, including those that other calls, or other events of this one,
    /// have left to publish.
    pub(crate) withheld: Vec<EventId>,
    /// The follow-ups that are due because of it.
    pub(crate) follow_ups: BTreeSet<FollowUp>,
    /// States that came to be, or got a proposal, in this order: waiting input is to be tried on them.
    pub(crate) new_states: Vec<(GroupId, Auth)>,
    /// Welcomes that are taken up by [`FollowUp::TakeUpWelcomes`].
    pub(crate) welcomes: Vec<HeldRow>,
}

/// The size of the effects at some time.
pub(crate) struct EffectsMark([usize; 6], BTreeSet<FollowUp>);

impl Effects {
    /// Until [`Effects::merge`] or [`Effects::undo_to`] only follow-ups from here on are due.
    pub(crate) fn mark(&mut self) -> EffectsMark {
        let due = std::mem::take(&mut self.follow_ups);
        let Self { told, told_later, publish, withheld, new_states, welcomes, .. } = self;
        let lens = [told.len(), told_later.len(), publish.len(), withheld.len()];
        EffectsMark([lens[0], lens[1], lens[2], lens[3], new_states.len(), welcomes.len()], due)
    }

    /// Makes the follow-ups of before due again, beside those that have come since.
    pub(crate) fn merge(&mut self, mark: EffectsMark) {
        self.follow_ups.extend(mark.1);
    }

    /// Makes something due.
    pub(crate) fn follow(&mut self, next: FollowUp) {
        self.follow_ups.insert(next);
    }

    /// Takes up Welcomes that waited for something that has gone.
    pub(crate) fn take_up(&mut self, welcomes: Vec<HeldRow>) {
        self.welcomes.extend(welcomes);
        self.follow(FollowUp::TakeUpWelcomes);
    }

    /// Forgets the effects that have come since.
    pub(crate) fn undo_to(&mut self, mark: EffectsMark) {
        let EffectsMark([told, told_later, publish, withheld, new_states, welcomes], due) = mark;
        self.told.truncate(told);
        self.told_later.truncate(told_later);
        self.publish.truncate(publish);
        self.withheld.truncate(withheld);
        self.new_states.truncate(new_states);
        self.welcomes.truncate(welcomes);
        self.follow_ups = due;
    }
}
