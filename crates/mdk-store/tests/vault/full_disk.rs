//! A disk without room: what is stored can be read, and what is written fails until there is room.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mdk_store::*;

use crate::kit::{
    backup::{SmallDisk, filled},
    keys, none, open, raw, try_open,
    vault::by_hand,
    words,
};

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
        let report = verify(&path, &raw(1), &mut none()).unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(late(&mut open(&path, &raw(1))), value);
    }
}

/// Too little room is said in numbers before anything is written; room that goes meanwhile leaves nothing.
#[test]
fn a_backup_and_a_restore_without_room_leave_nothing() {
    let home = keys::Home::new();
    let mut store = filled(&home);
    let archive = home.path("archive");
    store.backup(&archive, &words(), &mut none()).unwrap();
    for (restores, little, enough) in [(false, "256k", "4m"), (true, "1m", "12m")] {
        let mut write = |to: &Path, progress: &mut Progress<'_>| match restores {
            true => restore(&archive, to, &words(), &raw(1), progress).map(drop),
            false => store.backup(to, &words(), progress).map(drop),
        };
        let dir = tempfile::tempdir().unwrap();
        let Some(small) = SmallDisk::mount(dir.path(), little) else { return };
        match write(&small.path().join("deep/new"), &mut none()) {
            Err(VaultError::NoSpace { needed, available, .. }) => {
                assert!(needed > 1 << 20 && available <= 1 << 20, "{needed} {available}");
            }
            other => panic!("{other:?}"),
        }
        assert!(small.names().is_empty());
        drop(small);
        fs::remove_dir(dir.path().join("small")).unwrap();
        let disk = SmallDisk::mount(dir.path(), enough).unwrap();
        let to = disk.path().join("deep/new");
        let mut fill_up = |step: Step| {
            if step.stage == Stage::Writing {
                disk.fill_up();
            }
            std::ops::ControlFlow::Continue(())
        };
        let found = write(&to, &mut Progress::new(&mut fill_up));
        assert_eq!(found, Err(VaultError::Store(StoreError::DiskFull)), "{restores}");
        assert_eq!(disk.names(), ["filler"]);
        fs::remove_file(disk.path().join("filler")).unwrap();
        write(&to, &mut none()).unwrap();
    }
}
