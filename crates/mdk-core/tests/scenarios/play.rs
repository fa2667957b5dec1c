//! Playing the steps.

use mdk_core::{Engine, Error, GroupUpdate, NewGroup, NewMessage, Pending};
use mdk_wire::{Event, GroupId, PublicKey, kind};

use super::client::{Intent, Publication};
use super::expected::Resolution;
use super::format::{Ack, Class, Selection, Step};
use super::names::{self, Feature};
use super::world::{Failed, Refusal, World};

const RELAY: &str = "wss://group.example";
const YEAR: u64 = 365 * 86_400;

impl World {
    /// Plays one step.
    pub fn play(&mut self, step: &Step, label: Option<&str>) -> Result<(), Failed> {
        let group = match label {
            Some(label) if !matches!(step, Step::CreateGroup { .. }) => {
                let known = self.groups.get(label).cloned();
                Some(known.ok_or_else(|| Failed::Runner(format!("no group {label:?}")))?)
            }
            _ => None,
        };
        match step {
            Step::InGroup { .. } if label.is_some() => {
                Err(Failed::Runner("in_group within in_group".into()))
            }
            Step::InGroup { group, action } => self.play(action, Some(group)),
            Step::CreateGroup { .. } => self.create_group(step, label),
            Step::InviteMembers { inviter: by, .. }
            | Step::RemoveMembers { remover: by, .. }
            | Step::SelfUpdate { client: by, .. }
            | Step::UpdateGroupData { client: by, .. }
            | Step::UpdateGroupProfile { client: by, .. }
            | Step::UpdateAdminPolicy { client: by, .. }
            | Step::SendAppMessage { sender: by, .. } => {
                let by = self.client(by)?;
                let group = self.group_of(by, group.as_ref())?;
                self.act(by, &group, step)
            }
            Step::ExpectUpdateAdminPolicyError { client, admins, error } => {
                let by = self.client(client)?;
                let group = self.group_of(by, group.as_ref())?;
                match self.prepare(by, &group, step) {
                    Err(Failed::Engine { error: refused, .. }) => {
                        let names = names::of("update_admin_policy", &refused, admins.is_empty());
                        let fits = names.contains(&error.as_str());
                        self.refused(by, "update_admin_policy", names);
                        if fits {
                            return Ok(());
                        }
                        Err(Failed::Runner(format!("expected {error}, got {refused}")))
                    }
                    Ok(_) => Err(Failed::Runner(format!("expected {error}, but it was prepared"))),
                    Err(other) => Err(other),
                }
            }
            Step::AcknowledgeOutbound { client, publication, selection, outcome } => {
                let client = self.client(client)?;
                self.acknowledge(client, publication.as_deref(), *selection, *outcome)
            }
            Step::Leave { client } => {
                let client = self.client(client)?;
                let group = self.group_of(client, group.as_ref())?;
                match self.ask(client, "leave", |e| e.leave(&group)) {
                    Ok(event) => {
                        self.publish(client, None, Class::Proposal, &[], Some(&event));
                        Ok(())
                    }
                    Err(failed) => self.later(client, &group, step, failed),
                }
            }
            step => self.play_world(step, group.as_ref()),
        }
    }

    pub fn refused(&mut self, client: usize, operation: &str, names: Vec<&'static str>) {
        self.refusals.push(Refusal {
            step: self.step,
            client: self.clients[client].name.clone(),
            operation: operation.to_owned(),
            names,
        });
    }

    fn create_group(&mut self, step: &Step, label: Option<&str>) -> Result<(), Failed> {
        let Step::CreateGroup {
            creator,
            name,
            invitees,
            required_features,
            initial_admins,
            pending,
        } = step
        else {
            unreachable!("the caller looked")
        };
        let mut retention = None;
        for feature in required_features {
            let problem = match names::feature(feature) {
                Some(Feature::Always) => continue,
                // G2 names no time; within this one nothing expires in a scenario.
                Some(Feature::Retention) => {
                    retention = Some(YEAR);
                    continue;
                }
                Some(Feature::Later) => "cannot be required by a founding of this engine",
                None => "is not known",
            };
            return Err(Failed::Runner(format!("required feature {feature:?} {problem}")));
        }
        let by = self.client(creator)?;
        let admins = match initial_admins {
            Some(names) => names.clone(),
            None => self.acting_admins(label, invitees),
        };
        let admins: Vec<_> = admins.iter().filter(|n| *n != creator).cloned().collect();
        let new = NewGroup {
            name: name.clone(),
            relays: vec![RELAY.to_owned()],
            members: self.key_packages(invitees)?,
            admins: self.accounts(&admins)?,
            retention,
            ..NewGroup::default()
        };
        let made = self.ask(by, "create_group", |e| e.create_group(new))?;
        // A founding is true at once, and its Welcomes are sent at once.
        self.ask(by, "confirm", |e| e.confirm(made.id))?;
        self.clients[by].knows(&made.group_id);
        for label in label.into_iter().chain([pending.as_str()]) {
            self.groups.insert(label.to_owned(), made.group_id.clone());
        }
        self.first_group.get_or_insert(made.group_id.clone());
        self.published(by, Some(pending), &made, true, false);
        Ok(())
    }

    fn key_packages(&mut self, names: &[String]) -> Result<Vec<Event>, Failed> {
        let mut events = Vec::new();
        for name in names {
            let client = self.client(name)?;
            let relays = [RELAY.to_owned()];
            events.push(self.ask(client, "new_key_package", |e| e.new_key_package(&relays, None))?);
        }
        Ok(events)
    }

    fn accounts(&self, names: &[String]) -> Result<Vec<PublicKey>, Failed> {
        names.iter().map(|n| Ok(self.clients[self.client(n)?].keys.public_key())).collect()
    }

    /// Asks for a commit of the client.
    fn prepare(&mut self, by: usize, group: &GroupId, step: &Step) -> Result<Pending, Failed> {
        match step {
            Step::InviteMembers { invitees, .. } => {
                let events = self.key_packages(invitees)?;
                self.ask(by, "invite_members", |e| e.add_members(group, &events, false))
            }
            Step::RemoveMembers { members, .. } => {
                let accounts = self.accounts(members)?;
                self.ask(by, "remove_members", |e| e.remove_members(group, &accounts))
            }
            Step::SelfUpdate { .. } => self.ask(by, "self_update", |e| e.self_update(group)),
            Step::UpdateGroupData { name, .. } => {
                let update = GroupUpdate { name: Some(name.clone()), ..GroupUpdate::default() };
                self.ask(by, "update_group_data", |e| e.update_group(group, update))
            }
            Step::UpdateGroupProfile { name, description, .. } => {
                let update = GroupUpdate {
                    name: name.clone(),
                    description: description.clone(),
                    ..GroupUpdate::default()
                };
                self.ask(by, "update_group_profile", |e| e.update_group(group, update))
            }
            Step::UpdateAdminPolicy { admins, .. }
            | Step::ExpectUpdateAdminPolicyError { admins, .. } => {
                let admins = Some(self.accounts(admins)?);
                let update = GroupUpdate { admins, ..GroupUpdate::default() };
                self.ask(by, "update_admin_policy", |e| e.update_group(group, update))
            }
            _ => unreachable!("not a commit"),
        }
    }

    /// A commit or a message: now, or when the group has come to rest.
    fn act(&mut self, by: usize, group: &GroupId, step: &Step) -> Result<(), Failed> {
        // What waits goes first.
        if self.clients[by].intents.iter().any(|i| i.group == *group) {
            return self.queue(by, group, step);
        }
        match self.act_now(by, group, step, false) {
            Ok(()) => Ok(()),
            Err(failed) => self.later(by, group, step, failed),
        }
    }

    pub fn act_now(
        &mut self,
        by: usize,
        group: &GroupId,
        step: &Step,
        late: bool,
    ) -> Result<(), Failed> {
        if let Step::SendAppMessage { payload, .. } = step {
            let message =
                NewMessage { text: payload.clone(), kind: kind::CHAT, ..NewMessage::default() };
            let sent = self.ask(by, "send_app_message", |e| e.create_message(group, message))?;
            self.clients[by].sent.insert(sent.message.id);
            self.publish(by, None, Class::Application, &[], Some(&sent.event));
            return Ok(());
        }
        if let Step::Leave { .. } = step {
            let event = self.ask(by, "leave", |e| e.leave(group))?;
            self.publish(by, None, Class::Proposal, &[], Some(&event));
            return Ok(());
        }
        let made = self.prepare(by, group, step)?;
        self.published(by, name_of(step), &made, false, late);
        Ok(())
    }

    fn queue(&mut self, by: usize, group: &GroupId, step: &Step) -> Result<(), Failed> {
        let action = self.action.clone();
        self.clients[by].intents.push(Intent { step: step.clone(), group: group.clone(), action });
        Ok(())
    }

    /// Queues what the engine does not do right now; other refusals stand.
    fn later(
        &mut self,
        by: usize,
        group: &GroupId,
        step: &Step,
        failed: Failed,
    ) -> Result<(), Failed> {
        match failed {
            Failed::Engine { error: Error::Settling { .. } | Error::CommitPending, .. } => {
                self.queue(by, group, step)
            }
            failed => Err(failed),
        }
    }

    fn published(
        &mut self,
        by: usize,
        name: Option<&str>,
        made: &Pending,
        founding: bool,
        late: bool,
    ) {
        let items = self.publish(by, name, Class::Commit, &made.welcomes, made.event.as_ref());
        self.clients[by].publications.push(Publication {
            name: name.map(str::to_owned),
            pending: made.id,
            founding,
            regenerated: late,
            resolved: false,
            items,
        });
    }

    fn acknowledge(
        &mut self,
        client: usize,
        name: Option<&str>,
        selection: Selection,
        outcome: Ack,
    ) -> Result<(), Failed> {
        let meant: Vec<usize> = (0..self.clients[client].publications.len())
            .filter(|i| {
                let publication = &self.clients[client].publications[*i];
                let named = match name {
                    Some(name) => publication.name.as_deref() == Some(name),
                    None => !publication.resolved,
                };
                let selected =
                    selection != Selection::RegeneratedQueuedIntent || publication.regenerated;
                named && selected
            })
            .collect();
        if meant.is_empty() && name.is_some() {
            let text = format!("nothing was published as {:?}", name.unwrap_or_default());
            return Err(Failed::Runner(text));
        }
        for i in meant {
            self.acknowledge_one(client, i, name.is_some(), selection, outcome)?;
        }
        Ok(())
    }

    fn acknowledge_one(
        &mut self,
        client: usize,
        place: usize,
        named: bool,
        selection: Selection,
        outcome: Ack,
    ) -> Result<(), Failed> {
        let publication = &self.clients[client].publications[place];
        let (pending, founding) = (publication.pending, publication.founding);
        let (items, name) = (publication.items.clone(), publication.name.clone());
        // The commit is what makes it true. A founding has none.
        let confirming = match selection {
            Selection::Welcome => founding,
            Selection::GroupMessage => !founding,
            Selection::All | Selection::StateConfirmation | Selection::RegeneratedQueuedIntent => {
                true
            }
        };
        if publication.resolved || !confirming {
            return Ok(());
        }
        if outcome == Ack::ReachedNoEndpoint {
            if founding {
                return Err(Failed::Contradiction("a founding is true at once: it cannot fail"));
            }
            if items.iter().any(|i| self.bus.received.contains(&i.event.id())) {
                return Err(Failed::Runner("somebody has received what reached nobody".into()));
            }
            self.bus.retract(&items);
            self.ask(client, "discard", |e| e.discard(pending))?;
        } else if !founding {
            match self.ask(client, "confirm", |e| e.confirm(pending)) {
                Ok(_) => {}
                // What the engine made by itself may have been overtaken by another's. A relay that accepted it gives it
                // back all the same, which the bus does not, and so it is known as a rival.
                Err(Failed::Engine { error: Error::CommitLost, .. }) if !named => {
                    self.echo(client, &items)?;
                }
                Err(failed) => return Err(failed),
            }
        }
        self.clients[client].publications[place].resolved = true;
        if let Some(name) = name.filter(|_| named) {
            let accepted = outcome == Ack::Accepted;
            let resolution = if accepted { Resolution::Confirmed } else { Resolution::RolledBack };
            self.resolved(client, &name, resolution);
        }
        Ok(())
    }

    /// Does what was queued, as far as it goes now.
    pub fn drain_intents(&mut self, client: usize) -> Result<usize, Failed> {
        let mut done = 0;
        let mut blocked: Vec<GroupId> = Vec::new();
        for intent in std::mem::take(&mut self.clients[client].intents) {
            if blocked.contains(&intent.group) {
                self.clients[client].intents.push(intent);
                continue;
            }
            let action = std::mem::replace(&mut self.action, intent.action.clone());
            let result = self.act_now(client, &intent.group, &intent.step, true);
            self.action = action;
            match result {
                Ok(()) => done += 1,
                Err(Failed::Engine {
                    error: Error::Settling { .. } | Error::CommitPending,
                    ..
                }) => {
                    blocked.push(intent.group.clone());
                    self.clients[client].intents.push(intent);
                }
                // Its state is another one now, and it may not be wanted or allowed there.
                Err(Failed::Engine { operation, error, .. }) => {
                    let names = names::of(operation, &error, false);
                    self.refused(client, operation, names);
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(done)
    }

    /// Commits of the client that are neither confirmed nor given up.
    pub fn unresolved(&mut self, client: usize) -> Result<usize, Failed> {
        Ok(self.ask(client, "pending", Engine::pending)?.len())
    }
}

fn name_of(step: &Step) -> Option<&str> {
    match step {
        Step::InviteMembers { pending, .. }
        | Step::RemoveMembers { pending, .. }
        | Step::SelfUpdate { pending, .. }
        | Step::UpdateGroupData { pending, .. }
        | Step::UpdateGroupProfile { pending, .. }
        | Step::UpdateAdminPolicy { pending, .. } => Some(pending),
        _ => None,
    }
}
