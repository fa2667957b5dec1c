//! Which events a relay has, by id (NIP-77). We begin with an empty set: an account keeps the ids of events without their
//! times, so the relay names all of its own, and those that are known are left out afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mdk_wire::budget::relay::{RECONCILE_ROUNDS, RECONCILED_IDS};
use mdk_wire::{EventId, PublicKey};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Pool;
use super::command::Command;
use super::filters::Filter;
use super::rounds::{Round, Step};
use crate::error::{ClientError, Result};

/// How long a history waits for the relay's document, which says whether it offers this.
const OFFER: Duration = Duration::from_secs(1);

impl Pool {
    /// The ids of all events of a filter that the relay has. Each of its messages may take `patience`.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`]: no connection, or the relay does not offer it, or it failed before on this connection.
    /// [`ClientError::NoAnswer`]: it did not answer in time, or not as it has to; it is not asked again on this connection.
    /// [`ClientError::Refused`]: it refused, likewise.
    pub(crate) async fn ids_of(
        &self,
        url: &str,
        account: &PublicKey,
        filter_json: &str,
        patience: Duration,
    ) -> Result<Vec<EventId>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let filter = Filter::from_json(filter_json)?;
        let found =
            self.find(url, account, |handle| (handle.commands.clone(), handle.info.clone()));
        let (commands, info) = found.ok_or(ClientError::NotConnected)?;
        // A first connection asks for the document at the same time.
        let _ = timeout(OFFER, info.get()).await;
        let name = format!("n{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let send = |step| {
            let round = Round { account: *account, name: name.clone(), step };
            commands.send(Command::Reconcile(round.into())).map_err(|_| ClientError::NotConnected)
        };
        let (mut named, first) = ReconciledIds::nothing()?;
        let (reply, mut answer) = oneshot::channel();
        send(Step::Open(filter, first, reply))?;
        let read = loop {
            let message = match timeout(patience, answer).await {
                Ok(Ok(Ok(message))) => message,
                Ok(Ok(Err(reason))) => break Err(ClientError::Refused { reason }),
                Ok(Err(_)) => return Err(ClientError::NotConnected),
                Err(_) => break Err(ClientError::NoAnswer),
            };
            match named.read(&message) {
                Ok(None) => break Ok(named.ids),
                Ok(Some(next)) => {
                    let reply;
                    (reply, answer) = oneshot::channel();
                    send(Step::GoOn(next, reply))?;
                }
                Err(error) => break Err(error),
            }
        };
        send(Step::Close { failed: read.is_err() })?;
        Ok(read?.iter().map(|id| EventId::from_bytes(*id.as_bytes())).collect())
    }

    /// The relay named what it does not give: it is not reconciled with again on this connection.
    pub(crate) fn distrust_ids(&self, url: &str, account: &PublicKey) {
        if let Some(commands) = self.find(url, account, |handle| handle.commands.clone()) {
            let step = Step::Close { failed: true };
            let round = Round { account: *account, name: "n".to_owned(), step };
            let _ = commands.send(Command::Reconcile(round.into()));
        }
    }
}

/// The ids that a relay has named so far.
struct ReconciledIds {
    set: Negentropy<'static, NegentropyStorageVector>,
    ids: Vec<Id>,
    rounds: usize,
}

impl ReconciledIds {
    /// None so far; with the first message to the relay.
    fn nothing() -> Result<(Self, String)> {
        let mut storage = NegentropyStorageVector::new();
        storage.seal().map_err(no_answer)?;
        let mut set = Negentropy::owned(storage, 0).map_err(no_answer)?;
        let first = hex::encode(set.initiate().map_err(no_answer)?);
        Ok((Self { set, ids: Vec::new(), rounds: 0 }, first))
    }

    /// Reads a message of the relay; gives the next one to it, `None` at the end.
    fn read(&mut self, message: &str) -> Result<Option<String>> {
        let bytes = hex::decode(message).map_err(|_| ClientError::NoAnswer)?;
        let next = self
            .set
            .reconcile_with_ids(&bytes, &mut Vec::new(), &mut self.ids)
            .map_err(no_answer)?;
        self.rounds += 1;
        if self.ids.len() > RECONCILED_IDS || self.rounds > RECONCILE_ROUNDS {
            return Err(ClientError::NoAnswer);
        }
        Ok(next.map(hex::encode))
    }
}

fn no_answer(_: negentropy::Error) -> ClientError {
    ClientError::NoAnswer
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use mdk_relay::{Faults, LocalRelay, LocalRelayOptions};
    use mdk_wire::{Event, Keys, UnsignedEvent};
    use tokio::sync::mpsc;

    use super::*;
    use crate::options::PoolOptions;
    use crate::relay_pool::{Account, Arrived, Origin, Published};

    const SOON: Duration = Duration::from_secs(30);
    const ALL: &str = r#"{"kinds":[9]}"#;

    struct Reader {
        pool: Pool,
        keys: Keys,
        relay: LocalRelay,
        _arrived: mpsc::Receiver<Arrived>,
    }

    impl Reader {
        async fn of(options: LocalRelayOptions) -> Self {
            let (relay, keys) = (LocalRelay::start(options).await.unwrap(), Keys::generate());
            let options = PoolOptions { allow_loopback: true, ..PoolOptions::default() };
            let (pool, (sink, mut arrived)) = (Pool::new(options), mpsc::channel(16));
            let account = Account {
                public_key: keys.public_key(),
                sink,
                room: super::super::Room::default(),
                sign: Arc::new(|_| None),
                false_events: Arc::default(),
            };
            pool.open(relay.url(), Origin::User, &account).await.unwrap();
            assert!(matches!(arrived.recv().await, Some(Arrived::Connected { .. })));
            Self { pool, keys, relay, _arrived: arrived }
        }

        async fn publishes(&self, events: u64) -> Vec<EventId> {
            let (me, mut ids) = (self.keys.public_key(), Vec::new());
            for created_at in 0..events {
                let (tags, content) = (Vec::new(), String::new());
                let event = UnsignedEvent { pubkey: me, created_at, kind: 9, tags, content };
                let event: Event = event.sign(&self.keys);
                let said = self.pool.publish(self.relay.url(), &me, &event.to_json(), SOON).await;
                assert_eq!(said, Published::Accepted);
                ids.push(event.id());
            }
            ids.sort();
            ids
        }

        async fn ids(&self, patience: Duration) -> Result<Vec<EventId>> {
            let (url, me) = (self.relay.url(), self.keys.public_key());
            let mut ids = self.pool.ids_of(url, &me, ALL, patience).await?;
            ids.sort();
            Ok(ids)
        }
    }

    /// More than the relay names in one message.
    #[tokio::test]
    async fn a_relay_names_all_that_it_has() {
        let reader = Reader::of(LocalRelayOptions::default()).await;
        assert_eq!(reader.ids(SOON).await.unwrap(), []);
        let published = reader.publishes(1_100).await;
        assert_eq!(reader.ids(SOON).await.unwrap(), published);
    }

    #[tokio::test]
    async fn a_relay_that_does_not_offer_it_is_not_asked() {
        let without = LocalRelayOptions { reconciles: false, ..LocalRelayOptions::default() };
        let reader = Reader::of(without).await;
        assert!(matches!(reader.ids(SOON).await, Err(ClientError::NotConnected)));
    }

    #[tokio::test]
    async fn a_relay_that_is_silent_is_not_asked_again_on_this_connection() {
        let reader = Reader::of(LocalRelayOptions::default()).await;
        // (so the document is there)
        reader.ids(SOON).await.unwrap();
        let delay = Some(Duration::from_secs(2));
        reader.relay.faults(Faults { delay, ..Faults::default() });
        let silent = reader.ids(Duration::from_millis(10)).await;
        assert!(matches!(silent, Err(ClientError::NoAnswer)), "{silent:?}");
        reader.relay.faults(Faults::default());
        assert!(matches!(reader.ids(SOON).await, Err(ClientError::NotConnected)));
    }

    #[tokio::test]
    async fn a_relay_that_refuses_is_not_asked_again_on_this_connection() {
        let knows = LocalRelayOptions { require_auth: true, ..LocalRelayOptions::default() };
        let reader = Reader::of(knows).await;
        let refused = reader.ids(SOON).await;
        assert!(matches!(refused, Err(ClientError::Refused { .. })), "{refused:?}");
        assert!(matches!(reader.ids(SOON).await, Err(ClientError::NotConnected)));
    }

    #[test]
    fn a_relay_that_goes_on_for_ever_or_names_too_much_has_not_answered() {
        // Up to the end of time, something else than nothing; without an id.
        let differs = format!("61000001{}", "ab".repeat(16));
        let (mut named, _) = ReconciledIds::nothing().unwrap();
        for _ in 0..RECONCILE_ROUNDS {
            assert!(named.read(&differs).unwrap().is_some());
        }
        assert!(named.read(&differs).is_err());
        let (mut named, _) = ReconciledIds::nothing().unwrap();
        named.ids = vec![Id::from_byte_array([1; 32]); RECONCILED_IDS - 1];
        let one = format!("6100000201{}", "cd".repeat(32));
        assert_eq!(named.read(&one).unwrap(), None);
        assert!(named.read(&one).is_err());
        for garbage in ["", "6", "zz", "60", "61", "6100", "610000", "6100000209"] {
            let _ = named.read(garbage);
        }
    }
}
