//! The engine: one account, and one call as one transaction.
//!
//! - the public methods, by subject: `api`
//! - the context of one call, and what it makes due elsewhere: `ctx`, `follow_ups`
//! - events that come: several at once, one at a time: `batch`, `attempt`
//! - sending: its order, and the answers of relays: `sending_order`, `relay_answers`
//! - what time makes due: `tick`

pub(crate) mod api;
pub(crate) mod attempt;
pub(crate) mod batch;
pub(crate) mod ctx;
pub(crate) mod follow_ups;
pub(crate) mod relay_answers;
pub(crate) mod sending_order;
pub(crate) mod tick;

use std::path::Path;
use std::sync::Arc;

use mdk_store::{DatabaseKey, OpenOptions, Store, StoreError};
use mdk_wire::{Event, GroupId, Keys, NostrGroupId, PublicKey};
use openmls_rust_crypto::RustCrypto;

use crate::engine::ctx::{Ctx, Parts};
use crate::engine::follow_ups::Due;
use crate::mls::identity::Identity;
use crate::mls::loaded_groups::LoadedGroups;
use crate::mls::parallel;
use crate::model::call::Call;
use crate::model::clock::Clock;
use crate::model::config::Config;
use crate::model::effects::Effects;
use crate::model::error::{Error, Result};
use crate::model::hints::Hints;
use crate::model::outcome::{Outcome, Rejection, Verdict};
use crate::model::values::{EngineEvent, StoreInfo};
use crate::operations::expire_messages;
use crate::state_store::after_restore;
use crate::state_store::memory::Memory;

/// One account's protocol engine: events in, events out. No sockets, no threads.
///
/// Each call can fail with [`Error::Store`]; a call that has other errors names them.
pub struct Engine {
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) crypto: RustCrypto,
    config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    loaded: LoadedGroups,
    memory: Memory,
    /// Effects of buffered messages outside a `process` call; reported by the next that changes something.
    backlog: Effects,
    /// Whether events that an earlier process, or a caller that gave up, has left were handed out again.
    resumed: bool,
    /// Events to publish are put into the outbox.
    outbox: bool,
    /// Whether the database came from a backup; that does not change while it is open.
    restored: bool,
    hints: Hints,
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

    pub(crate) fn start(
        mut store: Store,
        keys: Keys,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let account = keys.public_key();
        // Calls that can fail come before the first write to a new database: until then it can be taken back.
        let known = after_restore::note_restore(&mut store).and_then(|restored| {
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
        let loaded = LoadedGroups::new(config.cached_groups);
        let mut engine = Self {
            store,
            identity,
            crypto: RustCrypto::default(),
            config,
            clock,
            loaded,
            memory: Memory::default(),
            backlog: Effects::default(),
            resumed: false,
            outbox: false,
            restored,
            hints: Hints::default(),
        };
        match if made { Ok(()) } else { engine.expire() } {
            // Without room to write the expiry down, each read leaves expired messages out.
            Err(Error::Store(StoreError::DiskFull)) => {}
            expired => expired?,
        }
        Ok(engine)
    }

    /// The account's identity in this database, and whether it was made for this call.
    pub(crate) fn identity(store: &mut Store, keys: Keys, now: u64) -> Result<(Identity, bool)> {
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

    /// Whether a re-key that failed has closed the database. Every call ends with [`mdk_store::StoreError::Closed`] then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.store.is_closed()
    }

    /// The account.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.identity.account()
    }

    /// Facts about the database.
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
    pub fn digest(&mut self) -> Result<[u8; 32]> {
        Ok(self.store.digest()?)
    }

    /// The time that the engine goes by, Unix seconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// As [`Engine::now`], Unix milliseconds.
    #[must_use]
    pub fn time_millis(&self) -> u64 {
        self.clock.now_millis()
    }

    /// Replaces the clock, for one call of `tick` or a replay.
    pub fn set_clock(&mut self, clock: Arc<dyn Clock>) -> Arc<dyn Clock> {
        std::mem::replace(&mut self.clock, clock)
    }

    /// As [`Engine::look`], after expired messages are taken away. If that cannot be written down, on a full disk, it
    /// is done for this one read alone.
    pub(crate) fn look_now<T>(&mut self, f: impl FnOnce(&mut Ctx<'_>) -> Result<T>) -> Result<T> {
        if self.expire().is_ok() {
            return self.look(f);
        }
        let mut found = None;
        let undone = self.write(|ctx| {
            expire_messages::expire_messages(&mut ctx.work.records)?;
            found = Some(f(ctx)?);
            Err::<(), _>(Error::Internal("rolled back"))
        });
        match (found, undone) {
            (Some(value), _) => Ok(value),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(Error::Internal("nothing was read")),
        }
    }

    /// The parts of a transaction, apart from the transaction itself.
    fn parts(&mut self, reading: bool) -> (&mut Store, Parts<'_>) {
        let parts = Parts {
            identity: &self.identity,
            crypto: &self.crypto,
            call: Call {
                keys: &self.identity.keys,
                config: &self.config,
                hints: &self.hints,
                now_millis: self.clock.now_millis(),
                restored: self.restored,
                reading,
                outbox: self.outbox,
            },
            loaded: &mut self.loaded,
            memory: &mut self.memory,
        };
        (&mut self.store, parts)
    }

    /// One write transaction. The cache is kept on success; on failure, groups that it touched are forgotten.
    pub(crate) fn write<T>(
        &mut self,
        f: impl FnOnce(&mut Ctx<'_>) -> Result<T>,
    ) -> Result<(T, Effects)> {
        parallel::work_here();
        self.memory.committed();
        let (store, parts) = self.parts(false);
        let began = parts.call.now_millis;
        let result = store.write(|tx| {
            let mut ctx = Ctx::new(tx, parts);
            let value = f(&mut ctx)?;
            Ok::<_, Error>((value, std::mem::take(&mut ctx.work.records.effects)))
        });
        match &result {
            Ok((_, effects)) => {
                self.backlog.publish.retain(|event| !effects.withheld.contains(&event.id()));
                self.memory.committed();
            }
            Err(_) => {
                self.memory.rows.forget_since(0);
                self.memory.rolled_back();
            }
        }
        self.loaded.let_go(&mut self.memory.rows);
        self.hints.worked.note(began, self.clock.now_millis());
        result
    }

    /// A write of the caller's own, with its follow-ups. Its effects are in its result, and in the log. Held events
    /// that it set free are reported by the next `process` that changes something, or `tick`.
    pub(crate) fn act<T>(&mut self, f: impl FnOnce(&mut Ctx<'_>) -> Result<T>) -> Result<T> {
        let (value, effects) = self.write(|ctx| {
            let value = f(ctx)?;
            ctx.work_off(Due::All)?;
            Ok(value)
        })?;
        self.hand_on(effects);
        Ok(value)
    }

    /// As [`Engine::act`], for a commit of ours: the pass of its group is closed first if it is due.
    pub(crate) fn commit<T>(
        &mut self,
        id: &GroupId,
        f: impl FnOnce(&mut Ctx<'_>) -> Result<T>,
    ) -> Result<T> {
        self.act(|ctx| {
            ctx.close_to_commit(id)?;
            f(ctx)
        })
    }

    /// As [`Engine::commit`], for a message of ours.
    pub(crate) fn speak<T>(
        &mut self,
        id: &GroupId,
        f: impl FnOnce(&mut Ctx<'_>) -> Result<T>,
    ) -> Result<T> {
        self.act(|ctx| {
            ctx.close_to_speak(id)?;
            f(ctx)
        })
    }

    pub(crate) fn hand_on(&mut self, effects: Effects) {
        self.backlog.told.extend(effects.told_later);
        self.backlog.publish.extend(effects.publish);
    }

    /// Forgets the memory of a group that was deleted.
    pub(crate) fn let_go(&mut self, id: &GroupId, routes: &[NostrGroupId]) {
        self.memory.recent.forget_group(id);
        self.hints.more.remove(id);
        self.memory.undecided.remove(id);
        self.backlog.told.retain(|event| event.group_id.as_ref() != Some(id));
        let routes: Vec<String> = routes.iter().map(NostrGroupId::to_hex).collect();
        self.backlog.publish.retain(|event| {
            let names = |tag: &Vec<String>| tag.get(1).is_some_and(|value| routes.contains(value));
            !event.tags().iter().any(names)
        });
    }

    /// A read-only transaction.
    pub(crate) fn look<T>(&mut self, f: impl FnOnce(&mut Ctx<'_>) -> Result<T>) -> Result<T> {
        let (store, parts) = self.parts(true);
        let began = parts.call.now_millis;
        let result = store.read(|tx| f(&mut Ctx::new(tx, parts)));
        self.hints.worked.note(began, self.clock.now_millis());
        result
    }

    pub(crate) fn outcome(
        &mut self,
        verdict: std::result::Result<Verdict, Rejection>,
        events: Vec<EngineEvent>,
        reply: Vec<Event>,
    ) -> Outcome {
        let verdict = verdict.unwrap_or_else(Verdict::Rejected);
        // A verdict that nothing changed brings no news of something else.
        let (mut all, mut replies) = match verdict {
            Verdict::Applied => {
                (std::mem::take(&mut self.backlog.told), std::mem::take(&mut self.backlog.publish))
            }
            _ => (Vec::new(), Vec::new()),
        };
        all.extend(events);
        replies.extend(reply);
        log(&verdict, all.len());
        Outcome { verdict, events: all, reply: replies }
    }

    /// Takes away messages whose time has come, so that nobody reads them between two ticks. (rule: 2.9-5) A read has
    /// no outcome: the next outcome tells of it.
    pub(crate) fn expire(&mut self) -> Result<()> {
        if self
            .look(|ctx| Ok(ctx.work.records.tx.expired(ctx.work.records.now(), 1)?.is_empty()))?
        {
            return Ok(());
        }
        let ((), effects) =
            self.write(|ctx| expire_messages::expire_messages(&mut ctx.work.records))?;
        self.backlog.told.extend([effects.told, effects.told_later].concat());
        self.backlog.publish.extend(effects.publish);
        Ok(())
    }
}

/// Logs the result of an event: names of states and rules, never its content.
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
