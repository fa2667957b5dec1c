//! People with clients of their own, over real engines and real relays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mdk_client::{Client, ClientOptions, EngineAccess, Pool, PoolOptions, SharedEngine};
use mdk_core::{
    Clock, Config, Engine, Error, EventBody, GroupInfo, GroupUpdate, Message, NewGroup, NewMessage,
    SystemClock,
};
use mdk_relay::{LocalRelay, LocalRelayOptions};
use mdk_wire::{Event, EventId, GroupId, Keys, PublicKey};

pub use super::accounts::{Account, pair, people, ready};
pub use crate::kit::by;

/// Nothing in these tests takes as long, on however busy a machine.
pub const LONG: Duration = Duration::from_secs(60);

pub fn pool() -> Pool {
    pool_with(PoolOptions::default().keepalive)
}

/// Pings whatever has been silent for so long.
pub fn pool_with(keepalive: Duration) -> Pool {
    Pool::new(PoolOptions {
        keepalive,
        allow_loopback: true,
        reconnect_min: Duration::from_millis(20),
        reconnect_max: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(5),
        ..PoolOptions::default()
    })
}

pub fn options(relays: &[&str]) -> ClientOptions {
    ClientOptions {
        relays: relays.iter().map(|&relay| relay.to_owned()).collect(),
        request_timeout: Duration::from_secs(5),
        retry_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(300),
        tick_every: Duration::from_millis(50),
        speak_after: Duration::ZERO,
        self_update_after_join: Duration::from_millis(30),
        renew_when_quiet_for: Duration::ZERO,
        ..ClientOptions::default()
    }
}

pub async fn relay() -> LocalRelay {
    LocalRelay::start(LocalRelayOptions::default()).await.unwrap()
}

/// Waits until something is true of what the relay has.
pub async fn until(relay: &LocalRelay, what: &str, mut f: impl FnMut() -> bool) {
    let mut changes = relay.changes();
    soon(what, async {
        while !f() {
            changes.changed().await.unwrap();
        }
    })
    .await;
}

/// Waits for `future` as long as is reasonable.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("too slow: {what}"))
}

pub struct Person {
    pub client: Client,
    pub engine: Arc<SharedEngine>,
    pub keys: Keys,
    pub pool: Pool,
}

impl Person {
    /// An account in memory, started.
    pub async fn new(options: ClientOptions) -> Self {
        Self::at(Arc::new(SystemClock), options).await
    }

    /// An account in memory whose engine has another time.
    pub async fn at(clock: Arc<dyn Clock>, options: ClientOptions) -> Self {
        Self::made(clock, config(), options, pool()).await
    }

    /// An account in memory with connections of its own.
    pub async fn over(pool: Pool, options: ClientOptions) -> Self {
        Self::made(Arc::new(SystemClock), config(), options, pool).await
    }

    pub async fn made(
        clock: Arc<dyn Clock>,
        config: Config,
        options: ClientOptions,
        pool: Pool,
    ) -> Self {
        let keys = Keys::generate();
        let engine = Engine::in_memory(keys.clone(), config, clock).unwrap();
        Self::start(engine, keys, options, pool).await
    }

    pub async fn start(engine: Engine, keys: Keys, options: ClientOptions, pool: Pool) -> Self {
        let engine = SharedEngine::new(engine);
        let client = Client::new(engine.clone(), keys.clone(), options, pool.clone()).unwrap();
        client.start().await.unwrap();
        Self { client, engine, keys, pool }
    }

    pub fn key(&self) -> PublicKey {
        self.keys.public_key()
    }

    pub async fn ready(&self) {
        match tokio::time::timeout(LONG, self.client.ready()).await {
            Ok(ready) => ready.unwrap(),
            Err(_) => panic!("not ready; {:?}; {:?}", self.client.stats(), self.client.status()),
        }
    }

    /// Uses the engine as a program does. Tests run on several threads.
    pub fn with<T>(&self, f: impl FnOnce(&mut Engine) -> T + Send) -> T
    where
        T: Send,
    {
        let mut result = None;
        self.engine.run(Box::new(|engine| result = Some(f(engine)))).unwrap();
        result.unwrap()
    }

    /// Waits until `f` gives something; looks whenever the client says that something changed.
    pub async fn until<T: Send>(
        &self,
        what: &str,
        mut f: impl FnMut(&mut Engine) -> Option<T> + Send,
    ) -> T {
        let mut changes = self.client.changes();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(value) = self.with(&mut f) {
                    return value;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(LONG, wait).await {
            Ok(value) => value,
            Err(_) => {
                panic!("too slow: {what}; {:?}; {:?}", self.client.stats(), self.client.status())
            }
        }
    }

    pub fn group(&self, group: &GroupId) -> GroupInfo {
        self.with(|engine| engine.group(group)).unwrap()
    }

    /// Waits until the group is so.
    pub async fn sees(
        &self,
        what: &str,
        group: &GroupId,
        is: impl Fn(&GroupInfo) -> bool + Send + Sync,
    ) {
        self.until(what, |engine| is(&engine.group(group).unwrap()).then_some(())).await;
    }

    /// Waits until the group is where the other one has it.
    pub async fn follows(&self, other: &Self, group: &GroupId) {
        let epoch = other.group(group).epoch;
        self.sees("the epoch of another member", group, |group| group.epoch == epoch).await;
    }

    /// Steps that its database has taken, which are the same on a busy machine.
    pub fn steps(&self) -> u64 {
        self.with(mdk_core::testing::store_steps).unwrap()
    }

    pub async fn key_package_of(&self, who: &Person) -> Event {
        let who = who.key();
        let found = soon("key packages", self.client.find_key_packages(&who, &[])).await.unwrap();
        self.with(|engine| engine.select_key_package(&found)).unwrap().expect("a usable one")
    }

    /// Founds a group with others, who join.
    pub async fn founds(&self, relays: &[&str], others: &[&Person]) -> GroupId {
        let mut members = Vec::new();
        for other in others {
            members.push(self.key_package_of(other).await);
        }
        let group = self.creates(relays, members).await;
        for other in others {
            assert_eq!(other.joins().await, group);
        }
        group
    }

    /// Founds a group with those whose KeyPackages these are.
    pub async fn creates(
        &self,
        relays: &[&str],
        members: impl IntoIterator<Item = Event>,
    ) -> GroupId {
        let new = NewGroup {
            name: "group".to_owned(),
            relays: relays.iter().map(|&relay| relay.to_owned()).collect(),
            members: members.into_iter().collect(),
            ..NewGroup::default()
        };
        let founding = self.commit(move |engine| engine.create_group(new.clone()));
        soon("founding", founding).await.unwrap().id
    }

    pub async fn commit(
        &self,
        f: impl FnMut(&mut Engine) -> mdk_core::Result<mdk_core::Pending> + Send + 'static,
    ) -> mdk_client::Result<GroupInfo> {
        self.client.commit(f).await
    }

    /// Commits to new keys.
    pub async fn self_updates(&self, group: &GroupId) {
        let group = group.clone();
        let commit = self.commit(move |engine| engine.self_update(&group));
        soon("a commit", commit).await.unwrap();
    }

    pub async fn renames(&self, group: &GroupId, name: &str) -> mdk_client::Result<GroupInfo> {
        let (group, name) = (group.clone(), name.to_owned());
        let commit = self.commit(move |engine| {
            let update = GroupUpdate { name: Some(name.clone()), ..GroupUpdate::default() };
            engine.update_group(&group, update)
        });
        soon("a new name", commit).await
    }

    /// Adds somebody by a KeyPackage.
    pub async fn adds(&self, group: &GroupId, package: &Event) -> mdk_client::Result<GroupInfo> {
        let (group, package) = (group.clone(), package.clone());
        let commit = self.commit(move |engine| {
            engine.add_members(&group, std::slice::from_ref(&package), false)
        });
        soon("an addition", commit).await
    }

    pub async fn removes(&self, group: &GroupId, who: PublicKey) {
        let group = group.clone();
        let commit = self.commit(move |engine| engine.remove_members(&group, &[who]));
        soon("a removal", commit).await.unwrap();
    }

    /// Accepts the next invite.
    pub async fn joins(&self) -> GroupId {
        let invite = self.until("invite", |engine| engine.invites().unwrap().pop()).await;
        let group = self.with(|engine| engine.accept(&invite.id)).unwrap().id;
        self.client.nudge();
        group
    }

    /// Until every leaf has keys of its own choice: nothing commits by itself after that.
    pub async fn renewed(&self, group: &GroupId) {
        self.until("self-update", |engine| {
            let due = engine.needs_self_update(7 * 86_400).unwrap();
            (!due.contains(group)).then_some(())
        })
        .await;
    }

    /// Until each of the others, who have just joined the group that this one founded with them, has committed to a key of
    /// its own choice, and all know it. One who commits earlier may lose to one of those.
    pub async fn settles_with(&self, group: &GroupId, others: &[&Self]) {
        // (two of them may commit beside each other, and one do it again)
        let all_committed = 1 + others.len() as u64;
        for person in others.iter().copied().chain([self]) {
            let there = |group: &GroupInfo| group.epoch >= all_committed;
            person.sees("everybody's self-update", group, there).await;
            person.renewed(group).await;
        }
    }

    /// Sends, as soon as the group can be written in.
    pub async fn says(&self, group: &GroupId, text: &str) -> EventId {
        let mut changes = self.client.changes();
        let sending = async {
            loop {
                changes.borrow_and_update();
                let new = NewMessage { text: text.to_owned(), kind: 9, ..NewMessage::default() };
                let pause = match self.with(|engine| engine.create_message(group, new)) {
                    Ok(outgoing) => return outgoing.message.id,
                    // A group settles by time alone; the other ends with an event.
                    Err(Error::Settling { millis }) => Duration::from_millis(millis),
                    Err(Error::CommitPending) => LONG,
                    Err(error) => panic!("{error}"),
                };
                let _ = tokio::time::timeout(pause, changes.changed()).await;
            }
        };
        let id = soon("sending", sending).await;
        self.client.nudge();
        id
    }

    pub fn history(&self, group: &GroupId) -> Vec<Message> {
        self.with(|engine| engine.messages(group, 100_000, None, None)).unwrap()
    }

    pub fn texts(&self, group: &GroupId) -> Vec<String> {
        self.history(group).into_iter().map(|message| message.text).collect()
    }

    /// Waits until exactly these are there, in any order, and each once.
    pub async fn reads(&self, group: &GroupId, texts: &[impl AsRef<str>]) {
        let mut wanted: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        wanted.sort_unstable();
        self.until(&format!("reading {} messages", texts.len()), |engine| {
            let messages = engine.messages(group, 100_000, None, None).unwrap();
            (messages.len() >= wanted.len()).then_some(())
        })
        .await;
        let mut texts = self.texts(group);
        texts.sort_unstable();
        assert_eq!(texts, wanted);
    }

    /// Texts of others' `MessageReceived` events, so each time that a program is told of a message.
    pub fn told(&self) -> Vec<String> {
        let events = self.with(|engine| engine.events(0, 1_000_000)).unwrap();
        let texts = events.into_iter().filter_map(|event| match event.body {
            EventBody::MessageReceived { message } if !message.is_mine => Some(message.text),
            _ => None,
        });
        texts.collect()
    }

    /// As [`Person::told`], without what was taken back: said again on the branch that won, it is told again.
    pub fn told_for_good(&self) -> Vec<String> {
        let mut told = Vec::new();
        for event in self.with(|engine| engine.events(0, 1_000_000)).unwrap() {
            match event.body {
                EventBody::MessageReceived { message } if !message.is_mine => {
                    told.push((message.id, message.text));
                }
                EventBody::MessagesInvalidated { message_ids } => {
                    told.retain(|(id, _)| !message_ids.contains(id));
                }
                _ => {}
            }
        }
        told.into_iter().map(|(_, text)| text).collect()
    }

    /// Waits until the outbox has nothing that a relay could still take.
    pub async fn sent(&self) {
        self.until("empty outbox", |engine| engine.outbox(1).unwrap().is_empty().then_some(()))
            .await;
    }

    /// Closes without a wait for what is not sent.
    pub async fn breaks_off(self) -> Engine {
        soon("closing", self.client.close(Duration::ZERO)).await;
        self.engine.take().unwrap()
    }

    pub async fn close(self) -> Engine {
        soon("closing", self.client.close(Duration::from_secs(10))).await;
        self.engine.take().unwrap()
    }
}

/// The system's time, half an hour ago, and a little faster with each message: what takes a moment here has taken its
/// time. Shared by all who take part.
#[derive(Default)]
pub struct Paced(AtomicU64);

impl Paced {
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Paced {
    fn now_millis(&self) -> u64 {
        SystemClock.now_millis() - 1_800_000 + self.0.load(Ordering::SeqCst)
    }
}

pub fn config() -> Config {
    let mut config = Config::default();
    config.settling.quiet_millis = 100;
    config.settling.max_millis = 500;
    config
}
