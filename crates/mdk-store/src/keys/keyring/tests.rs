//! Tests against a store with the rare faults of real ones: it hangs in the middle, lies, carries secrets in its
//! errors.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, mpsc},
};

use keyring_core::{
    Credential, CredentialPersistence, Entry, Error, Result,
    api::{CredentialApi, CredentialStoreApi},
};

use super::*;

type SecretText = Vec<u8>;

/// The fault of the store.
enum Quirk {
    None,
    /// `set_secret` waits for a word before it stores, and sends another one after it.
    Hangs(Mutex<mpsc::Receiver<()>>),
    /// It stores something else.
    Garbles,
    /// It stores, and then fails with the secret in the error.
    Leaks,
    /// Every read says that it is locked.
    Locked,
    Forgets,
    /// Two callers that look for a key at once both find none. The second stores after the first has finished.
    Meets(Mutex<Meeting>, Condvar),
}

#[derive(Default)]
struct Meeting {
    looked: u8,
    stored: u8,
    done: u8,
}

/// The time that one caller waits for another one that may never come.
const OPPORTUNITY: Duration = Duration::from_millis(500);

impl Fake {
    /// Notes a step of a meeting. Then lets the other callers go first, as far as `waits` asks for it.
    fn meet(&self, note: impl Fn(&mut Meeting), waits: impl Fn(&mut Meeting) -> bool) {
        let Quirk::Meets(meeting, changed) = &self.quirk else { return };
        let mut meeting = meeting.lock().unwrap();
        note(&mut meeting);
        changed.notify_all();
        drop(changed.wait_timeout_while(meeting, OPPORTUNITY, waits).unwrap());
    }
}

struct Fake {
    entries: Mutex<HashMap<String, SecretText>>,
    deleted: Mutex<Option<mpsc::Sender<()>>>,
    quirk: Quirk,
}

struct FakeEntry(Arc<Fake>, String);

/// The `Arc` that the trait's methods lack.
struct FakeStore(Arc<Fake>);

impl CredentialStoreApi for FakeStore {
    fn vendor(&self) -> String {
        "fake".into()
    }
    fn id(&self) -> String {
        "fake".into()
    }
    fn build(&self, _: &str, user: &str, _: Option<&HashMap<&str, &str>>) -> Result<Entry> {
        let entry = FakeEntry(Arc::clone(&self.0), user.to_owned());
        Ok(Entry::new_with_credential(Arc::new(entry)))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn persistence(&self) -> CredentialPersistence {
        match self.0.quirk {
            Quirk::Forgets => CredentialPersistence::UntilLogout,
            _ => CredentialPersistence::UntilDelete,
        }
    }
}

impl CredentialApi for FakeEntry {
    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        let mut secret = secret.to_vec();
        match &self.0.quirk {
            Quirk::Hangs(go) => go.lock().unwrap().recv().unwrap(),
            Quirk::Garbles => secret[20] ^= 1,
            _ => {}
        }
        self.0.meet(|met| met.stored += 1, |met| met.stored == 2 && met.done == 0);
        self.0.entries.lock().unwrap().insert(self.1.clone(), secret.clone());
        match self.0.quirk {
            Quirk::Leaks => Err(Error::BadDataFormat(secret, "format".into())),
            _ => Ok(()),
        }
    }
    fn get_secret(&self) -> Result<Vec<u8>> {
        if matches!(self.0.quirk, Quirk::Locked) {
            return Err(Error::NoStorageAccess("locked".into()));
        }
        let found = self.0.entries.lock().unwrap().get(&self.1).cloned();
        if found.is_none() {
            self.0.meet(|met| met.looked += 1, |met| met.looked < 2);
        }
        found.ok_or(Error::NoEntry)
    }
    fn delete_credential(&self) -> Result<()> {
        let gone = self.0.entries.lock().unwrap().remove(&self.1);
        if let Some(tell) = &*self.0.deleted.lock().unwrap() {
            tell.send(()).unwrap();
        }
        gone.map(drop).ok_or(Error::NoEntry)
    }
    fn get_credential(&self) -> Result<Option<Arc<Credential>>> {
        Ok(None)
    }
    fn get_specifiers(&self) -> Option<(String, String)> {
        None
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn debug_fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeEntry")
    }
}

fn fake(quirk: Quirk, timeout: Duration) -> (Keyring, Arc<Fake>) {
    let fake = Arc::new(Fake { entries: Mutex::default(), deleted: Mutex::default(), quirk });
    let backend = OnceLock::new();
    let store: platform::Backend = Arc::new(FakeStore(Arc::clone(&fake)));
    assert!(backend.set(store).is_ok());
    let ring = Keyring {
        store: KeyringStore::SecretService,
        service: "mdk".into(),
        allow_volatile: false,
        timeout,
        backend: Arc::new(backend),
    };
    (ring, fake)
}

const LONG: Duration = Duration::from_secs(20);

fn key() -> Secret<32> {
    Secret::new([7; 32])
}

#[test]
fn a_key_is_stored_once_read_back_and_removed_only_if_it_is_that_key() {
    let (ring, fake) = fake(Quirk::None, LONG);
    assert_eq!(ring.get("id"), Ok(None));
    ring.put_new("id", &key()).unwrap();
    assert_eq!(ring.get("id"), Ok(Some(key())));
    let other = Secret::new([8; 32]);
    assert_eq!(ring.put_new("id", &other), Err(OpenError::DatabaseMissingButKeyPresent));
    assert!(!ring.remove("id", &other));
    assert_eq!(ring.get("id"), Ok(Some(key())));
    assert!(ring.remove("id", &key()));
    assert!(fake.entries.lock().unwrap().is_empty());
    assert!(ring.remove("id", &key()), "gone is gone");
}

/// A key that was stored, read back and used would be lost otherwise, and all data with it.
#[test]
fn of_two_that_make_a_key_at_once_one_is_refused() {
    let (ring, fake) = fake(Quirk::Meets(Mutex::default(), Condvar::new()), LONG);
    let keys = [Secret::new([7; 32]), Secret::new([8; 32])];
    let make = |key| {
        let made = ring.put_new("both", key);
        fake.meet(|met| met.done += 1, |_| false);
        made
    };
    let made = std::thread::scope(|scope| {
        let threads = keys.each_ref().map(|key| scope.spawn(|| make(key)));
        threads.map(|thread| thread.join().unwrap())
    });
    let owners: Vec<_> = keys.iter().zip(&made).filter(|(_, made)| made.is_ok()).collect();
    assert_eq!(owners.len(), 1, "{made:?}");
    assert_eq!(ring.get("both").unwrap().as_ref(), Some(owners[0].0));
    assert!(made.contains(&Err(OpenError::DatabaseMissingButKeyPresent)));
}

#[test]
fn a_key_that_is_stored_too_late_is_removed_by_who_stored_it() {
    let (go, wait) = mpsc::channel();
    let (ring, fake) = fake(Quirk::Hangs(Mutex::new(wait)), Duration::from_millis(20));
    let (tell, told) = mpsc::channel();
    *fake.deleted.lock().unwrap() = Some(tell);
    let error = ring.put_new("id", &key()).unwrap_err();
    assert_eq!(error, OpenError::KeyringTimeout { seconds: 1 });
    go.send(()).unwrap();
    told.recv().unwrap();
    assert!(fake.entries.lock().unwrap().is_empty());
}

#[test]
fn a_store_that_garbles_keeps_nothing_of_it() {
    let (ring, fake) = fake(Quirk::Garbles, LONG);
    assert_eq!(ring.put_new("id", &key()), Err(OpenError::KeyReadBack));
    // The key that is there now is not the stored one, so it is not ours to remove.
    assert_eq!(fake.entries.lock().unwrap().len(), 1);
}

#[test]
fn errors_that_carry_a_secret_lose_it() {
    let (ring, fake) = fake(Quirk::Leaks, LONG);
    let error = ring.put_new("id", &key()).unwrap_err();
    assert_eq!(error, OpenError::KeyMalformed { source: "keyring" });
    let text = format!("{error} {error:?}");
    assert!(!text.contains("BwcH") && !text.contains("7, 7"), "{text}");
    assert!(fake.entries.lock().unwrap().is_empty(), "a failed attempt leaves no key");
}

#[test]
fn locked_and_volatile_stores_are_named() {
    assert_eq!(fake(Quirk::Locked, LONG).0.get("id"), Err(OpenError::KeyringLocked));
    let (mut ring, _) = fake(Quirk::Forgets, LONG);
    assert_eq!(ring.get("id"), Err(OpenError::VolatileStore));
    ring.allow_volatile = true;
    assert_eq!(ring.get("id"), Ok(None));
}
