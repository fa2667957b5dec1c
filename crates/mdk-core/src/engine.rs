//! The engine: one account, one database, one transaction per call.

mod groups;
mod media;
mod outbox;
mod reads;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use mdk_store::{DatabaseKey, OpenOptions, Store};
use mdk_wire::{Event, EventId, GroupId, Keys, PublicKey};
use openmls_rust_crypto::RustCrypto;

use crate::cache::GroupCache;
use crate::clock::Clock;
use crate::config::Config;
use crate::ctx::{Ctx, Parts, Undo};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::inbound::Incoming;
use crate::media::Recent;
use crate::outcome::{Outcome, Rejection, Verdict};
use crate::values::{
    EngineEvent, GroupInfo, Interest, Invite, Message, NewMessage, Outgoing, StoreInfo,
};
use crate::{event_log, halt, history, parallel, vault};

/// One account's protocol engine: events in, events out. No sockets, no threads.
pub struct Engine {
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) crypto: RustCrypto,
    config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    cache: GroupCache,
    /// Files that were encrypted and not sent yet.
    recent: Recent,
    /// Events of held messages that took effect outside a `process` call; reported by the next one.
    backlog: Vec<EngineEvent>,
    /// Events to publish that came about in the same way.
    backlog_reply: Vec<Event>,
    /// Whether what was left by an earlier process, or by a caller that gave up, has been handed out again.
    resumed: bool,
    /// What is to be published is put into the outbox.
    outbox: bool,
    /// Largest events that the relays of these accounts take.
    invite_limits: HashMap<PublicKey, u64>,
    /// Whether the database came from a backup; that does not change while it is open.
    restored: bool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine(..)")
    }
}

impl Engine {
    /// Opens the account's database, creating it on first use.
    ///
    /// # Errors
    /// [`Error::Open`] for everything that can be wrong with file, key and lock; [`Error::WrongAccount`].
    pub fn open(
        path: &Path,
        keys: Keys,
        key: &DatabaseKey,
        options: &OpenOptions,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Self::start(Store::open(path, key, options)?, keys, config, clock)
    }

    /// An engine whose state is lost with it.
    ///
    /// # Errors
    /// [`Error::Open`] if SQLite is out of memory.
    pub fn in_memory(keys: Keys, config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::start(Store::in_memory()?, keys, config, clock)
    }

    fn start(mut store: Store, keys: Keys, config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let account = keys.public_key();
        // What can fail comes before the first write to a new database: until then it can be taken back.
        let known = vault::note_restore(&mut store).and_then(|restored| {
            let (identity, made) = Self::identity(&mut store, keys, clock.now())?;
            Ok((restored, identity, made))
        });
        let (restored, identity, made) = match known {
            Ok(known) => known,
            Err(error) => {
                store.take_back();
                return Err(error);
            }
        };
        debug_assert!(identity.account() == account);
        let cache = GroupCache::new(config.cached_groups);
        let mut engine = Self {
            store,
            identity,
            crypto: RustCrypto::default(),
            config,
            clock,
            cache,
            recent: Recent::default(),
            backlog: Vec::new(),
            backlog_reply: Vec::new(),
            resumed: false,
            outbox: false,
            invite_limits: HashMap::new(),
            restored,
        };
        if !made {
            engine.expire()?;
        }
        Ok(engine)
    }

    /// The account's identity in this database, and whether it was made for this call.
    fn identity(store: &mut Store, keys: Keys, now: u64) -> Result<(Identity, bool)> {
        match store.read(|tx| Identity::load(tx, &keys))? {
            Some(identity) => Ok((identity, false)),
            None => Ok((store.write(|tx| Identity::create(tx, keys, now))?, true)),
        }
    }

    /// Closes the database: checkpoint, files closed, lock released.
    ///
    /// # Errors
    /// [`Error::Store`] when the last checkpoint fails; nothing is lost by that.
    pub fn close(self) -> Result<()> {
        self.store.close()?;
        Ok(())
    }

    /// The account.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.identity.account()
    }

    /// Facts about the database.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn info(&mut self) -> Result<StoreInfo> {
        let info = self.store.info()?;
        Ok(StoreInfo {
            path: info.path,
            schema_version: info.schema_version,
            sqlcipher_version: info.sqlcipher_version,
            size_bytes: info.size_bytes,
            key_source: info.key_source,
            rekeyed_at: info.rekeyed_at,
        })
    }

    /// SHA-256 over all rows: equal digests mean equal logical state.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn digest(&mut self) -> Result<[u8; 32]> {
        Ok(self.store.digest()?)
    }

    /// Replaces the clock, for one call of `tick` or a replay.
    pub fn set_clock(&mut self, clock: Arc<dyn Clock>) -> Arc<dyn Clock> {
        std::mem::replace(&mut self.clock, clock)
    }

    /// Takes away what has had its time, so that nobody reads it between two ticks. (rule: 2.9-5)
    fn expire(&mut self) -> Result<()> {
        if self.look(|ctx| Ok(ctx.tx.expired(ctx.now())?.is_empty()))? {
            return Ok(());
        }
        self.act(|ctx| ctx.expire_messages())
    }

    /// What a transaction works with, apart from the transaction.
    fn parts(&mut self, reading: bool) -> (&mut Store, Parts<'_>) {
        let parts = Parts {
            identity: &self.identity,
            crypto: &self.crypto,
            config: &self.config,
            now_millis: self.clock.now_millis(),
            restored: self.restored,
            reading,
            cache: &mut self.cache,
            recent: &self.recent,
            outbox: self.outbox,
            invite_limits: &self.invite_limits,
        };
        (&mut self.store, parts)
    }

    /// One write transaction. On success the cache is kept, on failure what it touched is forgotten.
    fn write<T>(&mut self, f: impl FnOnce(&mut Ctx<'_, '_>) -> Result<T>) -> Result<(T, Effects)> {
        parallel::work_here();
        self.cache.keep();
        let (store, parts) = self.parts(false);
        let result = store.write(|tx| {
            let mut ctx = Ctx::new(tx, parts);
            let value = f(&mut ctx)?;
            Ok::<_, Error>((
                value,
                Effects { events: ctx.events, late: ctx.late, reply: ctx.reply },
            ))
        });
        match &result {
            Ok(_) => self.cache.keep(),
            Err(_) => self.cache.forget_since(0),
        }
        result
    }

    /// A write of the caller's own: what it does is in its result, and in the log. What it set free among held
    /// events is reported by the next `process` or `tick`.
    pub(crate) fn act<T>(&mut self, f: impl FnOnce(&mut Ctx<'_, '_>) -> Result<T>) -> Result<T> {
        let (value, effects) = self.write(f)?;
        self.backlog.extend(effects.late);
        self.backlog_reply.extend(effects.reply);
        Ok(value)
    }

    /// A read-only transaction.
    pub(crate) fn look<T>(&mut self, f: impl FnOnce(&mut Ctx<'_, '_>) -> Result<T>) -> Result<T> {
        let (store, parts) = self.parts(true);
        store.read(|tx| f(&mut Ctx::new(tx, parts)))
    }
}

/// Says what became of an event: names of states and rules, never what is in it.
fn log(verdict: &Verdict, events: usize) {
    match verdict {
        Verdict::Applied => tracing::debug!(events, "an event was applied"),
        Verdict::Duplicate => tracing::debug!("an event was seen before"),
        Verdict::Deferred(reason) => tracing::debug!(?reason, "an event was deferred"),
        Verdict::Rejected(rejection) => {
            tracing::debug!(
                code = rejection.code.as_str(),
                rule = rejection.rule,
                "an event was rejected"
            );
        }
    }
}

struct Effects {
    events: Vec<EngineEvent>,
    late: Vec<EngineEvent>,
    reply: Vec<Event>,
}

/// Messages and events.
impl Engine {
    /// Encrypts a message.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::NotMember`], [`Error::CommitPending`], [`Error::InvalidInput`];
    /// [`Error::MediaStale`] for a file that was encrypted in another epoch.
    pub fn create_message(&mut self, id: &GroupId, message: NewMessage) -> Result<Outgoing> {
        let outgoing = self.act(|ctx| ctx.create_message(id, message))?;
        self.recent.forget(id, &outgoing.message.attachments);
        Ok(outgoing)
    }

    /// Reacts to a message.
    ///
    /// # Errors
    /// As [`Engine::create_message`], and [`Error::MessageNotFound`].
    pub fn react(&mut self, id: &GroupId, target: &EventId, emoji: &str) -> Result<Outgoing> {
        self.act(|ctx| ctx.react(id, target, emoji))
    }

    /// Edits a message of ours.
    ///
    /// # Errors
    /// As [`Engine::react`], and [`Error::NotAllowed`] for others' messages and for what is deleted or no message.
    pub fn edit(&mut self, id: &GroupId, target: &EventId, text: &str) -> Result<Outgoing> {
        self.act(|ctx| ctx.edit(id, target, text))
    }

    /// Deletes a message of ours.
    ///
    /// # Errors
    /// As [`Engine::edit`].
    pub fn delete(&mut self, id: &GroupId, target: &EventId) -> Result<Outgoing> {
        self.act(|ctx| ctx.delete(id, target))
    }

    /// Encrypts a message, reaction, edit or deletion of ours once more, for when it may not have been published: another
    /// event with the same message id, so that it does no harm if it was. Nothing changes in the history.
    ///
    /// # Errors
    /// As [`Engine::edit`]; [`Error::NotAllowed`] too when it is deleted, lost with its branch or in the outbox;
    /// [`Error::MediaStale`] for one with files that was said in another epoch.
    pub fn resend(&mut self, id: &GroupId, message: &EventId) -> Result<Outgoing> {
        self.expire()?;
        self.act(|ctx| ctx.resend(id, message))
    }

    /// Processes one event in its JSON form. What peers send never is an error.
    ///
    /// # Errors
    /// [`Error::Store`] and faults of this machine; the event may be given again.
    pub fn process(&mut self, json: &[u8]) -> Result<Outcome> {
        match Event::from_json(json) {
            Ok(event) => self.process_event(event),
            // rule: D1-0 (strict JSON; the id and the signature verify)
            Err(error) => Ok(self.outcome(Err(error.into()), Vec::new(), Vec::new())),
        }
    }

    /// Processes one verified event.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub fn process_event(&mut self, event: Event) -> Result<Outcome> {
        // A rejected event rolls the whole transaction back: nothing is written, nothing is synced.
        let mut refused = None;
        let result = self.write(|ctx| match ctx.process_event(event) {
            Ok(verdict) => Ok(verdict),
            Err(halt::Halt::Failed(error)) => Err(error),
            Err(halt::Halt::Rejected(rejection)) => {
                refused = Some(rejection);
                Err(Error::Internal("rejected"))
            }
        });
        match (result, refused) {
            (_, Some(rejection)) => Ok(self.outcome(Err(rejection), Vec::new(), Vec::new())),
            (Ok((verdict, effects)), None) => {
                let events = [effects.events, effects.late].concat();
                Ok(self.outcome(Ok(verdict), events, effects.reply))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Processes many events in one transaction, a savepoint for each: Welcomes first, then those of groups, the oldest
    /// first. The outcomes are in the order of `events`.
    ///
    /// # Errors
    /// As [`Engine::process`]; then none of them took effect.
    pub fn process_many(&mut self, events: &[&[u8]]) -> Result<Vec<Outcome>> {
        self.process_batch(events.iter().map(|json| Incoming::Json(json)).collect())
    }

    /// Outcomes were lost before anybody read what they had to publish: the next [`Engine::tick`] hands it out again, as
    /// after a restart. What they told is in the log.
    pub fn hand_out_again(&mut self) {
        // What is in the outbox is published whoever reads of it.
        self.resumed &= self.outbox;
    }

    /// As [`Engine::process_many`], for events of which some are verified already.
    ///
    /// # Errors
    /// As [`Engine::process`]; then none of them took effect.
    pub fn process_batch(&mut self, events: Vec<Incoming<'_>>) -> Result<Vec<Outcome>> {
        let mut undo = Undo::Unneeded;
        let verdicts = match self.write(|ctx| ctx.batch(&events, &mut undo)) {
            Err(_) if undo == Undo::Needed => {
                undo = Undo::Savepoint;
                // What was dropped for its age is there again.
                self.cache.looked_for_old.clear();
                self.write(|ctx| ctx.batch(&events, &mut undo))?.0
            }
            result => result?.0,
        };
        Ok(verdicts.into_iter().map(|(v, events, reply)| self.outcome(v, events, reply)).collect())
    }

    /// Makes all open choices between branches now, without waiting for quiet: for use when a fetched history is
    /// complete. Reports what turns out to be lost.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn settle(&mut self) -> Result<Outcome> {
        let (_, effects) = self.write(|ctx| {
            for row in ctx.tx.groups()? {
                ctx.retry_held(&row.id)?;
                ctx.close_all(&row.id)?;
                let row = ctx.current_row(&row.id)?;
                ctx.report_gaps(&row)?;
            }
            Ok(())
        })?;
        let events = [effects.events, effects.late].concat();
        Ok(self.outcome(Ok(Verdict::Applied), events, effects.reply))
    }

    /// Does what time has made due: chooses between branches, answers leaves, retries held events, expires messages and
    /// KeyPackages, and tells of what was dropped unread after thirty days. The first call, and the first after [`Engine::hand_out_again`], hands out again what may not have been
    /// published: automatic commits, leave proposals, and the Welcomes of confirmed commits. Sending those twice does no harm.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn tick(&mut self) -> Result<Outcome> {
        let resumed = self.resumed;
        let (_, effects) = self.write(|ctx| {
            if !resumed {
                ctx.resume()?;
            }
            ctx.expire_welcomes()?;
            ctx.expire_messages()?;
            for row in ctx.tx.groups()? {
                if !resumed {
                    ctx.look_again(&row.id)?;
                }
                ctx.close_due(&row.id)?;
                ctx.retry_if_moved(&row.id)?;
                ctx.close_due(&row.id)?;
                let row = ctx.current_row(&row.id)?;
                ctx.wake_welcomes(&row.id)?;
                ctx.forget_left(&row)?;
            }
            ctx.wake_inputs()?;
            ctx.upkeep_key_packages()?;
            ctx.expire_key_packages()?;
            ctx.prune_outbox()
        })?;
        self.resumed = true;
        let events = [effects.events, effects.late].concat();
        Ok(self.outcome(Ok(Verdict::Applied), events, effects.reply))
    }

    fn outcome(
        &mut self,
        verdict: std::result::Result<Verdict, Rejection>,
        events: Vec<EngineEvent>,
        reply: Vec<Event>,
    ) -> Outcome {
        let mut all = std::mem::take(&mut self.backlog);
        all.extend(events);
        let mut replies = std::mem::take(&mut self.backlog_reply);
        replies.extend(reply);
        let verdict = verdict.unwrap_or_else(Verdict::Rejected);
        log(&verdict, all.len());
        Outcome { verdict, events: all, reply: replies }
    }

    /// A page of history in order of arrival.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::MessageNotFound`] for an unknown anchor.
    pub fn messages(
        &mut self,
        id: &GroupId,
        limit: u32,
        before: Option<&EventId>,
        after: Option<&EventId>,
    ) -> Result<Vec<Message>> {
        self.expire()?;
        self.look(|ctx| history::page(ctx.tx, id, limit, before, after))
    }

    /// One message.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::MessageNotFound`].
    pub fn message(&mut self, group: &GroupId, id: &EventId) -> Result<Message> {
        self.expire()?;
        self.look(|ctx| {
            ctx.row(group)?;
            let row = ctx.tx.message(group, id)?.ok_or(Error::MessageNotFound)?;
            history::view(ctx.tx, row)
        })
    }

    /// Messages whose text, as it is shown now, contains `query`, newest first.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] for an unknown group; [`Error::Store`].
    pub fn search(
        &mut self,
        query: &str,
        group: Option<&GroupId>,
        limit: u32,
    ) -> Result<Vec<Message>> {
        self.expire()?;
        self.look(|ctx| {
            if let Some(id) = group {
                ctx.row(id)?;
            }
            let rows = ctx.tx.search(query, group, limit)?;
            rows.into_iter().map(|row| history::view(ctx.tx, row)).collect()
        })
    }

    /// Marks the history read up to a message, or wholly.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::MessageNotFound`].
    pub fn mark_read(&mut self, id: &GroupId, upto: Option<&EventId>) -> Result<()> {
        self.act(|ctx| {
            let seq = match upto {
                Some(message) => ctx.tx.message(id, message)?.ok_or(Error::MessageNotFound)?.seq,
                None => ctx.tx.last_message(id)?.map_or(0, |m| m.seq),
            };
            if let Some(mut group) = ctx.cache.take(id) {
                group.row.last_read = group.row.last_read.max(seq);
                ctx.tx.update_group(&group.row)?;
                ctx.put(group);
            } else {
                let mut row = ctx.row(id)?;
                row.last_read = row.last_read.max(seq);
                ctx.tx.update_group(&row)?;
            }
            Ok(())
        })
    }

    /// The event log after a cursor (0 for all), oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn events(&mut self, after: i64, limit: u32) -> Result<Vec<EngineEvent>> {
        self.look(|ctx| {
            let me = ctx.identity.account();
            let (mut cursor, mut events) = (after, Vec::new());
            // Rows whose subject is gone give no event; the page is filled from those behind them.
            loop {
                let rows = ctx.tx.events_after(cursor, limit)?;
                for row in &rows {
                    if events.len() == limit as usize {
                        return Ok(events);
                    }
                    cursor = row.seq;
                    events.extend(event_log::read(ctx.tx, me, row)?);
                }
                if rows.is_empty() {
                    return Ok(events);
                }
            }
        })
    }

    /// Invites that wait for an answer, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn invites(&mut self) -> Result<Vec<Invite>> {
        self.look(|ctx| ctx.invites())
    }

    /// Accepts an invite.
    ///
    /// # Errors
    /// [`Error::InviteNotFound`].
    pub fn accept(&mut self, invite: &EventId) -> Result<GroupInfo> {
        self.act(|ctx| ctx.accept(invite))
    }

    /// Declines an invite and deletes what came with it.
    ///
    /// # Errors
    /// [`Error::InviteNotFound`].
    pub fn decline(&mut self, invite: &EventId) -> Result<()> {
        self.act(|ctx| ctx.decline(invite))
    }

    /// What to subscribe to, and where.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn interests(&mut self) -> Result<Vec<Interest>> {
        self.look(|ctx| ctx.interests())
    }
}
