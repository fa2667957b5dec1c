//! What can be seen of a client, and predicates over it.

use std::collections::{BTreeMap, BTreeSet};

use mdk_core::testing::{self, Leaf};
use mdk_core::{EngineEvent, Error, EventBody, GroupInfo, GroupState};
use mdk_wire::{GroupId, PublicKey};
use sha2::{Digest as _, Sha256};

use super::compared::Compared;
use super::expected::{Assertion, Comparison, Predicate};
use super::idle::Kept;
use super::world::{Failed, World};

/// A state that is the same for everybody in it. Who is out of the group has no more than a status and the epoch in which
/// it was lost: nobody in the group is equivalent to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact {
    group: GroupId,
    epoch: u64,
    /// None: the group is not known at all.
    status: Option<GroupState>,
    inside: Option<Inside>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inside {
    context: [u8; 32],
    exporter: Vec<u8>,
    leaves: BTreeMap<u32, Leaf>,
    dictionary: BTreeMap<u16, Vec<u8>>,
}

/// What was seen of a client since it was last looked at.
#[derive(Debug, Clone)]
pub struct Observation {
    pub client: usize,
    pub epoch: u64,
    pub member_count: usize,
    pub name: String,
    pub description: String,
    pub admins: Vec<String>,
    pub payloads: Vec<String>,
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub epoch_changes: Vec<(u64, u64)>,
    pub counts: BTreeMap<&'static str, usize>,
    pub exact: Option<Exact>,
    pub compared: Option<Compared>,
}

/// Who read whom.
#[derive(Debug, Clone)]
pub struct Probe {
    pub clients: BTreeSet<usize>,
    pub missing: Vec<(String, String)>,
}

impl World {
    fn label(&self, key: &PublicKey) -> String {
        let known = self.clients.iter().find(|c| c.keys.public_key() == *key);
        known.map_or_else(|| "somebody else".to_owned(), |c| c.name.clone())
    }

    fn labels<'a>(&self, keys: impl IntoIterator<Item = &'a PublicKey>) -> Vec<String> {
        keys.into_iter().map(|k| self.label(k)).collect()
    }

    pub fn observe_all(
        &mut self,
        names: &[String],
        group: Option<&GroupId>,
        exact: bool,
    ) -> Result<(), Failed> {
        for name in names {
            let client = self.client(name)?;
            let seen = self.observe(client, group, exact)?;
            self.glances.insert(client, seen.clone());
            self.observations.push(seen);
        }
        Ok(())
    }

    /// As [`World::observe_all`], for the sake of the admins: what happened since the last observation is still to be told.
    pub fn observe_admins(
        &mut self,
        names: &[String],
        group: Option<&GroupId>,
    ) -> Result<(), Failed> {
        for name in names {
            let client = self.client(name)?;
            let before = self.clients[client].mark();
            let seen = self.observe(client, group, false)?;
            self.clients[client].back_to(before);
            self.glances.insert(client, seen);
        }
        Ok(())
    }

    fn observe(
        &mut self,
        client: usize,
        group: Option<&GroupId>,
        exact: bool,
    ) -> Result<Observation, Failed> {
        let (events, changes) = self.clients[client].drain();
        let group = match group {
            Some(group) => group.clone(),
            None => self.group_of(client, None)?,
        };
        let info = self.group_info(client, &group)?;
        let exact = match exact {
            true => Some(self.exact(client, &group)?),
            false => None,
        };
        let mut payloads = self.clients[client].payloads(&events);
        payloads.retain(|text| !text.starts_with(PROBE));
        // G3 is silent about who has never been in the group: it is in no epoch but the first and sees nobody.
        let mut seen = Observation {
            client,
            epoch: info.as_ref().map_or(0, |i| i.epoch),
            member_count: info.as_ref().map_or(0, |i| i.member_count),
            admins: info.as_ref().map_or_else(Vec::new, |i| self.labels(&i.admins)),
            name: info.as_ref().map_or_else(String::new, |i| i.profile.name.clone()),
            description: info.map_or_else(String::new, |i| i.profile.description),
            payloads,
            added: self.labels(changes.added()),
            removed: self.labels(changes.removed()),
            epoch_changes: Vec::new(),
            counts: BTreeMap::new(),
            exact,
            compared: self.clients[client].compared.take(),
        };
        count(&events, &mut seen);
        Ok(seen)
    }

    /// The group as a client knows it, if it does.
    fn group_info(&mut self, client: usize, group: &GroupId) -> Result<Option<GroupInfo>, Failed> {
        match self.ask(client, "group", |e| e.group(group)) {
            Ok(info) => Ok(Some(info)),
            Err(Failed::Engine { error: Error::GroupNotFound, .. }) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    fn exact(&mut self, client: usize, group: &GroupId) -> Result<Exact, Failed> {
        let info = self.group_info(client, group)?;
        let (status, epoch) = (info.as_ref().map(|i| i.state), info.map_or(0, |i| i.epoch));
        let out = Exact { group: group.clone(), epoch, status, inside: None };
        let state = match self.ask(client, "state", |e| testing::state(e, group)) {
            Ok(state) => state,
            Err(Failed::Engine { error: Error::NotMember(_) | Error::GroupNotFound, .. }) => {
                return Ok(out);
            }
            Err(failed) => return Err(failed),
        };
        let exporter = self.ask(client, "export_secret", |e| {
            e.export_secret(group, "convergence-conformance-v1", &[], 32)
        })?;
        let inside = Inside {
            context: Sha256::digest(&state.group_context).into(),
            exporter: Sha256::digest(exporter.expose()).to_vec(),
            leaves: state.leaves,
            dictionary: state.components,
        };
        Ok(Exact { epoch: state.epoch, inside: Some(inside), ..out })
    }

    /// Each sends to all; who reads whom?
    pub fn probe(&mut self, names: &[String], group: Option<&GroupId>) -> Result<(), Failed> {
        let clients: Vec<usize> = names.iter().map(|n| self.client(n)).collect::<Result<_, _>>()?;
        let text = |name: &str, n: usize| format!("{PROBE}{n}:{name}");
        let number = self.probes.len();
        for client in &clients {
            let group = self.group_of(*client, group)?;
            let payload = text(&self.clients[*client].name, number);
            let sender = self.clients[*client].name.clone();
            let step = super::format::Step::SendAppMessage { sender, payload };
            self.act_now(*client, &group, &step, false)?;
        }
        self.deliver_all();
        for client in &clients {
            self.tick(*client)?;
        }
        let mut missing = Vec::new();
        for to in &clients {
            let events = self.clients[*to].unseen();
            let read = self.clients[*to].payloads(&events);
            for from in clients.iter().filter(|from| *from != to) {
                let (from, to) = (&self.clients[*from].name, &self.clients[*to].name);
                if !read.contains(&text(from, number)) {
                    missing.push((from.clone(), to.clone()));
                }
            }
        }
        self.probes.push(Probe { clients: clients.into_iter().collect(), missing });
        Ok(())
    }

    fn holds(&mut self, predicate: &Predicate) -> Result<bool, Failed> {
        match predicate {
            Predicate::ClientState { client, epoch, member_count } => {
                let client = self.client(client)?;
                let group = self.group_of(client, None)?;
                let info = self.group_info(client, &group)?;
                let (of, count) = info.map_or((0, 0), |i| (i.epoch, i.member_count));
                Ok(epoch.is_none_or(|e| e == of) && member_count.is_none_or(|n| n == count))
            }
            Predicate::PayloadCount { client, payload, count } => {
                let client = self.client(client)?;
                let events = self.clients[client].unseen();
                let read = self.clients[client].payloads(&events);
                Ok(read.iter().filter(|text| *text == payload).count() == *count)
            }
            Predicate::ClientsExactlyEquivalent { clients } => {
                let mut all = Vec::new();
                for name in clients {
                    let client = self.client(name)?;
                    let group = self.group_of(client, None)?;
                    all.push(self.exact(client, &group)?);
                }
                Ok(all.windows(2).all(|pair| pair[0] == pair[1]))
            }
            Predicate::NoPendingWork { clients } => {
                for name in clients {
                    let client = self.client(name)?;
                    if !self.pending_work(client, Kept::Work)?.is_empty() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    pub fn assert(&mut self, assertion: &Assertion) -> Result<(), Failed> {
        let good = match assertion {
            Assertion::Exactly { predicate } => self.holds(predicate)?,
            Assertion::Eventually { predicate, max_iterations } => {
                let mut good = self.holds(predicate)?;
                for _ in 0..*max_iterations {
                    if good {
                        break;
                    }
                    self.round()?;
                    good = self.holds(predicate)?;
                }
                good
            }
            Assertion::Within { predicate, timeout_ms, poll_interval_ms } => {
                self.watch_for(predicate, *timeout_ms, *poll_interval_ms)?
            }
            Assertion::Never { predicate, duration_ms, poll_interval_ms } => {
                !self.watch_for(predicate, *duration_ms, *poll_interval_ms)?
            }
            Assertion::Resource { metric, comparison, value } => {
                let found = self.resource(metric)?;
                match comparison {
                    Comparison::Equal => found == *value,
                    Comparison::LessThanOrEqual => found <= *value,
                    Comparison::GreaterThanOrEqual => found >= *value,
                }
            }
        };
        if good { Ok(()) } else { Err(Failed::Runner(format!("does not hold: {assertion:?}"))) }
    }

    fn watch_for(&mut self, predicate: &Predicate, time: u64, poll: u64) -> Result<bool, Failed> {
        self.steered = true;
        let mut spent = 0;
        loop {
            if self.holds(predicate)? {
                return Ok(true);
            }
            if spent >= time {
                return Ok(false);
            }
            self.clock.advance_millis(poll.max(1));
            spent += poll.max(1);
            self.round()?;
        }
    }

    fn resource(&mut self, metric: &str) -> Result<u64, Failed> {
        let clients = 0..self.clients.len();
        let mut count = 0;
        for client in clients {
            count += match metric {
                "runnable_work" => {
                    let open = self.watches(client)?.iter().filter(|w| w.pass_open).count();
                    open + self.clients[client].intents.len()
                }
                "deferred_retry_work" => {
                    let watches = self.watches(client)?;
                    watches.iter().map(|w| w.raw + w.welcomes + w.commits + w.proposals).sum()
                }
                "outbound_awaiting_acknowledgement" => self.unresolved(client)?,
                "transport_mailbox_messages" => self.clients[client].mailbox.len(),
                "transport_queued_messages" if client == 0 => self.bus.queue.len(),
                "transport_queued_messages" => 0,
                "transport_delayed_messages" => self.clients[client].missed.len(),
                "scenario_inputs_pending" => 0,
                other => return Err(Failed::Runner(format!("metric {other:?} is not known"))),
            };
        }
        Ok(count as u64)
    }
}

const PROBE: &str = "\u{1}probe:";

/// What has happened how often.
fn count(events: &[EngineEvent], seen: &mut Observation) {
    let mut invalidated = 0;
    for event in events {
        match &event.body {
            EventBody::EpochChanged { old, new, .. } => seen.epoch_changes.push((*old, *new)),
            EventBody::MessagesInvalidated { message_ids } => invalidated += message_ids.len(),
            _ => {}
        }
    }
    seen.counts = BTreeMap::from([
        ("message_received", seen.payloads.len()),
        ("member_added", seen.added.len()),
        ("member_removed", seen.removed.len()),
        ("epoch_changed", seen.epoch_changes.len()),
        ("app_invalidated", invalidated),
    ]);
    seen.added.sort();
    seen.removed.sort();
}
