//! A keyring that does not answer, and one that two ask at once.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mdk_store::{OpenError, Store};

use super::{super::ROLE, entries, keyring, run};
use crate::kit::{keys::Home, try_open};

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
    let before = entries();
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
    assert_eq!(entries(), before);
    home.create(&key);
    home.opens(&key);
}

/// No keyring can create exclusively: that one of the two makes the key, and the other one notices, is for us to see to.
pub fn race() {
    for round in 0..12 {
        let id = format!("race {round}");
        let key = keyring(|k| k.key_id = Some(id.clone()));
        let homes = [Home::new(), Home::new()];
        let opened = in_processes(&homes, &id);
        for (home, opened) in homes.iter().zip(opened) {
            match opened {
                true => drop(home.open(&key).unwrap()),
                false => assert!(home.files().is_empty()),
            }
        }
        assert_eq!(opened.iter().filter(|opened| **opened).count(), 1, "round {round}: {opened:?}");
    }
}

/// Whether it was opened, where another opener may have been faster.
fn judged(result: Result<Store, OpenError>) -> bool {
    match result {
        Ok(_) => true,
        Err(OpenError::DatabaseMissingButKeyPresent | OpenError::KeyReadBack) => false,
        Err(other) => panic!("{other}"),
    }
}

fn in_processes(homes: &[Home; 2], id: &str) -> [bool; 2] {
    let children = homes.each_ref().map(|_| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "keys::keyring::the_child", "--nocapture", "--test-threads=1"])
            .env(ROLE, "open one")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut at = homes.iter();
    let going = children.map(|mut child| {
        let line = format!("{id}\t{}\n", at.next().unwrap().db().display());
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        child
    });
    going.map(|child| {
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{said}");
        said.contains("it is open: true")
    })
}

/// One of the processes.
pub fn open_one() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let (id, path) = line.trim().split_once('\t').unwrap();
    let key = keyring(|k| k.key_id = Some(id.to_owned()));
    println!("it is open: {}", judged(try_open(path.as_ref(), &key)));
}
