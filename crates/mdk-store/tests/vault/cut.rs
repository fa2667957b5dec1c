//! A database file that was cut inside its first page, with and without its log.

use std::fs;

use mdk_store::*;
use mdk_wire::SecretVec;

use crate::vault_kit::*;

/// SQLite itself takes a file of one byte for an empty one, whose log is none of it, and removes that.
const SIZES: [usize; 7] = [1, 2, 15, 16, 100, 2048, 4095];

/// Each of them, as the only file of its directory or with a log beside it.
fn each(check: impl Fn(&Home, VaultError)) {
    for beside in [true, false] {
        let (home, _) = with_log();
        let good = home.bytes();
        if !beside {
            fs::remove_file(home.beside("a.db-wal")).unwrap();
        }
        for size in SIZES {
            fs::write(&home.path, &good[..size]).unwrap();
            let before = files(&home.path);
            check(&home, OpenError::Truncated { size: size as u64 }.into());
            assert_eq!(files(&home.path), before, "{size} bytes");
        }
    }
}

#[test]
fn it_is_not_opened_and_not_copied_and_its_log_stays() {
    each(|home, error| {
        let (new, words) = (home.beside("new"), SecretVec::new(b"words".to_vec()));
        let none = &mut Progress::none();
        let opened = Store::open(&home.path, &raw(1), &OpenOptions::default()).map(drop);
        assert_eq!(opened.map_err(VaultError::from), Err(error.clone()));
        let copied = encrypt_existing(&home.path, Some(&raw(1)), Some(&new), &raw(2), none);
        assert_eq!(copied.map(drop), Err(error.clone()));
        let encrypted = encrypt_existing(&home.path, None, None, &raw(2), none);
        assert_eq!(encrypted.map(drop), Err(error.clone()));
        let saved = backup(&home.path, &raw(1), &new, &words, none);
        assert_eq!(saved.map(drop), Err(error));
    });
}

#[test]
fn whatever_else_reads_it_says_the_same() {
    each(|home, error| {
        let none = &mut Progress::none();
        assert_eq!(verify(&home.path, &raw(1), none).map(drop), Err(error.clone()));
        for key in [None, Some(&raw(1))] {
            let told = doctor(&home.path, key).findings;
            let cut = |finding: &&Finding| {
                finding.level == Level::Error && finding.text.contains("truncated")
            };
            assert_eq!(told.iter().filter(cut).count(), 1, "{told:?}");
        }
        if !home.beside("a.db-wal").exists() {
            let saved = salvage(&home.path, &raw(1), &home.beside("new"), &raw(2), none);
            assert_eq!(saved.map(drop), Err(error));
        }
    });
}
