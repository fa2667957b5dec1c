#![allow(clippy::unwrap_used)]

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::*;
use crate::{DatabaseKey, OpenOptions, Store};

const KEY: [u8; 32] = [0x51; 32];

struct Db {
    _dir: tempfile::TempDir,
    path: PathBuf,
    digest: [u8; 32],
}

fn key(bytes: [u8; 32]) -> Secret<32> {
    Secret::new(bytes)
}

fn open(path: &Path, bytes: [u8; 32]) -> Result<Store, OpenError> {
    Store::open(path, &DatabaseKey::Raw(key(bytes)), &OpenOptions::default())
}

fn db(values: usize, size: usize) -> Db {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("home").join("a.db");
    let mut store = open(&path, KEY).unwrap();
    store
        .write(|tx| {
            (0..values).try_for_each(|n| tx.set_meta(&format!("value {n}"), &vec![n as u8; size]))
        })
        .unwrap();
    let digest = store.digest().unwrap();
    store.close().unwrap();
    Db { _dir: dir, path, digest }
}

fn page_key(file: &[u8], bytes: [u8; 32]) -> PageKey {
    PageKey::of_page_1(&key(bytes), file)
}

/// The pages of a database with their numbers, decrypted.
fn plain(file: &[u8], bytes: [u8; 32]) -> Vec<Vec<u8>> {
    let key = page_key(file, bytes);
    let mut out: Vec<Vec<u8>> = file.chunks(PAGE).map(<[u8]>::to_vec).collect();
    (1..).zip(&mut out).for_each(|(number, page)| assert!(key.decrypt(number, page)));
    out
}

#[test]
fn every_page_of_a_store_is_decrypted_and_encrypted_again() {
    let db = db(40, 3000);
    let file = fs::read(&db.path).unwrap();
    assert!(file.len() > 30 * PAGE);
    let plain = plain(&file, KEY);
    // A plain SQLite file with the reserved bytes in its header.
    assert_eq!(&plain[0][..SALT], MAGIC);
    assert_eq!((u16::from_be_bytes([plain[0][16], plain[0][17]]), plain[0][20]), (4096, 80));
    assert!(plain.concat().windows(7).any(|w| w == b"value 7"));
    assert!(!file.windows(7).any(|w| w == b"value 7"));

    let salt = [9u8; SALT];
    let new = PageKey::new(&key([7; 32]), &salt);
    let mut again = plain.concat();
    for (number, page) in (1..).zip(again.chunks_mut(PAGE)) {
        new.encrypt(number, page, &[number as u8; 16]);
    }
    fs::write(&db.path, &again).unwrap();
    assert_eq!(open(&db.path, [7; 32]).unwrap().digest().unwrap(), db.digest);
    assert_eq!(open(&db.path, KEY).unwrap_err(), OpenError::WrongKey);
    // The same salt, IV and content under the old key are the file that SQLCipher wrote.
    let old = page_key(&file, KEY);
    let mut back = plain.concat();
    for ((number, page), before) in (1..).zip(back.chunks_mut(PAGE)).zip(file.chunks(PAGE)) {
        old.encrypt(number, page, before[CONTENT..SIGNED].try_into().unwrap());
    }
    assert!(back == file);
}

#[test]
fn a_wrong_key_a_wrong_number_and_every_flipped_byte_are_noticed() {
    let db = db(3, 300);
    let mut file = fs::read(&db.path).unwrap();
    let right = page_key(&file, KEY);
    let wrong = page_key(&file, [0x52; 32]);
    let pages = file.len() / PAGE;
    for index in 0..pages {
        let number = index as u32 + 1;
        let page = &mut file[index * PAGE..][..PAGE];
        assert!(right.check(number, page));
        assert!(!wrong.check(number, page) && !right.check(number + 1, page));
        let before = page.to_vec();
        assert!(!wrong.decrypt(number, page));
        assert_eq!(page, before, "a page that is not authentic is left as it is");
        // The salt of page 1 is not in its HMAC: it is in the key.
        for at in start(number)..PAGE {
            page[at] ^= 1 << (at % 8);
            assert!(!right.check(number, page), "byte {at} of page {number}");
            page[at] ^= 1 << (at % 8);
        }
        assert!(right.check(number, page));
    }
    for bit in 0..SALT * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(!page_key(&file, KEY).check(1, &file[..PAGE]));
        file[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(!right.check(2, &[0; PAGE]), "zeros are no page");
}

#[test]
fn reencrypt_gives_the_same_database_under_another_key_and_salt() {
    // Several chunks, so that several threads have their part.
    let db = db(1500, 3000);
    let from = File::open(&db.path).unwrap();
    let to_path = db.path.with_file_name("b.db");
    let to = File::options().read(true).write(true).create_new(true).open(&to_path).unwrap();
    let mut steps = Vec::new();
    let mut note = |step| {
        steps.push(step);
        ControlFlow::Continue(())
    };
    let bytes =
        reencrypt(&from, &key(KEY), &to, &key([7; 32]), &mut Progress::new(&mut note)).unwrap();
    let (old, new) = (fs::read(&db.path).unwrap(), fs::read(&to_path).unwrap());
    assert_eq!((bytes, old.len()), (new.len() as u64, new.len()));
    assert_ne!(old[..SALT], new[..SALT]);
    let last = steps.last().unwrap();
    assert_eq!((last.stage, last.done, last.total), (Stage::Writing, bytes, bytes));
    assert!(steps.windows(2).all(|w| w[0].done <= w[1].done && w[1].done - w[0].done <= 4 << 20));
    assert!(plain(&old, KEY) == plain(&new, [7; 32]));
    let compare = |from: &File, to: &File, new: [u8; 32]| {
        same(from, &key(KEY), to, &key(new), &mut Progress::none()).unwrap()
    };
    assert!(compare(&from, &to, [7; 32]) && !compare(&from, &to, [8; 32]));
    for number in [1, 2, 700, new.len() / PAGE] {
        for side in [0, 1] {
            let (mut a, mut b) = (old.clone(), new.clone());
            [&mut a, &mut b][side][number * PAGE - 100] ^= 1;
            let (a_file, b_file) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            parallel::write_at(&a_file, &a, 0).unwrap();
            parallel::write_at(&b_file, &b, 0).unwrap();
            assert!(!compare(&a_file, &b_file, [7; 32]), "page {number} of {side}");
        }
    }
    let short = tempfile::tempfile().unwrap();
    parallel::write_at(&short, &new[..new.len() - PAGE], 0).unwrap();
    assert!(!compare(&from, &short, [7; 32]));
    // No IV comes twice.
    let mut ivs: Vec<_> = new.chunks(PAGE).map(|p| p[CONTENT..SIGNED].to_vec()).collect();
    ivs.sort();
    ivs.dedup();
    assert_eq!(ivs.len(), new.len() / PAGE);
    assert_eq!(open(&to_path, [7; 32]).unwrap().digest().unwrap(), db.digest);
}

#[test]
fn reencrypt_refuses_what_is_not_whole_and_can_be_cancelled() {
    let db = db(600, 3000);
    let run = |file: &[u8], old: [u8; 32], progress: &mut Progress<'_>| {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        parallel::write_at(&from, file, 0).unwrap();
        reencrypt(&from, &key(old), &to, &key([7; 32]), progress).unwrap_err()
    };
    let file = fs::read(&db.path).unwrap();
    let none = &mut Progress::none();
    // Whichever thread is the first to find out.
    for _ in 0..100 {
        assert_eq!(run(&file, [1; 32], none), VaultError::Open(OpenError::WrongKey));
    }
    assert_eq!(run(&file[..file.len() - 1], KEY, none), VaultError::Damaged);
    assert_eq!(run(&[], KEY, none), VaultError::Damaged);
    let mut bad = file.clone();
    bad[5 * PAGE + 100] ^= 4;
    assert_eq!(run(&bad, KEY, none), VaultError::Damaged);
    bad.copy_from_slice(&file);
    bad[5 * PAGE..6 * PAGE].fill(0);
    assert_eq!(run(&bad, KEY, none), VaultError::Damaged);
    bad[..SALT].copy_from_slice(MAGIC);
    assert_eq!(run(&bad, KEY, none), VaultError::Open(OpenError::NotEncrypted));
    let mut calls = 0;
    let mut stop = |step: super::super::Step| {
        calls += 1;
        if step.done > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert_eq!(run(&file, KEY, &mut Progress::new(&mut stop)), VaultError::Cancelled);
    assert_eq!(calls, 2);
}

#[test]
fn bad_pages_are_named() {
    let db = db(600, 3000);
    let mut file = fs::read(&db.path).unwrap();
    let key = page_key(&file, KEY);
    let none = &mut Progress::none();
    let scan = |bytes: &[u8], progress: &mut Progress<'_>| {
        let copy = tempfile::tempfile().unwrap();
        parallel::write_at(&copy, bytes, 0).unwrap();
        bad_pages(&copy, &key, progress).unwrap()
    };
    assert!(scan(&file, none).is_empty());
    for number in [1usize, 2, 256, 257, file.len() / PAGE] {
        file[number * PAGE - 1] ^= 0x80;
    }
    assert_eq!(scan(&file, none), [1, 2, 256, 257, (file.len() / PAGE) as u32]);
}

/// Who is told of it may write a core dump, which has the stacks of all threads.
#[test]
fn nobody_works_while_somebody_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create_new(dir.path().join("pages")).unwrap();
    let pages = 64 * 256;
    file.set_len(pages * PAGE as u64).unwrap();
    let file = fs::File::open(dir.path().join("pages")).unwrap();
    let (at_work, seen) = (AtomicUsize::new(0), std::cell::Cell::new(0));
    let mut told = 0;
    let mut callback = |_: crate::Step| {
        told += 1;
        for _ in 0..1_000 {
            seen.set(seen.get() + at_work.load(SeqCst));
            std::thread::yield_now();
        }
        ControlFlow::Continue(())
    };
    let mut progress = Progress::new(&mut callback);
    let work = |_: u32, pages: &mut [u8]| {
        at_work.fetch_add(1, SeqCst);
        let sum = pages.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        std::thread::yield_now();
        at_work.fetch_sub(1, SeqCst);
        Ok(sum)
    };
    parallel::run(&file, None, pages, Stage::Checking, &mut progress, work, |_| ()).unwrap();
    assert_eq!(seen.get(), 0, "told {told} times");
    assert!(told > 60);
}
