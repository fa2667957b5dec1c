//! Accounts that can be opened again, and people who are ready.

use std::sync::Arc;

use mdk_client::ClientOptions;
use mdk_core::{Clock, Engine, SystemClock};
use mdk_store::{DatabaseKey, OpenOptions};
use mdk_wire::{GroupId, Keys, Secret};

use super::kit::{Person, config, options, pool};

/// An account in a file, which can be opened again and again.
pub struct Account {
    dir: tempfile::TempDir,
    pub keys: Keys,
}

impl Account {
    pub fn new() -> Self {
        Self::of(Keys::generate())
    }

    pub fn of(keys: Keys) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), keys }
    }

    pub fn engine(&self, clock: Arc<dyn Clock>) -> Engine {
        let (path, key) = (self.dir.path().join("mdk.db"), DatabaseKey::Raw(Secret::new([7; 32])));
        Engine::open(&path, self.keys.clone(), &key, &OpenOptions::default(), config(), clock)
            .unwrap()
    }

    pub async fn opens(&self, options: ClientOptions) -> Person {
        self.opens_at(Arc::new(SystemClock), options).await
    }

    /// With another time.
    pub async fn opens_at(&self, clock: Arc<dyn Clock>, options: ClientOptions) -> Person {
        Person::start(self.engine(clock), self.keys.clone(), options, pool()).await
    }
}

/// Accounts in memory that are ready.
pub async fn people<const N: usize>(relays: &[&str]) -> [Person; N] {
    let mut people = Vec::new();
    for _ in 0..N {
        people.push(Person::new(options(relays)).await);
    }
    for person in &people {
        person.ready().await;
    }
    people.try_into().unwrap_or_else(|_| unreachable!("as many as were made"))
}

/// Somebody who has started, once they are ready.
pub async fn ready(person: impl Future<Output = Person>) -> Person {
    let person = person.await;
    person.ready().await;
    person
}

/// Two people and their group, in which nothing commits by itself any more.
pub async fn pair(relays: &[&str]) -> (Person, Person, GroupId) {
    let [alice, bob] = people(relays).await;
    let group = alice.founds(relays, &[&bob]).await;
    bob.renewed(&group).await;
    alice.follows(&bob, &group).await;
    (alice, bob, group)
}
