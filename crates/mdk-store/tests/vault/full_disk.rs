//! A disk without room: what is stored can be read, and what is written fails until there is room.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mdk_store::*;

use crate::kit::{backup::SmallDisk, open, raw, try_open, vault::by_hand};

/// All files of the database but its lock, which names who had it last.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = crate::kit::vault::files(path).into_iter();
    all.filter(|(path, _)| !path.ends_with("a.db.lock")).collect()
}

#[test]
fn a_database_on_a_full_disk_is_read_and_written_to_again_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), "6m") else { return };
    let path = disk.path().join("home").join("a.db");
    let mut store = open(&path, &raw(1));
    store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
    store.close().unwrap();
    let late = |store: &mut Store| store.read(|tx| tx.meta("late")).unwrap();
    for with_log in [false, true] {
        if with_log {
            // Killed before its log was moved, which also holds a page that the file lacks.
            by_hand(&path, 1)
                .execute_batch("INSERT OR REPLACE INTO meta VALUES ('late', zeroblob(9000))")
                .unwrap();
        }
        let value = with_log.then(|| vec![0; 9000]);
        disk.fill_up();
        let before = files(&path);
        for _ in 0..2 {
            let mut store = try_open(&path, &raw(1)).unwrap();
            assert_eq!(store.read(|tx| tx.meta("who")).unwrap(), Some(b"alice".to_vec()));
            assert_eq!(late(&mut store), value);
            drop(store);
        }
        if !with_log {
            assert!(files(&path) == before);
        }
        let mut store = try_open(&path, &raw(1)).unwrap();
        let mut put = |size: u8| {
            let bytes = vec![size; 60_000];
            let put = store.write(|tx| tx.set_meta("more", &bytes));
            assert_eq!(late(&mut store), value);
            (put, store.read(|tx| tx.meta("more")).unwrap().map(|found| found[0]))
        };
        let had = with_log.then_some(2);
        assert_eq!(put(1), (Err(StoreError::DiskFull), had));
        assert_eq!(put(1), (Err(StoreError::DiskFull), had));
        fs::remove_file(disk.path().join("filler")).unwrap();
        assert_eq!(put(2), (Ok(()), Some(2)));
        drop(store);
        let report = verify(&path, &raw(1), &mut Progress::none()).unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(late(&mut open(&path, &raw(1))), value);
    }
}
