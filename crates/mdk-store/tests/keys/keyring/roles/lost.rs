//! The record of where the key is was lost, after the key had got a name that only the record knew.

use mdk_store::{DatabaseKey, OpenError};

use super::{keyring, lookup, run, slot, store};
use crate::kit::keys::{Home, raw};

fn rekey(home: &Home, key: &DatabaseKey) -> bool {
    home.rekey(key, None).unwrap().old_key_kept
}

pub fn lost_record() {
    let key = |id: &str| {
        keyring(|k| {
            k.service = "svc".into();
            k.key_id = Some(id.into());
        })
    };
    let carol = key("carol");
    let home = Home::created(&carol);
    assert!(!rekey(&home, &carol));
    let (_, name) = slot(&home);
    assert!(name.starts_with("carol#"));
    // What else is in the keyring: keys of others, and what is no key.
    let text = lookup("svc", &name);
    let other = Home::created(&key("other"));
    for id in ["carol#00000000", "carol#0000000g", "carol#", "carolyn#00000000"] {
        store("svc", id, &lookup("svc", "other"));
    }
    store("svc", "carol#11111111", "a note");
    store("elsewhere", "carol#22222222", &text);
    home.lose_record();
    assert!(mdk_store::verify(&home.db(), &carol, &mut crate::kit::none()).is_ok());
    home.opens(&carol);
    home.opens(&keyring(|_| ()));
    assert_eq!(slot(&home), ("svc".to_owned(), name.clone()));
    // Nothing shows any more that no other database has it.
    assert!(rekey(&home, &carol));
    assert_eq!(lookup("svc", &name), text);
    // The key before it is there still, and so is one under the bare id.
    store("svc", "carol", &lookup("svc", "other"));
    home.lose_record();
    home.opens(&carol);
    // In full, it needs no looking for.
    let (_, name) = slot(&home);
    home.lose_record();
    home.opens(&key(&name));
    home.opens(&key(&name));
    assert!(!slot(&home).1.is_empty());
    // A key that is nowhere, and one that is not of this database.
    home.lose_record();
    run("secret-tool", &["clear", "service", "svc", "username", &name]);
    assert_eq!(home.refused(&carol), OpenError::WrongKey);
    run("secret-tool", &["clear", "service", "svc", "username", "carol"]);
    assert_eq!(home.refused(&carol), OpenError::KeyMissing { source: "keyring" });
    assert_eq!(home.refused(&raw(1)), OpenError::WrongKey);
    other.opens(&key("other"));
}
