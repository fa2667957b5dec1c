//! The outbox and the small durable values, as whoever moves the events sees them.

use std::path::Path;
use std::sync::Arc;

use mdk_store::{DatabaseKey, OpenOptions, Store};
use mdk_wire::{Event, EventId, Keys, PublicKey};

use super::Engine;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::outgoing::{
    CommitState, MAX_STATE_BYTES, MAX_STATE_KEY, OutboxChange, OutboxItem, RelayVerdict,
};
use crate::values::Message;

/// The outbox. One call is one transaction.
impl Engine {
    /// From now on everything that is to be published is put into the outbox by the transaction that makes it. Off when
    /// an engine is opened; what an earlier process put in is there all the same.
    pub fn enable_outbox(&mut self) {
        self.outbox = true;
    }

    /// Says how large an event the relays take that an account's invites go to (NIP-11), bytes; `None` when they do not
    /// say. Kept in memory. An invite that is larger is [`Error::GroupTooLarge`], and its commit is not made.
    pub fn set_invite_limit(&mut self, account: PublicKey, limit: Option<u64>) {
        /// Accounts; those before are forgotten then, and may be asked for again.
        const MOST: usize = 10_000;
        if self.invite_limits.len() >= MOST {
            self.invite_limits.clear();
        }
        match limit {
            Some(limit) => self.invite_limits.insert(account, limit),
            None => self.invite_limits.remove(&account),
        };
    }

    /// What is to be published, in the order in which it is to be. A message that waited until nobody could read it any
    /// more, and that no relay is known to have, is encrypted again: as another event with the same message id. One that
    /// waited for a day goes out as another event around the same encrypted bytes, dated now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn outbox(&mut self, limit: u32) -> Result<Vec<OutboxItem>> {
        let (items, late) = self.look_now(|ctx| ctx.outbox(limit))?;
        if late.is_empty() {
            return Ok(items);
        }
        self.act(|ctx| ctx.renew_late(&late))?;
        Ok(self.look(|ctx| ctx.outbox(limit))?.0)
    }

    /// Whether an event is in the outbox and not finished.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn outbox_has(&mut self, event: &EventId) -> Result<bool> {
        self.look(|ctx| ctx.outbox_has(event))
    }

    /// Place of the first unfinished event at `from` or behind it that no relay has: to see an outbox empty without
    /// reading all of it each time.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn outbox_next(&mut self, from: i64) -> Result<Option<i64>> {
        self.look(|ctx| ctx.outbox_next(from))
    }

    /// Says where an event goes. Relays that were named before keep what they said; those that are not named any more
    /// are given up, unless they have the event.
    ///
    /// # Errors
    /// [`Error::InvalidRelayUrl`], [`Error::InvalidInput`] for more than 64. An event that is not there any more is no
    /// error.
    pub fn set_outbox_relays(&mut self, seq: i64, relays: &[String]) -> Result<()> {
        self.act(|ctx| ctx.set_outbox_relays(seq, relays))
    }

    /// What one relay answered. The first that accepts makes a message delivered and a commit true; when all refused, a
    /// message failed and a commit is discarded. An event that is not there any more is no error.
    ///
    /// # Errors
    /// [`Error::Store`] and faults of this machine: nothing was changed, and the answer may be given again.
    pub fn outbox_result(
        &mut self,
        seq: i64,
        relay: &str,
        verdict: RelayVerdict,
    ) -> Result<OutboxChange> {
        self.act(|ctx| ctx.outbox_result(seq, relay, verdict))
    }

    /// Those of `events` that came back from a relay and for which that says something new: see
    /// [`Engine::outbox_echo`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn outbox_awaits(&mut self, events: &[EventId]) -> Result<Vec<EventId>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        self.look(|ctx| ctx.outbox_awaits(events))
    }

    /// An event of ours came back from `relay`, which therefore has it: the same as an answer that accepts, also for a
    /// message that has failed. `same` says whether a target is that relay, for addresses that are spelled differently.
    ///
    /// # Errors
    /// As [`Engine::outbox_result`].
    pub fn outbox_echo(
        &mut self,
        event: &EventId,
        relay: &str,
        same: impl Fn(&str) -> bool,
    ) -> Result<OutboxChange> {
        self.act(|ctx| ctx.outbox_echo(event, relay, &same))
    }

    /// Messages of ours that no relay has yet, and that have not failed, in the order of sending.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn outbox_messages(&mut self) -> Result<Vec<Message>> {
        self.look_now(|ctx| ctx.outbox_messages())
    }

    /// Tries a failed message again, at all its relays and with the same bytes; returns it as it waits now.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`] when the outbox does not have it; [`Error::NotAllowed`] when it has not failed;
    /// [`Error::NotMember`] when we are no longer in its group.
    pub fn outbox_retry(&mut self, message: &EventId) -> Result<Message> {
        self.act(|ctx| ctx.outbox_retry(message))
    }

    /// Takes back a message that no relay is known to have; false when one has it, or the outbox does not know it. An
    /// attempt under way may reach a relay all the same.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] for a deletion: here it has happened.
    pub fn outbox_cancel(&mut self, message: &EventId) -> Result<bool> {
        self.act(|ctx| ctx.outbox_cancel(message))
    }

    /// What relays said against a message: URL and words. Remembered for 30 days.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn delivery_errors(&mut self, message: &EventId) -> Result<Vec<(String, String)>> {
        self.look(|ctx| ctx.delivery_errors(message))
    }

    /// How a commit of ours stands.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn commit_state(&mut self, pending: i64) -> Result<CommitState> {
        self.look(|ctx| ctx.commit_state(pending))
    }

    /// Puts an event of the caller's own making in: relay lists, a profile. Does so whether the outbox is enabled or
    /// not; an event that is there already is left as it is.
    ///
    /// # Errors
    /// [`Error::OutboxFull`], [`Error::InvalidRelayUrl`].
    pub fn enqueue(&mut self, event: &Event, relays: &[String]) -> Result<()> {
        self.act(|ctx| ctx.enqueue(event, relays))
    }
}

/// Small durable values, in a table of their own.
impl Engine {
    /// The value that was stored under `key`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        self.look(|ctx| Ok(ctx.tx.client_state(key)?))
    }

    /// Stores a value of at most 1 MiB under a key of 1 to 256 bytes; `None` removes it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`].
    pub fn set_state(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        if key.is_empty() {
            return Err(Error::empty("key", "empty"));
        }
        if key.len() > MAX_STATE_KEY {
            return Err(Error::too_large("key", MAX_STATE_KEY, key.len()));
        }
        if let Some(value) = value.filter(|value| value.len() > MAX_STATE_BYTES) {
            return Err(Error::too_large("value", MAX_STATE_BYTES, value.len()));
        }
        self.act(|ctx| Ok(ctx.tx.set_client_state(key, value)?))
    }

    /// The values whose keys begin with `prefix`, by key.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn states(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.look(|ctx| Ok(ctx.tx.client_states(prefix)?))
    }
}

/// The account's keys.
impl Engine {
    /// Opens the account's database as [`Engine::open`] does. Without `keys` those that it keeps are used; a new
    /// database gets new ones and keeps them.
    ///
    /// # Errors
    /// As [`Engine::open`], and [`Error::KeysMissing`] when the database keeps none.
    pub fn open_account(
        path: &Path,
        keys: Option<Keys>,
        key: &DatabaseKey,
        options: &OpenOptions,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let mut store = Store::open(path, key, options)?;
        let keys = match keys {
            Some(keys) => keys,
            None => kept_keys(&mut store, clock.now())?,
        };
        Self::start(store, keys, config, clock)
    }

    /// Leaves the account's keys in the database: whoever can open it owns the account from now on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn keep_keys(&mut self) -> Result<()> {
        let Self { store, identity, .. } = self;
        store.write(|tx| Ok(tx.keep_account_secret(identity.keys.secret())?))
    }

    /// The account's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.identity.keys
    }
}

/// The keys that the database keeps; a new database gets some, in one transaction with the account that they make.
fn kept_keys(store: &mut Store, now: u64) -> Result<Keys> {
    let kept = store.read(|tx| {
        let secret = tx.account_secret()?;
        Ok::<_, Error>((secret, Identity::is_there(tx)?))
    })?;
    match kept {
        (Some(secret), _) => {
            Keys::from_secret(secret).map_err(|_| Error::Unrecoverable("the account's key"))
        }
        (None, true) => Err(Error::KeysMissing),
        (None, false) => {
            let keys = Keys::generate();
            store.write(|tx| {
                tx.keep_account_secret(keys.secret())?;
                Identity::create(tx, keys.clone(), now)
            })?;
            Ok(keys)
        }
    }
}
