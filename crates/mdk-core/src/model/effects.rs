//! What one call brings about, beside what it writes.

use mdk_wire::{Event, EventId, GroupId};

use crate::model::state_id::Auth;
use crate::model::values::EngineEvent;

/// What became true, and what is to be published.
#[derive(Default)]
pub(crate) struct Effects {
    /// What became true, in order; in the log already.
    pub(crate) told: Vec<EngineEvent>,
    /// Effects of buffered events that took effect because of this call.
    pub(crate) told_later: Vec<EngineEvent>,
    /// Events for the caller to publish.
    pub(crate) publish: Vec<Event>,
    /// What is not to be published any more, also of what other calls, or other events of this one, have left for it.
    pub(crate) withheld: Vec<EventId>,
    /// States that came to be, or got a proposal, and that waiting input is still to be tried on.
    pub(crate) fresh: Vec<(GroupId, Auth)>,
}

/// How much there was at some time.
#[derive(Clone, Copy)]
pub(crate) struct EffectsMark([usize; 5]);

impl Effects {
    pub(crate) fn mark(&self) -> EffectsMark {
        let Self { told, told_later, publish, withheld, fresh } = self;
        EffectsMark([told.len(), told_later.len(), publish.len(), withheld.len(), fresh.len()])
    }

    /// Forgets what has come since.
    pub(crate) fn undo_to(&mut self, mark: EffectsMark) {
        let EffectsMark([told, told_later, publish, withheld, fresh]) = mark;
        self.told.truncate(told);
        self.told_later.truncate(told_later);
        self.publish.truncate(publish);
        self.withheld.truncate(withheld);
        self.fresh.truncate(fresh);
    }
}
