//! A keyring that does not answer, and one that two ask at once.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use mdk_store::OpenError;

use super::{entries, keyring, run};
use crate::kit::keys::Home;

/// The process that answers for the keyring of this session.
fn daemon() -> String {
    let bus = "org.freedesktop.DBus";
    let method = format!("{bus}.GetConnectionUnixProcessID");
    let args = ["--session", "--print-reply=literal", "--dest=org.freedesktop.DBus", "/", &method];
    let out = run("dbus-send", &[&args[..], &["string:org.freedesktop.secrets"]].concat());
    out.split_whitespace().last().unwrap().to_owned()
}

pub fn slow() {
    let patient = |seconds| keyring(|k| k.timeout = Duration::from_secs(seconds));
    let (key, brief) = (patient(60), patient(1));
    let old = Home::created(&key);
    let list = entries;
    let before = list();
    let pid = daemon();
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success())
    };
    signal("-STOP");
    let home = Home::new();
    for home in [&home, &old] {
        let timed = || {
            let start = Instant::now();
            assert_eq!(home.refused(&brief), OpenError::KeyringTimeout { seconds: 1 });
            start.elapsed()
        };
        // A busy machine may hold up one attempt; another limit than the one that was given holds up each.
        let took: Vec<_> = (0..3)
            .map(|_| timed())
            .inspect(|took| assert!(*took >= Duration::from_millis(990), "{took:?}"))
            .take_while(|took| *took >= Duration::from_secs(5))
            .collect();
        assert!(took.len() < 3, "{took:?}");
    }
    assert!(home.files().is_empty());
    signal("-CONT");
    // What was asked while nobody listened is answered now, and nothing comes of it.
    old.opens(&key);
    assert_eq!(list(), before);
    home.create(&key);
    home.opens(&key);
}

/// No keyring can create exclusively: whoever loses must notice, and the winner's key must stay.
pub fn race() {
    let mut both = 0;
    for round in 0..20 {
        let key = keyring(|k| k.key_id = Some(format!("race {round}")));
        let homes = [Home::new(), Home::new()];
        let opened = std::thread::scope(|scope| {
            let open = |home| {
                let key = &key;
                scope.spawn(move || Home::open(home, key).map(drop))
            };
            let threads = [open(&homes[0]), open(&homes[1])];
            threads.map(|thread| thread.join().unwrap())
        });
        let mut owners = 0;
        for (home, result) in homes.iter().zip(&opened) {
            match result {
                Ok(()) => {
                    owners += 1;
                    drop(home.open(&key).unwrap());
                }
                Err(OpenError::DatabaseMissingButKeyPresent | OpenError::KeyReadBack) => {
                    assert!(home.files().is_empty());
                }
                Err(other) => panic!("round {round}: {other}"),
            }
        }
        assert!(owners <= 1, "round {round}: two databases with one entry");
        both += 1 - owners;
    }
    println!("rounds without an owner: {both}");
}
