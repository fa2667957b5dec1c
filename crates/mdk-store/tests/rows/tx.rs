//! Transactions: commit, roll back, nest; on disk and in memory alike.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mdk_store::{Store, StoreError, Tx};

use crate::kit::{open, raw};

/// Runs a test on both kinds of store.
fn on_both(test: impl Fn(&mut Store)) {
    test(&mut Store::in_memory().unwrap());
    let dir = tempfile::tempdir().unwrap();
    test(&mut open(&dir.path().join("a.db"), &raw(1)));
}

fn names(store: &mut Store) -> Vec<&'static str> {
    let all = ["a", "b", "c", "d"];
    store
        .read(|tx| {
            all.into_iter().filter_map(|n| tx.meta(n).map(|v| v.map(|_| n)).transpose()).collect()
        })
        .unwrap()
}

fn set(tx: &Tx<'_>, name: &str) -> Result<(), StoreError> {
    tx.set_meta(name, b"x")
}

const FAIL: StoreError = StoreError::Busy;

#[test]
fn ok_commits_and_err_rolls_back() {
    on_both(|store| {
        store.write(|tx| set(tx, "a")).unwrap();
        let before = store.digest().unwrap();
        let failed = store.write(|tx| {
            set(tx, "b")?;
            Err::<(), _>(FAIL)
        });
        assert_eq!(failed, Err(FAIL));
        assert_eq!(names(store), ["a"]);
        assert_eq!(store.digest().unwrap(), before);
    });
}

#[test]
fn a_panic_rolls_back_and_the_store_works_on() {
    on_both(|store| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            store.write(|tx| {
                set(tx, "a")?;
                tx.savepoint(|tx| {
                    set(tx, "b")?;
                    if tx.meta("b")?.is_some() {
                        panic!("in the middle");
                    }
                    Ok::<_, StoreError>(())
                })
            })
        }));
        assert!(caught.is_err());
        assert!(names(store).is_empty());
        store.write(|tx| set(tx, "c")).unwrap();
        assert_eq!(names(store), ["c"]);
    });
}

#[test]
fn a_caught_panic_in_a_savepoint_undoes_only_the_savepoint() {
    on_both(|store| {
        store
            .write(|tx| {
                set(tx, "a")?;
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    tx.savepoint(|tx| -> Result<(), StoreError> {
                        set(tx, "b")?;
                        panic!("inside")
                    })
                }));
                assert!(caught.is_err());
                set(tx, "c")
            })
            .unwrap();
        assert_eq!(names(store), ["a", "c"]);
    });
}

#[test]
fn savepoints_nest() {
    on_both(|store| {
        store
            .write(|tx| {
                tx.savepoint(|tx| {
                    set(tx, "a")?;
                    let inner = tx.savepoint(|tx| {
                        set(tx, "b")?;
                        tx.savepoint(|tx| set(tx, "c"))?;
                        Err::<(), _>(FAIL)
                    });
                    assert_eq!(inner, Err(FAIL));
                    assert_eq!(
                        tx.meta("c")?,
                        None,
                        "released into a savepoint that was rolled back"
                    );
                    tx.savepoint(|tx| set(tx, "d"))
                })
            })
            .unwrap();
        assert_eq!(names(store), ["a", "d"]);
    });
}

#[test]
fn a_read_keeps_nothing() {
    on_both(|store| {
        store.read(|tx| set(tx, "a")).unwrap();
        assert!(names(store).is_empty());
    });
}

#[test]
fn the_digest_sees_every_change_and_nothing_else() {
    on_both(|store| {
        let empty = store.digest().unwrap();
        store.write(|tx| set(tx, "a")).unwrap();
        let one = store.digest().unwrap();
        assert_ne!(one, empty);
        store.write(|tx| tx.set_meta("a", b"y")).unwrap();
        assert_ne!(store.digest().unwrap(), one, "another value");
        store.write(|tx| tx.set_meta("a", b"x")).unwrap();
        assert_eq!(store.digest().unwrap(), one, "the same rows");
        store.write(|tx| tx.set_meta("ax", b"")).unwrap();
        let key = store.digest().unwrap();
        store.write(|tx| tx.set_meta("b", b"x")).unwrap();
        assert_ne!(store.digest().unwrap(), key);
        let group = mdk_wire::GroupId::from_bytes(&[1; 16]).unwrap();
        let before = store.digest().unwrap();
        store.write(|tx| tx.mls_restore(&group, &[1, 4, 0, 0, 0, 0, 0, 0, 0, 1, 9])).unwrap();
        assert_ne!(store.digest().unwrap(), before, "MLS rows count too");
        store.write(|tx| tx.mls_delete(&group)).unwrap();
        assert_eq!(store.digest().unwrap(), before);
    });
}

#[test]
fn equal_rows_in_two_files_have_equal_digests() {
    let mut a = Store::in_memory().unwrap();
    a.write(|tx| set(tx, "a").and_then(|()| set(tx, "b"))).unwrap();
    let wanted = a.digest().unwrap();
    on_both(|store| {
        store.write(|tx| set(tx, "b")).unwrap();
        assert_ne!(store.digest().unwrap(), wanted);
        store.write(|tx| set(tx, "a")).unwrap();
        assert_eq!(store.digest().unwrap(), wanted, "in another order, on other pages");
    });
}
