//! What one engine call works with: the transaction, who we are, the time, and what it brings about.

use std::collections::HashMap;

use mdk_store::{GroupRow, GroupStatus, Tx};
use mdk_wire::{Event, EventId, GroupId, OsRandom, PublicKey, Timestamp};
use openmls::group::MlsGroup;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider};

use crate::cache::{GroupCache, LoadedGroup};
use crate::config::Config;
use crate::converge::branch::Auth;
use crate::error::{Error, Result};
use crate::group::inviters::Inviters;
use crate::identity::Identity;
use crate::inbound::looked::Looked;
use crate::inbound::retry::Drain;
use crate::media::Recent;
use crate::outgoing::{Letter, OutboxPurpose};
use crate::provider::{Provider, TxProvider};
use crate::values::{EngineEvent, GroupInfo, Interest};
use crate::worked::Worked;
use crate::{group, history};

pub(crate) struct Ctx<'a, 'tx> {
    pub(crate) tx: &'a Tx<'tx>,
    pub(crate) identity: &'a Identity,
    pub(crate) crypto: &'a RustCrypto,
    pub(crate) config: &'a Config,
    /// Unix milliseconds.
    pub(crate) now_millis: u64,
    pub(crate) worked: &'a Worked,
    pub(crate) more: &'a HashMap<GroupId, u64>,
    /// The database came from a backup: some leaves may have to be renewed.
    pub(crate) restored: bool,
    /// Nothing can be written.
    reading: bool,
    pub(crate) cache: &'a mut GroupCache,
    /// Files that were encrypted and not sent yet.
    pub(crate) recent: &'a Recent,
    pub(crate) random: OsRandom,
    /// What became true, in order.
    pub(crate) events: Vec<EngineEvent>,
    /// Effects of held events that took effect because of this call.
    pub(crate) late: Vec<EngineEvent>,
    /// Events for the caller to publish.
    pub(crate) reply: Vec<Event>,
    /// What is not to be published any more, also of what other calls, or other events of this one, have left for it.
    pub(crate) withdrawn: Vec<EventId>,
    /// Where, and when, a message was said that was just refused because its key is gone.
    pub(crate) behind: Option<(GroupId, Timestamp)>,
    /// Held events are being retried: a retry does not start another.
    pub(crate) retrying: bool,
    /// States that came to be, or got a proposal, and that waiting input is still to be tried on.
    pub(crate) fresh: Vec<(GroupId, Auth)>,
    /// Held events as they were parsed, with the keys that were tried on them.
    pub(crate) drain: HashMap<GroupId, Drain>,
    /// Which keys were tried on events of this call, and what came of it.
    pub(crate) looked: Looked,
    /// Several events are processed: what waits is tried when all of them are there.
    pub(crate) batching: bool,
    /// A commit that could be applied was left for the end of the batch.
    pub(crate) parked: bool,
    /// Everything that waits is tried, however much it is.
    pub(crate) thorough: bool,
    /// The event that is being processed was kept as it came.
    pub(crate) kept_raw: bool,
    /// Why the Welcome that is processed leads nowhere, if it is for want of a sign of the others: one that was made at
    /// this time, Unix seconds, or later.
    pub(crate) wants_sign: Option<u64>,
    /// What is to be published is put into the outbox.
    pub(crate) outbox: bool,
    /// Largest events that the relays of these accounts take.
    pub(crate) invite_limits: &'a HashMap<PublicKey, u64>,
    /// Whose invites are taken.
    pub(crate) inviters: &'a Inviters,
    /// How a refused event is undone when others share its transaction.
    pub(crate) undo: Undo,
}

/// What the engine lends to one call.
pub(crate) struct Parts<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) crypto: &'a RustCrypto,
    pub(crate) config: &'a Config,
    pub(crate) now_millis: u64,
    pub(crate) worked: &'a Worked,
    pub(crate) more: &'a HashMap<GroupId, u64>,
    pub(crate) restored: bool,
    pub(crate) reading: bool,
    pub(crate) cache: &'a mut GroupCache,
    pub(crate) recent: &'a Recent,
    pub(crate) outbox: bool,
    pub(crate) invite_limits: &'a HashMap<PublicKey, u64>,
    pub(crate) inviters: &'a Inviters,
}

/// Undoing one event of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Each event has a savepoint.
    Savepoint,
    /// Events are refused before anything is written, as nearly all are; the first that is not sets
    /// `Undo::Needed` and fails the transaction, which is then repeated with savepoints. SQLite keeps a copy of
    /// every page that changes under a savepoint, which costs a batch more than the events themselves.
    Unneeded,
    /// An event was refused after something was written.
    Needed,
}

impl<'a, 'tx> Ctx<'a, 'tx> {
    pub(crate) fn new(tx: &'a Tx<'tx>, parts: Parts<'a>) -> Self {
        Self {
            tx,
            identity: parts.identity,
            crypto: parts.crypto,
            config: parts.config,
            now_millis: parts.now_millis,
            worked: parts.worked,
            more: parts.more,
            restored: parts.restored,
            reading: parts.reading,
            cache: parts.cache,
            recent: parts.recent,
            random: OsRandom,
            events: Vec::new(),
            late: Vec::new(),
            reply: Vec::new(),
            withdrawn: Vec::new(),
            behind: None,
            retrying: false,
            fresh: Vec::new(),
            drain: HashMap::new(),
            looked: Looked::default(),
            batching: false,
            parked: false,
            thorough: false,
            kept_raw: false,
            wants_sign: None,
            outbox: parts.outbox,
            invite_limits: parts.invite_limits,
            inviters: parts.inviters,
            undo: Undo::Savepoint,
        }
    }
}

impl<'a> Ctx<'a, '_> {
    /// Unix seconds.
    pub(crate) fn now(&self) -> u64 {
        self.now_millis / 1000
    }

    pub(crate) fn provider(&self) -> TxProvider<'a> {
        Provider::new(self.crypto, self.tx.mls())
    }

    /// The group's row, or `GroupNotFound`.
    pub(crate) fn row(&self, id: &GroupId) -> Result<GroupRow> {
        self.tx.group(id)?.ok_or(Error::GroupNotFound)
    }

    /// The row of a group that its user knows of, or `GroupNotFound`: one whose founding commit is not confirmed is not
    /// there yet, for any call.
    pub(crate) fn listed(&self, id: &GroupId) -> Result<GroupRow> {
        let row = self.cached_row(id).map_or_else(|| self.row(id), Ok)?;
        history::state(row.status).ok_or(Error::GroupNotFound)?;
        Ok(row)
    }

    /// Takes the group out of the cache, or loads it. Put it back with [`Ctx::put`] on success.
    pub(crate) fn take(&mut self, id: &GroupId) -> Result<LoadedGroup> {
        let mut group = match self.cache.take(id) {
            Some(group) => group,
            None => self.load(self.row(id)?)?,
        };
        if !self.reading {
            configure(self.config, &mut group.mls, &self.tx.mls())?;
        }
        Ok(group)
    }

    /// As [`Ctx::take`], for an operation that needs an accepted, live membership.
    pub(crate) fn take_active(&mut self, id: &GroupId) -> Result<LoadedGroup> {
        match self.cache.peek(id) {
            Some(group) => group::require_active(&group.row)?,
            None => group::require_active(&self.row(id)?)?,
        }
        self.take(id)
    }

    pub(crate) fn load(&self, row: GroupRow) -> Result<LoadedGroup> {
        let mls_id = openmls::group::GroupId::from_slice(row.id.as_bytes());
        let mls = MlsGroup::load(&self.tx.mls(), &mls_id)?
            .ok_or(Error::Unrecoverable("MLS rows are missing"))?;
        Ok(LoadedGroup::new(mls, row))
    }

    pub(crate) fn put(&mut self, group: LoadedGroup) {
        self.cache.put(group);
    }

    /// The row of a cached group, without touching the database.
    pub(crate) fn cached_row(&self, id: &GroupId) -> Option<GroupRow> {
        self.cache.peek(id).map(|group| group.row.clone())
    }

    /// The group as its user sees it.
    pub(crate) fn info(&self, id: &GroupId) -> Result<GroupInfo> {
        history::group_info(self.tx, self.identity.account(), &self.listed(id)?)
    }

    /// What an earlier process left to publish is handed out again, byte for byte.
    pub(crate) fn resume(&mut self) -> Result<()> {
        for commit in self.pending()? {
            let Some(event) = commit.event else { continue };
            self.post(&Letter {
                purpose: OutboxPurpose::Commit { pending: commit.id },
                group: Some(&commit.group_id),
                event: &event,
                relays: &commit.relays,
            })?;
            // What the user made is the user's to publish, where there is no outbox.
            if commit.automatic {
                self.reply.push(event);
            }
        }
        for welcome in self.tx.sendable_welcomes()? {
            if let Some(commit) = self.tx.pending(welcome.pending)? {
                let event = self.wrap_again(&commit, &welcome)?;
                self.post_welcome(&commit, &event, welcome.recipient)?;
                self.reply.push(event);
            }
        }
        for row in self.tx.groups()? {
            if row.status != GroupStatus::Leaving {
                continue;
            }
            if let Some(leave) = self.tx.leave(&row.id)? {
                let event = stored_event(&leave.event_json)?;
                self.post(&Letter {
                    purpose: OutboxPurpose::Proposal,
                    group: Some(&row.id),
                    event: &event,
                    relays: &row.relays,
                })?;
                self.reply.push(event);
            }
        }
        Ok(())
    }

    /// Subscriptions for the account's inbox and for every live group, old routing ids and relays included.
    pub(crate) fn interests(&self) -> Result<Vec<Interest>> {
        let me = self.identity.account().to_hex();
        let mut interests = vec![Interest {
            filter: format!(r##"{{"kinds":[1059],"#p":["{me}"]}}"##),
            relays: Vec::new(),
        }];
        for row in self.tx.groups()? {
            // rule: D6-8 while a branch is known that would take us back, what belongs to it is asked for
            let returning = row.status != GroupStatus::Disbanded && row.pass.contested != 0;
            if group::is_over(row.status) && !returning {
                continue;
            }
            // An inviter's relays are not to be dialled before the invite is accepted.
            let status = match group::is_out(row.status) {
                true => self.standing_before(&row)?,
                false => row.status,
            };
            if group::invites::is_invited(status) {
                continue;
            }
            let ids: Vec<String> =
                self.tx.routes(&row.id)?.iter().map(|id| format!("\"{}\"", id.to_hex())).collect();
            if ids.is_empty() {
                continue;
            }
            // rule: 2.4-16 a commit goes to the relays of the epoch before it, and so does what others say who have not seen it
            let mut relays = row.relays;
            for relay in self.tx.retained_relays(&row.id)?.into_iter().flatten() {
                if !relays.contains(&relay) {
                    relays.push(relay);
                }
            }
            let filter = format!(r##"{{"kinds":[445],"#h":[{}]}}"##, ids.join(","));
            interests.push(Interest { filter, relays });
        }
        Ok(interests)
    }
}

/// Gives a group the limits of today's [`Config`]: it keeps those that it was last used with.
pub(crate) fn configure<S: StorageProvider<CURRENT_VERSION>>(
    config: &Config,
    mls: &mut MlsGroup,
    storage: &S,
) -> std::result::Result<(), S::Error> {
    let wanted = crate::profile::v2::leaf::join_config(config);
    if *mls.configuration() == wanted { Ok(()) } else { mls.set_configuration(storage, &wanted) }
}

/// An event that we stored after verifying or signing it.
pub(crate) fn stored_event(json: &str) -> Result<Event> {
    Event::from_stored_json(json.as_bytes()).map_err(|_| Error::Unrecoverable("stored event"))
}
