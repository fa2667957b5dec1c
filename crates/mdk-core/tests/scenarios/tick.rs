//! Mailboxes, deadlines, restarts and the clock.

use std::rc::Rc;

use mdk_core::{DeferredReason, Engine, Outcome, Verdict};
use mdk_wire::GroupId;

use super::client::Item;
use super::format::{Class, QuiescencePolicy, Step, Sync};
use super::names;
use super::world::{Failed, World};
use crate::kit::dice::Dice;

/// Longer than every deadline of the engine but those that are counted in days.
const JUMP: u64 = 6_000;
/// Jumps without any movement that are rest.
const STILL: usize = 3;
/// Longer than a Welcome waits for the end of the membership that it finds (B4-15, B4-16).
const PATIENCE: u64 = 121_000;
/// Round of a steered clock.
const ROUND: u64 = 500;

impl World {
    pub fn play_world(&mut self, step: &Step, group: Option<&GroupId>) -> Result<(), Failed> {
        match step {
            Step::DeliverAll {} => self.deliver_all(),
            Step::Tick { clients } => {
                for name in clients {
                    let client = self.client(name)?;
                    self.tick(client)?;
                }
            }
            Step::AdvanceTime { delta_ms } => {
                self.steered = true;
                self.clock.advance_millis(*delta_ms);
            }
            Step::AwaitQuiescence { policy } => {
                self.steered = true;
                self.await_quiescence(&policy.clone().unwrap_or_default())?;
            }
            Step::Observe { clients } => self.observe_all(clients, group, false)?,
            Step::ObserveExact { clients } => self.observe_all(clients, group, true)?,
            Step::ObserveAdminPolicy { clients } => self.observe_admins(clients, group)?,
            Step::ProbeBidirectionalDecryptability { clients } => self.probe(clients, group)?,
            Step::ClearEvents { clients } => {
                for name in clients {
                    let client = self.client(name)?;
                    self.clients[client].clear();
                }
            }
            Step::OmitMessage { selector } => self.omit(selector)?,
            Step::DuplicateMessage { selector } => self.duplicate(selector)?,
            Step::WithholdMessage { selector, label } => self.withhold(selector, label)?,
            Step::ReleaseWithheld { label } => self.release(label)?,
            Step::ReorderMessages { order } => self.reorder(order)?,
            Step::SetPartition { allow } => self.set_partition(Some(allow))?,
            Step::ClearPartition {} => self.set_partition(None)?,
            Step::RestartClient { client } => {
                let client = self.client(client)?;
                self.clients[client].restart();
            }
            Step::SetClientOffline { client } => {
                let client = self.client(client)?;
                self.clients[client].offline = true;
            }
            Step::ReconnectClient { client } => {
                let client = self.client(client)?;
                self.clients[client].offline = false;
            }
            Step::SyncRelayHistory { clients, sync } => {
                for name in clients {
                    let client = self.client(name)?;
                    self.sync(client, sync);
                }
            }
            Step::ConfigureRelay { order, duplicate_copies, .. } => {
                self.configure_relay(*order, *duplicate_copies);
            }
            Step::SetRelayEventVisibility { selector, clients, visible, .. } => {
                self.set_visible(selector, clients, *visible)?;
            }
            // One history stands for all relays.
            Step::ReconcileRelayHistories { .. } | Step::Barrier { .. } => {}
            Step::CrashProcess { process } => {
                for client in self.process(process)? {
                    self.clients[client].crash();
                }
            }
            Step::RestartProcess { process } => {
                for client in self.process(process)? {
                    self.clients[client].restart();
                    self.sync(client, &Sync::Incremental);
                }
            }
            Step::Assert { assertion } => self.assert(assertion)?,
            Step::InjectStorageFault { .. } | Step::ClearStorageFault { .. } => {
                // G2 does not say what counts as an operation of a store, nor whether its client tries again or fails.
                let text = "storage faults are not played: the format does not say what a client does at one";
                return Err(Failed::Runner(text.into()));
            }
            step => return Err(Failed::Runner(format!("{step:?} is not played"))),
        }
        Ok(())
    }

    /// Whether playing it needs databases that survive their process.
    pub fn needs_disk(steps: &[Step]) -> bool {
        steps.iter().any(|step| match step {
            Step::InGroup { action, .. } => Self::needs_disk(std::slice::from_ref(action)),
            Step::RestartClient { .. }
            | Step::CrashProcess { .. }
            | Step::RestartProcess { .. } => true,
            _ => false,
        })
    }

    /// A client takes what lies in its mailbox, then time passes until nothing moves.
    pub fn tick(&mut self, client: usize) -> Result<(), Failed> {
        if !self.clients[client].is_running() {
            return Err(Failed::Runner("the process does not run".into()));
        }
        self.ingest(client)?;
        let (mut still, mut jump) = (0, JUMP);
        for _ in 0..1000 {
            if !self.steered {
                self.clock.advance_millis(jump);
            }
            let moved = self.work(client)?;
            still = if moved { 0 } else { still + 1 };
            if self.steered && still > 0 {
                return Ok(());
            }
            if still >= STILL {
                // The one deadline that is longer, and does not come twice without anything between.
                if jump == PATIENCE || !self.watches(client)?.iter().any(|w| w.welcomes > 0) {
                    return Ok(());
                }
                jump = PATIENCE;
            } else if moved {
                jump = JUMP;
            }
        }
        Err(Failed::Runner("the client does not come to rest".into()))
    }

    /// One turn of a client's timer. True when something moved.
    fn work(&mut self, client: usize) -> Result<bool, Failed> {
        let outcome = self.ask(client, "tick", Engine::tick)?;
        let mut moved = !outcome.events.is_empty();
        moved |= self.publish_replies(client, &outcome.reply)? > 0;
        moved |= self.accept_all(client)?;
        moved |= self.drain_intents(client)? > 0;
        Ok(moved)
    }

    fn ingest(&mut self, client: usize) -> Result<bool, Failed> {
        let mut items = std::mem::take(&mut self.clients[client].mailbox);
        let any = !items.is_empty();
        let me = self.clients[client].keys.public_key();
        let mine = |item: &Item| item.recipient == Some(me);
        let mut batches = false;
        if let Some(dice) = &mut self.dice {
            shuffle(dice, &mut items, mine);
            batches = dice.below(2) == 0;
        }
        if batches {
            // The engine takes up the Welcomes of a batch first, and then keeps what came before them and belongs to no
            // group that it knew: so each of its own Welcomes begins a batch.
            let mut rest = &items[..];
            while !rest.is_empty() {
                let end =
                    rest.iter().skip(1).position(|item| mine(item)).map_or(rest.len(), |at| at + 1);
                let (batch, others) = rest.split_at(end);
                rest = others;
                let bytes: Vec<&[u8]> = batch.iter().map(|i| i.json.as_bytes()).collect();
                let outcomes = self.ask(client, "process_many", |e| e.process_many(&bytes))?;
                for (item, outcome) in batch.iter().zip(&outcomes) {
                    self.took(client, item, outcome)?;
                }
            }
            return Ok(any);
        }
        for item in items {
            let outcome = self.ask(client, "process", |e| e.process(item.json.as_bytes()))?;
            self.took(client, &item, &outcome)?;
        }
        Ok(any)
    }

    /// A client is given its own commit by a relay.
    pub fn echo(&mut self, client: usize, items: &[Rc<Item>]) -> Result<(), Failed> {
        for item in items.iter().filter(|item| item.class == Class::Commit) {
            let outcome = self.ask(client, "process", |e| e.process(item.json.as_bytes()))?;
            self.took(client, item, &outcome)?;
        }
        Ok(())
    }

    fn took(&mut self, client: usize, item: &Rc<Item>, outcome: &Outcome) -> Result<(), Failed> {
        let names = names::of_verdict(item.class == Class::Welcome, &outcome.verdict);
        let mine = item.recipient == Some(self.clients[client].keys.public_key());
        if !names.is_empty() && (item.class != Class::Welcome || mine) {
            self.refused(client, "ingest", names);
        }
        if outcome.verdict == Verdict::Deferred(DeferredReason::ResourceRefused) {
            self.clients[client].mailbox.push(item.clone());
        }
        self.publish_replies(client, &outcome.reply)?;
        self.accept_all(client)?;
        Ok(())
    }

    /// Everything is accepted and delivered, and time passes, until nothing moves.
    fn await_quiescence(&mut self, policy: &QuiescencePolicy) -> Result<(), Failed> {
        let (mut spent, mut still, mut unrest) = (0, 0, Vec::new());
        for _ in 0..policy.max_rounds {
            still = if self.round()? { 0 } else { still + 1 };
            unrest = self.unrest()?;
            // The longest wait of the engine, but for Welcomes, is the hard limit of a pass.
            let waited = still * ROUND > JUMP;
            if waited && unrest.is_empty() {
                return Ok(());
            }
            if spent >= policy.max_virtual_ms {
                break;
            }
            let step = if waited { PATIENCE } else { ROUND };
            let step = step.min(policy.max_virtual_ms - spent);
            self.clock.advance_millis(step);
            spent += step;
        }
        if still > 0 && unrest.is_empty() {
            return Ok(());
        }
        if unrest.is_empty() {
            unrest.push("something moves still".to_owned());
        }
        Err(Failed::Runner(format!("no rest within the limits: {}", unrest.join(", "))))
    }

    /// Accepts all, delivers all, lets everybody work once.
    pub fn round(&mut self) -> Result<bool, Failed> {
        let mut moved = false;
        for client in 0..self.clients.len() {
            // One that the engine has let go of is out all the same, and a relay accepts it.
            let waits = self.clients[client].publications.iter().any(|p| !p.resolved);
            if self.clients[client].is_running() && (waits || self.unresolved(client)? > 0) {
                moved = true;
                let name = self.clients[client].name.clone();
                let step = Step::AcknowledgeOutbound {
                    client: name,
                    publication: None,
                    selection: super::format::Selection::All,
                    outcome: super::format::Ack::Accepted,
                };
                self.play(&step, None)?;
            }
        }
        moved |= !self.bus.is_empty();
        self.deliver_all();
        for client in 0..self.clients.len() {
            if self.clients[client].is_running() {
                moved |= self.ingest(client)?;
                moved |= self.work(client)?;
            }
        }
        Ok(moved)
    }
}

/// Shuffles, but keeps a client's own Welcomes where they are: it asks the relays for a group's events only after it
/// has joined, and is invited again only after it has seen that it was removed.
fn shuffle(dice: &mut Dice, items: &mut [Rc<Item>], fixed: impl Fn(&Item) -> bool) {
    let mut from = 0;
    for place in 0..=items.len() {
        if place == items.len() || fixed(&items[place]) {
            dice.shuffles(&mut items[from..place]);
            from = place + 1;
        }
    }
}
