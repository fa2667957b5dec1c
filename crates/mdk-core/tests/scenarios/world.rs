//! All clients of a scenario, and how each step is played.

use std::collections::BTreeMap;
use std::rc::Rc;

use mdk_core::{Engine, Error, ManualClock};
use mdk_wire::{Event, GroupId, kind};

use super::bus::Bus;
use super::client::{Client, Item, Publication};
use super::expected::{Resolution, TraceResolution};
use super::format::{Class, File, Scenario, Step};
use super::observe::{Observation, Probe};
use crate::kit::dice::Dice;
use crate::kit::folder;

/// Why a step did not succeed.
#[derive(Debug)]
pub enum Failed {
    /// The scenario, or what this runner can do.
    Runner(String),
    /// The engine refused.
    Engine { client: usize, operation: &'static str, error: Error },
    /// The step cannot be in this generation of the protocol.
    Contradiction(&'static str),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Runner(text) => f.write_str(text),
            Self::Engine { client, operation, error } => {
                write!(f, "client {client}: {operation}: {error}")
            }
            Self::Contradiction(text) => f.write_str(text),
        }
    }
}

/// A refusal by the scenario format's names. Some of ours can have more than one of them.
#[derive(Debug)]
pub struct Refusal {
    pub step: usize,
    pub client: String,
    pub operation: String,
    pub names: Vec<&'static str>,
}

pub struct World {
    pub clients: Vec<Client>,
    pub clock: ManualClock,
    pub bus: Bus,
    /// Groups by the label of `in_group` and by the name of their founding.
    pub groups: BTreeMap<String, GroupId>,
    pub first_group: Option<GroupId>,
    /// Set by the first step that steers the clock: from then on a tick does not jump.
    pub steered: bool,
    /// Mailboxes are shuffled.
    pub dice: Option<Dice>,
    pub step: usize,
    pub action: String,
    pub observations: Vec<Observation>,
    /// What was seen of a client when it was last looked at, if only at its admins.
    pub glances: BTreeMap<usize, Observation>,
    pub resolutions: Vec<TraceResolution>,
    pub refusals: Vec<Refusal>,
    pub probes: Vec<Probe>,
    /// Clients by process.
    pub processes: BTreeMap<String, Vec<usize>>,
    pub scenario: Rc<Scenario>,
    _folder: Option<tempfile::TempDir>,
}

impl World {
    pub fn new(file: &File, on_disk: bool, dice: Option<Dice>) -> Self {
        let clock = ManualClock::at(now() - AHEAD);
        let folder = on_disk.then(folder);
        let scenario = &file.scenario;
        let mut clients = Vec::new();
        let mut processes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, name) in scenario.clients.iter().enumerate() {
            let devices = scenario.topology.iter().flat_map(|t| &t.devices);
            let device = devices.into_iter().find(|d| d.client == *name);
            let account = device.map_or(name, |d| &d.account);
            if let Some(device) = device {
                processes.entry(device.process.clone()).or_default().push(i);
            }
            let path = folder.as_ref().map(|f| f.path().join(format!("{i}.db")));
            clients.push(Client::new(name, account, path, &clock));
        }
        Self {
            clients,
            clock,
            bus: Bus::default(),
            groups: BTreeMap::new(),
            first_group: None,
            steered: false,
            dice,
            step: 0,
            action: String::new(),
            observations: Vec::new(),
            glances: BTreeMap::new(),
            resolutions: Vec::new(),
            refusals: Vec::new(),
            probes: Vec::new(),
            processes,
            scenario: Rc::new(copy_of(scenario)),
            _folder: folder,
        }
    }

    pub fn client(&self, name: &str) -> Result<usize, Failed> {
        let place = self.clients.iter().position(|c| c.name == name);
        place.ok_or_else(|| Failed::Runner(format!("no client {name:?}")))
    }

    /// The clients of a process.
    pub fn process(&self, name: &str) -> Result<Vec<usize>, Failed> {
        let known = self.processes.get(name).cloned();
        known.ok_or_else(|| Failed::Runner(format!("no process {name:?} in the topology")))
    }

    /// The group that a step is about.
    pub fn group_of(&self, client: usize, group: Option<&GroupId>) -> Result<GroupId, Failed> {
        group
            .or(self.clients[client].groups.first())
            .or(self.first_group.as_ref())
            .cloned()
            .ok_or_else(|| Failed::Runner("no group was created yet".into()))
    }

    /// A call that the scenario makes for its client.
    pub fn ask<T>(
        &mut self,
        client: usize,
        operation: &'static str,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T>,
    ) -> Result<T, Failed> {
        self.clients[client].call(f).map_err(|error| Failed::Engine { client, operation, error })
    }

    /// Puts events on the bus: Welcomes first, then the rest.
    pub fn publish(
        &mut self,
        client: usize,
        name: Option<&str>,
        class: Class,
        welcomes: &[Event],
        event: Option<&Event>,
    ) -> Vec<Rc<Item>> {
        let welcomes = welcomes.iter().map(|e| (e, Class::Welcome));
        let mut items = Vec::new();
        for (event, class) in welcomes.chain(event.map(|e| (e, class))) {
            let recipient = event.tags().iter().find(|t| t.first().is_some_and(|n| n == "p"));
            let epoch = self.epoch_of(client, event);
            let item = Rc::new(Item {
                json: event.to_json(),
                event: event.clone(),
                sender: client,
                class,
                publication: name.map(str::to_owned),
                action: self.action.clone(),
                epoch,
                recipient: recipient.and_then(|t| mdk_wire::PublicKey::from_hex(t.get(1)?).ok()),
            });
            self.bus.queue.push_back(item.clone());
            items.push(item);
        }
        items
    }

    /// The epoch that a client is in of the group that an event is for.
    fn epoch_of(&mut self, client: usize, event: &Event) -> Option<u64> {
        let route = event.tags().iter().find(|t| t.first().is_some_and(|n| n == "h"))?.get(1)?;
        let groups = self.clients[client].call(|e| e.groups(None)).ok()?;
        groups.iter().find(|g| g.nostr_group_id.to_hex() == *route).map(|g| g.epoch)
    }

    /// What the engine wants to be published by itself: queued, and not acknowledged.
    pub fn publish_replies(&mut self, client: usize, replies: &[Event]) -> Result<usize, Failed> {
        let mut count = 0;
        for event in replies {
            // A relay has it already; after a restart the engine cannot know.
            if self.bus.find(&event.id()).is_some() {
                continue;
            }
            // A KeyPackage goes elsewhere, and the clients here are asked for theirs.
            if event.kind() == kind::KEY_PACKAGE {
                continue;
            }
            count += 1;
            if event.kind() != kind::GROUP_MESSAGE {
                self.publish(client, None, Class::Welcome, std::slice::from_ref(event), None);
                continue;
            }
            let pending = self.ask(client, "pending", Engine::pending)?;
            let own =
                pending.iter().find(|p| p.event.as_ref().is_some_and(|e| e.id() == event.id()));
            let class = if own.is_some() { Class::Commit } else { Class::Proposal };
            let items = self.publish(client, None, class, &[], Some(event));
            if let Some(own) = own {
                self.clients[client].publications.push(Publication {
                    name: None,
                    pending: own.id,
                    founding: false,
                    regenerated: true,
                    resolved: false,
                    items,
                });
            }
        }
        Ok(count)
    }

    pub fn resolved(&mut self, client: usize, pending: &str, resolution: Resolution) {
        self.resolutions.push(TraceResolution {
            step_index: self.step,
            client: self.clients[client].name.clone(),
            pending: pending.to_owned(),
            resolution,
        });
    }

    /// Who is admin from the start, if the scenario does not say: every invitee who acts as one later.
    pub fn acting_admins(&self, label: Option<&str>, invitees: &[String]) -> Vec<String> {
        let acts = |step: &Step| -> Option<String> {
            match step {
                Step::InviteMembers { inviter: name, .. }
                | Step::UpdateGroupData { client: name, .. }
                | Step::UpdateGroupProfile { client: name, .. }
                | Step::UpdateAdminPolicy { client: name, .. } => Some(name.clone()),
                _ => None,
            }
        };
        let actors = self.scenario.steps[self.step + 1..].iter().filter_map(|step| match step {
            Step::InGroup { group, action } => {
                acts(action).filter(|_| label.is_none_or(|l| l == group))
            }
            step => acts(step).filter(|_| label.is_none()),
        });
        let actors: Vec<String> = actors.collect();
        invitees.iter().filter(|name| actors.contains(name)).cloned().collect()
    }
}

fn copy_of(scenario: &Scenario) -> Scenario {
    Scenario {
        name: scenario.name.clone(),
        spec_version: scenario.spec_version.clone(),
        clients: scenario.clients.clone(),
        topology: None,
        steps: scenario.steps.clone(),
    }
}

/// How far a scenario's clock can run, in seconds. OpenMLS judges lifetimes by the system clock: what is made at any time
/// of the scenario must have begun by now, and what is made at its start must not have ended yet (after 84 days).
const AHEAD: u64 = 80 * 86_400;

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}
