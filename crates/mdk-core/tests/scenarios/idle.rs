//! What clients have still to do.

use mdk_core::testing::{self, Watch};
use mdk_wire::{EventId, GroupId};

use super::format::Class;
use super::world::{Failed, World};

/// What a client may keep that it cannot open, and be without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Work,
    /// The commits that added it.
    JoinCommits,
    /// All that was made before it joined, those commits too. It is stale (D2), although nobody can see that who has no
    /// key of that time.
    Stale,
}

impl World {
    pub fn watches(&mut self, client: usize) -> Result<Vec<Watch>, Failed> {
        let groups = self.clients[client].groups.clone();
        groups.iter().map(|g| self.ask(client, "watch", |e| testing::watch(e, g))).collect()
    }

    /// What a client has still to do; empty at rest.
    pub fn pending_work(&mut self, client: usize, kept: Kept) -> Result<Vec<String>, Failed> {
        let mut work = Vec::new();
        if !self.bus.is_empty() {
            work.push("messages on the bus".to_owned());
        }
        if !self.clients[client].mailbox.is_empty() {
            work.push("messages in the mailbox".to_owned());
        }
        if !self.clients[client].intents.is_empty() {
            work.push("queued intents".to_owned());
        }
        if self.unresolved(client)? > 0 {
            work.push("commits that are not acknowledged".to_owned());
        }
        for group in self.clients[client].groups.clone() {
            let watch = self.ask(client, "watch", |e| testing::watch(e, &group))?;
            let held = self.ask(client, "held", |e| testing::held(e, &group))?;
            let kept = held.events.iter().filter(|id| self.may_keep(client, &group, id, kept));
            for (count, what) in [
                (watch.raw - kept.count(), "events that nothing opens"),
                (watch.welcomes, "Welcomes that wait"),
                (watch.commits, "commits without a place"),
                (watch.proposals, "proposals without a place"),
                (usize::from(watch.pass_open), "an open choice"),
            ] {
                if count > 0 {
                    work.push(format!("{count} {what}"));
                }
            }
        }
        Ok(work)
    }

    fn may_keep(&self, client: usize, group: &GroupId, id: &EventId, kept: Kept) -> bool {
        match kept {
            Kept::Work => false,
            Kept::JoinCommits => self.added_by(client, id),
            Kept::Stale => {
                let joined = self.clients[client].joined.get(group).copied();
                let made = self.bus.find(id).and_then(|item| item.epoch);
                self.added_by(client, id) || joined.zip(made).is_some_and(|(at, made)| made < at)
            }
        }
    }

    /// Whether a commit added this client.
    fn added_by(&self, client: usize, commit: &EventId) -> bool {
        let me = self.clients[client].keys.public_key();
        self.clients.iter().flat_map(|c| &c.publications).any(|publication| {
            let mut items = publication.items.iter();
            items.any(|i| i.class == Class::Commit && i.event.id() == *commit)
                && publication.items.iter().any(|i| i.recipient == Some(me))
        })
    }

    /// Accepts every invite, and notes in which epoch each was joined.
    pub fn accept_all(&mut self, client: usize) -> Result<bool, Failed> {
        let accepted = self.clients[client].accept_all().map_err(Failed::Runner)?;
        for (invite, group) in &accepted {
            let publications = self.clients.iter().flat_map(|c| &c.publications);
            let mut of = publications.filter(|p| p.items.iter().any(|i| i.event.id() == *invite));
            let Some(publication) = of.next() else { continue };
            // A founding leads to the first epoch without a commit.
            let commit = publication.items.iter().find_map(|i| i.epoch);
            let epoch = commit.map_or(1, |epoch| epoch + 1);
            self.clients[client].joined.insert(group.clone(), epoch);
        }
        Ok(!accepted.is_empty())
    }

    /// Every reason why the clients are not quiescent. G2 does not say that stale things are none, but with them no group
    /// that has grown would ever come to rest.
    pub fn unrest(&mut self) -> Result<Vec<String>, Failed> {
        let mut unrest = Vec::new();
        for client in 0..self.clients.len() {
            if self.clients[client].is_running() {
                let work = self.pending_work(client, Kept::Stale)?;
                let name = &self.clients[client].name;
                unrest.extend(work.into_iter().map(|what| format!("{name} has {what}")));
            }
        }
        Ok(unrest)
    }
}
