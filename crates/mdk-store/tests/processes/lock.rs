//! First openers at once, and a writer that is killed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mdk_store::{DatabaseKey, OpenError, OpenOptions, Store, StoreError};

use crate::kit::rerun;

const HOME: &str = "MDK_STORE_TEST_HOME";

fn open(home: &Path, wait: Duration) -> Result<Store, OpenError> {
    let key = DatabaseKey::File(home.join("alice.key"));
    Store::open(&home.join("alice.db"), &key, &OpenOptions::default().with_busy_wait(wait))
}

/// How many rows there are; there must be no hole, and the counter must agree.
fn rows(store: &mut Store) -> u64 {
    store
        .read(|tx| {
            let mut n = 0u64;
            while let Some(value) = tx.meta(&format!("row {n}"))? {
                assert_eq!(value, [n as u8; 3000], "row {n}");
                n += 1;
            }
            let count = tx.meta("count")?.map(|c| u64::from_be_bytes(c.try_into().unwrap()));
            assert_eq!(count, n.checked_sub(1), "one transaction, both rows");
            Ok::<_, StoreError>(n)
        })
        .unwrap()
}

#[test]
fn many_first_openers_at_once_agree_on_one_key() {
    for _ in 0..5 {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..4u8 {
                let home = home.path();
                scope.spawn(move || {
                    let mut store = open(home, Duration::from_secs(60)).unwrap();
                    store.write(|tx| tx.set_meta(&n.to_string(), &[n])).unwrap();
                });
            }
        });
        let mut store = open(home.path(), Duration::ZERO).unwrap();
        for n in 0..4u8 {
            assert_eq!(store.read(|tx| tx.meta(&n.to_string())).unwrap(), Some(vec![n]));
        }
    }
}

/// Not a test of its own: writes row after row, and says so, until it is killed.
#[test]
fn child() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let mut store = open(&home, Duration::from_secs(20)).unwrap();
    let start = rows(&mut store);
    for n in start..start + 10_000 {
        store
            .write(|tx| {
                tx.set_meta(&format!("row {n}"), &[n as u8; 3000])?;
                tx.savepoint(|tx| tx.set_meta("count", &n.to_be_bytes()))
            })
            .unwrap_or_else(|e: StoreError| panic!("{e}"));
        println!("row {n}");
    }
}

#[test]
fn no_acknowledged_row_is_lost_when_the_writer_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = 0u64;
    for round in 0..20u64 {
        let mut child = rerun(module_path!(), "child")
            .env(HOME, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = 1 + round * 7 % 29;
        let mut heard = 0;
        // What it said between the kill and its death is acknowledged too.
        for line in out.lines().map_while(Result::ok) {
            if let Some(n) = line.rsplit_once("row ").and_then(|(_, n)| n.parse::<u64>().ok()) {
                acknowledged = n + 1;
                heard += 1;
            }
            if heard == lines {
                child.kill().unwrap();
            }
        }
        assert!(heard >= lines, "the child ended by itself");
        child.wait().unwrap();
        let found = rows(&mut open(home.path(), Duration::ZERO).unwrap());
        assert!(found >= acknowledged, "round {round}: {found} rows, {acknowledged} acknowledged");
        assert!(found <= acknowledged + 1, "round {round}");
    }
    assert!(acknowledged > 200);
}
