//! What the tests of keyrings do inside a session that has one.

mod busy;
mod lost;
mod stopped;

use std::{
    ffi::OsStr,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use mdk_store::{DatabaseKey, KeyringKey, KeyringStore, OpenError, VaultError};

use crate::kit::keys::{self, Home};
pub use busy::{open_one, race, slow};
pub use lost::lost_record;
pub use stopped::{continued_first_open, overtaken_rekey, stopped_first_open, stopped_rekey};

/// Names of the files that a database with its key in a keyring has.
const NAMES: [&str; 2] = ["alice.db", "alice.db.keyinfo"];

fn keyring(change: impl FnOnce(&mut KeyringKey)) -> DatabaseKey {
    let mut key = KeyringKey::default();
    change(&mut key);
    DatabaseKey::Keyring(key)
}

fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

fn lookup(service: &str, id: &str) -> String {
    run("secret-tool", &["lookup", "service", service, "username", id])
}

fn store(service: &str, id: &str, text: &str) {
    let mut child = Command::new("secret-tool")
        .args(["store", "--label=test", "service", service, "username", id])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Every entry of ours with its secret and its times.
fn entries() -> Vec<String> {
    let all = run("secret-tool", &["search", "--all", "service", "mdk"]);
    // The daemon adds the schema when it has read the entry from disk again.
    all.lines().filter(|line| !line.starts_with("schema")).map(str::to_owned).collect()
}

fn names(home: &Home) -> Vec<String> {
    home.names()
}

fn slot(home: &Home) -> (String, String) {
    let key = home.record()["key"].clone();
    let text = |name: &str| key[name].as_str().map(str::to_owned);
    let id = text("key_id").unwrap();
    let name = text("generation").map_or(id.clone(), |generation| format!("{id}#{generation}"));
    (text("service").unwrap(), name)
}

pub fn round_trip() {
    let key = keyring(|_| ());
    let home = Home::created(&key);
    assert_eq!(names(&home), NAMES);
    let record = home.record();
    assert_eq!(record["key"]["store"], "secret-service");
    assert_eq!(record["key"]["service"], "mdk");
    let (service, id) = slot(&home);
    assert_eq!(id.len(), 16, "a random id");
    let text = lookup(&service, &id);
    assert!(text.starts_with("mdk-key-1:") && text.len() == 54);
    // The second opening writes nothing: not the key, not the record.
    let (before, files) = (entries(), home.files());
    home.opens(&key);
    home.opens(&keyring(|k| k.key_id = Some(id.clone())));
    home.opens(&keyring(|k| k.store = KeyringStore::SecretService));
    home.opens(&keyring(|k| k.create = false));
    assert_eq!(entries(), before);
    assert_eq!(home.files()["alice.db.keyinfo"], files["alice.db.keyinfo"]);
    let info = home.open(&key).unwrap().info().unwrap();
    assert_eq!(info.key_source, "keyring");
    // Two databases, two keys.
    let other = Home::created(&key);
    assert_ne!(slot(&other).1, id);
    assert_ne!(lookup("mdk", &slot(&other).1), text);
    // A database whose key is gone; one whose record is gone; one that is gone.
    run("secret-tool", &["clear", "service", "mdk", "username", &slot(&other).1]);
    assert_eq!(other.refused(&key), OpenError::KeyMissing { source: "keyring" });
    fs::remove_file(home.path("alice.db.keyinfo")).unwrap();
    assert_eq!(home.refused(&key), OpenError::KeyMissing { source: "keyring" });
    let named = keyring(|k| k.key_id = Some(id.clone()));
    home.opens(&named);
    home.opens(&key);
    fs::remove_file(home.db()).unwrap();
    for key in [&key, &named] {
        assert_eq!(home.refused(key), OpenError::DatabaseMissingButKeyPresent);
    }
    fs::remove_file(home.path("alice.db.keyinfo")).unwrap();
    assert_eq!(home.refused(&named), OpenError::DatabaseMissingButKeyPresent);
    assert_eq!(lookup("mdk", &id), text);
    // Without leave to make a key there is none.
    let old_record = Home::created(&keys::raw(1)).record();
    let home = Home::new();
    let before = entries();
    let refused = home.refused(&keyring(|k| k.create = false));
    assert_eq!(refused, OpenError::KeyMissing { source: "keyring" });
    // A first open that fails after its key was stored takes it back: the second try of one that was killed, which may
    // replace its temporary file, but finds something else there.
    let mut record = old_record;
    record["stage"] = "creating".into();
    home.write_record(&record);
    fs::create_dir(home.path("alice.db.tmp")).unwrap();
    home.open(&key).map(drop).unwrap_err();
    assert_eq!(entries(), before);
}

pub fn explicit_ids() {
    let key = |id: &str| {
        keyring(|k| {
            k.service = "org.example.bot".into();
            k.key_id = Some(id.into());
        })
    };
    let longest = "x".repeat(512);
    for id in ["alice", "alice@example.org/1 ☃", &longest] {
        let home = Home::created(&key(id));
        home.opens(&key(id));
        assert!(lookup("org.example.bot", id).starts_with("mdk-key-1:"));
        let other = Home::new();
        assert_eq!(other.refused(&key(id)), OpenError::DatabaseMissingButKeyPresent);
        assert_eq!(home.refused(&key("bob")), OpenError::KeyMissing { source: "keyring" });
        home.opens(&keyring(|_| ()));
    }
    // What stands under the id is no key, or another one.
    let home = Home::created(&key("carol"));
    store("org.example.bot", "carol", "correct horse");
    assert_eq!(home.refused(&key("carol")), OpenError::KeyMalformed { source: "keyring" });
    store("org.example.bot", "carol", "mdk-key-1:AAAA");
    assert_eq!(home.refused(&key("carol")), OpenError::KeyLength { found: 3 });
    store("org.example.bot", "carol", &lookup("org.example.bot", "alice"));
    assert_eq!(home.refused(&key("carol")), OpenError::WrongKey);
    let home = Home::new();
    store("org.example.bot", "dave", "correct horse");
    assert_eq!(home.refused(&key("dave")), OpenError::KeyMalformed { source: "keyring" });
    assert_eq!(lookup("org.example.bot", "dave"), "correct horse");
    // Two entries that match: which one is ours cannot be known.
    let more = ["service", "org.example.bot", "username", "alice", "more", "1"];
    let mut tool = Command::new("secret-tool")
        .args([&["store", "--label=x"][..], &more].concat())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    drop(tool.stdin.take());
    tool.wait().unwrap();
    assert_eq!(home.refused(&key("alice")), OpenError::KeyringAmbiguous);
}

pub fn rekey() {
    for id in [None, Some("alice".to_owned())] {
        let key = keyring(|k| k.key_id = id.clone());
        let home = Home::created(&key);
        for _ in 0..2 {
            let (service, old) = slot(&home);
            let text = lookup(&service, &old);
            home.rekey(&key, None).unwrap();
            assert_eq!(names(&home), NAMES);
            let (_, new) = slot(&home);
            assert_ne!(new, old);
            assert_eq!(lookup(&service, &old), "", "the old key is removed");
            let new_text = lookup(&service, &new);
            assert!(new_text.starts_with("mdk-key-1:") && new_text != text);
            home.opens(&key);
        }
        // Out of the keyring, and into it again.
        let (service, old) = slot(&home);
        let file = home.in_file();
        home.rekey(&key, Some(&file)).unwrap();
        assert_eq!(lookup(&service, &old), "");
        home.rekey(&file, Some(&key)).unwrap();
        assert!(!home.key_file().exists());
        home.opens(&key);
        // A key of that name which is somebody's.
        let taken = keyring(|k| k.key_id = Some("taken".into()));
        store_key("taken", "somebody's");
        assert_eq!(home.rekey(&key, Some(&taken)).unwrap_err(), VaultError::KeyExists);
        assert_eq!(lookup("mdk", "taken"), "somebody's");
        home.opens(&key);
    }
}

/// What names another service is another place; what names none of its own is where the key was.
pub fn another_service() {
    let at = |service: &str| keyring(|k| k.service = service.into());
    let first = keyring(|k| {
        k.service = "first".into();
        k.key_id = Some("alice".into());
    });
    let home = Home::created(&first);
    // Whatever it is opened with, without a name the next key is where the present one is.
    for (opened, to, service) in [
        (at("first"), Some(at("second")), "second"),
        (at("first"), None, "second"),
        (at("second"), Some(at("second")), "second"),
        (at("second"), Some(keyring(|_| ())), "second"),
        (at("second"), Some(first), "first"),
    ] {
        let (before, old) = slot(&home);
        home.rekey(&opened, to.as_ref()).unwrap();
        let (now, new) = slot(&home);
        assert_eq!(now, service);
        assert!(lookup(service, &new).starts_with("mdk-key-1:"));
        assert_eq!(lookup(&before, &old), "", "the old key is removed");
        home.opens(&keyring(|_| ()));
    }
}

/// A copy has the record of the original, and with it the name of its key.
pub fn copies() {
    for id in [None, Some("alice".to_owned())] {
        let key = keyring(|k| k.key_id = id.clone());
        let (home, copy) = (Home::created(&key), Home::new());
        copy.put(&home.files());
        let (service, old) = slot(&home);
        let text = lookup(&service, &old);
        for n in 0..2 {
            let (_, before) = slot(&copy);
            assert_eq!(copy.rekey(&key, None).unwrap().old_key_kept, n == 0);
            assert_eq!(lookup(&service, &before).is_empty(), n > 0, "its own key goes");
            assert_eq!(lookup(&service, &old), text, "that of the original stays");
            home.opens(&key);
            copy.opens(&key);
        }
        // Out of the keyring.
        let other = Home::new();
        other.put(&home.files());
        assert!(other.rekey(&key, Some(&keys::raw(1))).unwrap().old_key_kept);
        home.opens(&key);
        // The original removes its own.
        assert!(!home.rekey(&key, None).unwrap().old_key_kept);
        assert_eq!(lookup(&service, &old), "");
        copy.opens(&key);
    }
}

fn store_key(id: &str, text: &str) {
    store("mdk", id, text);
}

pub fn locked() {
    let key = keyring(|k| k.timeout = Duration::from_secs(60));
    let home = Home::new();
    assert_eq!(home.refused(&key), OpenError::KeyringLocked);
    assert!(home.files().is_empty());
}

pub fn absent() {
    let home = Home::new();
    let key = keyring(|k| k.timeout = Duration::from_secs(60));
    assert_eq!(home.refused(&key), OpenError::KeyringUnavailable);
    for store in [KeyringStore::Keychain, KeyringStore::CredentialManager] {
        let key = keyring(|k| k.store = store);
        assert_eq!(home.refused(&key), OpenError::KeyringUnavailable);
    }
    assert!(home.files().is_empty());
    home.create(&home.in_file());
    home.opens(&home.in_file());
}

pub fn keyutils() {
    let home = Home::new();
    let plain = keyring(|k| k.store = KeyringStore::Keyutils);
    assert_eq!(home.refused(&plain), OpenError::VolatileStore);
    let with = |id: Option<&str>| {
        keyring(|k| {
            k.store = KeyringStore::Keyutils;
            k.allow_volatile = true;
            k.key_id = id.map(str::to_owned);
        })
    };
    let key = with(None);
    home.create(&key);
    home.opens(&key);
    assert_eq!(names(&home), NAMES);
    assert_eq!(home.record()["key"]["store"], "keyutils");
    let read = |name: &str| {
        let found = run("keyctl", &["search", "@s", "user", &format!("keyring:{name}@mdk")]);
        run("keyctl", &["pipe", found.trim()])
    };
    let (_, id) = slot(&home);
    assert!(read(&id).starts_with("mdk-key-1:"));
    // It stays volatile, whichever way it is named.
    assert_eq!(home.refused(&plain), OpenError::VolatileStore);
    assert_eq!(home.refused(&keyring(|_| ())), OpenError::VolatileStore);
    home.opens(&keyring(|k| k.allow_volatile = true));
    let mut store = home.open(&key).unwrap();
    // Refused before the record speaks of a new key.
    let record = home.record();
    let refused = store.rekey(Some(&plain), &mut crate::kit::none()).unwrap_err();
    assert_eq!(refused, VaultError::from(OpenError::VolatileStore));
    assert_eq!(home.record(), record);
    store.rekey(None, &mut crate::kit::none()).unwrap();
    store.close().unwrap();
    let (_, new) = slot(&home);
    assert!(read(&new).starts_with("mdk-key-1:"));
    home.opens(&key);
    // These keyrings list nothing: without the record the key that a re-key has made is named with its end.
    fs::remove_file(home.path("alice.db.keyinfo")).unwrap();
    assert_eq!(home.refused(&with(Some(&id))), OpenError::KeyMissing { source: "keyring" });
    home.opens(&with(Some(&new)));
    home.opens(&key);
    // An explicit id; a service that would make it ambiguous.
    // The user's keyring outlives the session, so the id is new each time.
    let alice = format!("alice-{id}");
    let other = Home::created(&with(Some(&alice)));
    other.opens(&with(Some(&alice)));
    assert_eq!(Home::new().refused(&with(Some(&alice))), OpenError::DatabaseMissingButKeyPresent);
    run("keyctl", &["purge", "user", &format!("keyring:{alice}@mdk")]);
    let at = keyring(|k| {
        k.store = KeyringStore::Keyutils;
        k.allow_volatile = true;
        k.service = "a@b".into();
    });
    assert_eq!(Home::new().refused(&at), OpenError::BadIdentifier { which: "service", limit: 512 });
    // Gone, as after a reboot.
    run("keyctl", &["purge", "user", &format!("keyring:{new}@mdk")]);
    assert_eq!(home.refused(&key), OpenError::KeyMissing { source: "keyring" });
}
