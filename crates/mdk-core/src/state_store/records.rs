//! Lends the repositories, each with the part of the memory that mirrors its rows.
//!
//! No repository names this one: it holds the others that it needs, or is given them.

use mdk_store::{GroupRow, Tx};
use mdk_wire::{GroupId, PublicKey};

use crate::model::call::Call;
use crate::model::effects::Effects;
use crate::model::error::Result;
use crate::model::input::Input;
use crate::state_store::after_restore::AfterRestore;
use crate::state_store::branch_messages::BranchMessages;
use crate::state_store::buffered_events::BufferedEvents;
use crate::state_store::buffered_memory::Waiting;
use crate::state_store::deliveries::Deliveries;
use crate::state_store::event_keys::{EventKeys, Looked};
use crate::state_store::event_log::EventLog;
use crate::state_store::groups::{self, Groups, Windows};
use crate::state_store::history_gaps::HistoryGaps;
use crate::state_store::history_quota::HistoryQuota;
use crate::state_store::invite_deliveries::InviteDeliveries;
use crate::state_store::memberships::Memberships;
use crate::state_store::memory::Memory;
use crate::state_store::message_effects::Messages;
use crate::state_store::message_expiry::MessageExpiry;
use crate::state_store::outbox::Outbox;
use crate::state_store::pending_commits::PendingCommits;
use crate::state_store::pending_handshakes::PendingHandshakes;
use crate::state_store::pending_welcomes::PendingWelcomes;
use crate::state_store::push_tokens::PushTokens;
use crate::state_store::retained_states::RetainedStates;
use crate::state_store::settling::Speaking;
use crate::state_store::timestamps::Timestamps;
use crate::state_store::witnesses::Witnesses;

/// The records, on disk and in memory, and the news of one call.
pub(crate) struct Records<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) call: Call<'a>,
    pub(crate) memory: &'a mut Memory,
    /// The keys that were tried on events of this call, and the results.
    pub(crate) looked: Looked,
    /// The outcome of the call, as far as it has come.
    pub(crate) effects: Effects,
    pub(crate) input: Input,
}

// Those that need no memory outlive the loan.
impl<'a> Records<'a> {
    pub(crate) fn new(tx: &'a Tx<'a>, call: Call<'a>, memory: &'a mut Memory) -> Self {
        let (looked, effects) = (Looked::default(), Effects::default());
        Self { tx, call, memory, looked, effects, input: Input::default() }
    }

    pub(crate) fn me(&self) -> PublicKey {
        self.call.me()
    }

    /// The transaction was rolled back, or the part of it that began with `mark` rows put back: its data goes from the
    /// memory.
    pub(crate) fn forget_since(&mut self, mark: usize) {
        self.memory.rows.forget_since(mark);
        self.memory.rolled_back();
    }

    /// Unix seconds.
    pub(crate) fn now(&self) -> u64 {
        self.call.now()
    }

    pub(crate) fn after_restore(&self) -> AfterRestore<'a> {
        AfterRestore { tx: self.tx, restored: self.call.restored }
    }

    pub(crate) fn commits(&self) -> PendingCommits<'a> {
        PendingCommits { tx: self.tx }
    }

    pub(crate) fn messages(&self) -> Messages<'a> {
        Messages { tx: self.tx }
    }

    pub(crate) fn outbox(&self) -> Outbox<'a> {
        Outbox { tx: self.tx, now: self.now(), on: self.call.outbox }
    }

    pub(crate) fn push_tokens(&self) -> PushTokens<'a> {
        PushTokens { tx: self.tx, now_millis: self.call.now_millis }
    }

    pub(crate) fn states(&self) -> RetainedStates<'a> {
        RetainedStates { tx: self.tx, now_millis: self.call.now_millis }
    }
}

impl Records<'_> {
    pub(crate) fn groups(&self) -> Groups<'_> {
        Groups { tx: self.tx, rows: &self.memory.rows }
    }

    pub(crate) fn settling(&self) -> Windows<'_> {
        Windows { groups: self.groups(), call: self.call }
    }

    /// Changes a group's row, in memory too.
    pub(crate) fn edit_row(
        &mut self,
        id: &GroupId,
        edit: impl FnOnce(&mut GroupRow),
    ) -> Result<GroupRow> {
        groups::edit_row(self.tx, &mut self.memory.rows, id, edit)
    }

    pub(crate) fn log(&mut self) -> EventLog<'_> {
        EventLog { tx: self.tx, me: self.call.me(), effects: &mut self.effects }
    }

    /// A commit is given up: see [`Outbox::withdraw_commit`].
    pub(crate) fn withdraw_commit(&mut self, pending: i64) -> Result<()> {
        self.outbox().withdraw_commit(&mut self.effects, pending)
    }

    /// A pending commit is given up: see [`PendingCommits::supersede`].
    pub(crate) fn supersede(&mut self, group: &GroupId, id: i64) -> Result<()> {
        self.commits().supersede(self.outbox(), &mut self.effects, group, id)
    }

    pub(crate) fn event_keys(&mut self) -> EventKeys<'_> {
        let Self { tx, looked, memory, .. } = self;
        EventKeys { tx, looked, trials: &memory.trials }
    }

    pub(crate) fn timestamps(&mut self) -> Timestamps<'_> {
        Timestamps { tx: self.tx, now: self.call.now(), paces: &mut self.memory.paces }
    }

    pub(crate) fn witnesses(&mut self) -> Witnesses<'_> {
        let Self { tx, call, memory, .. } = self;
        let Memory { rows, speakers, .. } = &mut **memory;
        Witnesses { tx, now_millis: call.now_millis, rows, speakers }
    }

    pub(crate) fn deliveries(&mut self) -> Deliveries<'_> {
        let outbox = self.outbox();
        let Self { tx, call, memory, effects, .. } = self;
        let Memory { rows, speakers, .. } = &mut **memory;
        Deliveries {
            outbox,
            log: EventLog { tx, me: call.me(), effects },
            witnesses: Witnesses { tx, now_millis: call.now_millis, rows, speakers },
        }
    }

    pub(crate) fn expiry(&mut self) -> MessageExpiry<'_> {
        MessageExpiry { tx: self.tx, now: self.now(), deliveries: self.deliveries() }
    }

    pub(crate) fn invite_deliveries(&mut self) -> InviteDeliveries<'_> {
        InviteDeliveries { outbox: self.outbox(), log: self.log() }
    }

    pub(crate) fn handshakes(&mut self) -> PendingHandshakes<'_> {
        let Self { tx, call, memory, input, .. } = self;
        let (rows, kept_raw) = (&mut memory.rows, &mut input.kept_raw);
        PendingHandshakes { tx, call: *call, rows, kept_raw }
    }

    pub(crate) fn waiting(&mut self) -> Waiting<'_> {
        let Self { tx, call, memory, .. } = self;
        let Memory { rows, buffered, .. } = &mut **memory;
        Waiting { call: *call, groups: Groups { tx, rows }, buffered }
    }

    pub(crate) fn buffered(&mut self) -> BufferedEvents<'_> {
        let Self { tx, call, memory, effects, input, .. } = self;
        let Memory { rows, buffered, .. } = &mut **memory;
        let log = EventLog { tx, me: call.me(), effects };
        BufferedEvents {
            call: *call,
            rows,
            buffered,
            log,
            kept_raw: &mut input.kept_raw,
            source: input.source,
        }
    }

    pub(crate) fn gaps(&mut self) -> HistoryGaps<'_> {
        let Self { tx, call, memory, effects, .. } = self;
        let (groups, log) = told_of(tx, *call, memory, effects);
        HistoryGaps { call: *call, groups, log }
    }

    pub(crate) fn quota(&mut self) -> HistoryQuota<'_> {
        let Self { tx, call, memory, effects, .. } = self;
        let (groups, log) = told_of(tx, *call, memory, effects);
        HistoryQuota { call: *call, groups, log }
    }

    pub(crate) fn branch_messages(&mut self) -> BranchMessages<'_> {
        let Self { tx, call, memory, effects, .. } = self;
        let (groups, log) = told_of(tx, *call, memory, effects);
        BranchMessages { groups, log }
    }

    pub(crate) fn speaking(&mut self) -> Speaking<'_> {
        let Self { tx, call, memory, .. } = self;
        let Memory { rows, undecided, .. } = &mut **memory;
        Speaking { call: *call, groups: Groups { tx, rows }, undecided }
    }

    pub(crate) fn memberships(&mut self) -> Memberships<'_> {
        let Self { tx, call, memory, .. } = self;
        let Memory { rows, buffered, .. } = &mut **memory;
        Memberships { tx, call: *call, rows, buffered }
    }

    pub(crate) fn welcomes(&mut self) -> PendingWelcomes<'_> {
        PendingWelcomes { keys: self.call.keys, memberships: self.memberships() }
    }
}

/// Rows of groups, and the log that tells of them.
fn told_of<'a>(
    tx: &'a Tx<'a>,
    call: Call<'a>,
    memory: &'a Memory,
    effects: &'a mut Effects,
) -> (Groups<'a>, EventLog<'a>) {
    (Groups { tx, rows: &memory.rows }, EventLog { tx, me: call.me(), effects })
}
