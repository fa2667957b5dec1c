//! Keys of files: found by their file, gone with their message, moved with it.

use mdk_store::{DatabaseKey, MessageStatus, OpenOptions, Progress, Store, StoreError, Tx};
use mdk_wire::Secret;

use crate::kit::rows::{group, group_id, message, store, write};

fn key(n: u8) -> Secret<32> {
    Secret::new([n; 32])
}

fn keys(tx: &Tx<'_>, group: u8, file: u8) -> Vec<Secret<32>> {
    tx.file_keys(&group_id(group), &[file; 32]).unwrap()
}

/// Group 1 with two messages; the file 7 stands in both, with one key each.
fn filled() -> (Store, [i64; 2]) {
    let mut store = store();
    let seqs = fill(&mut store);
    (store, seqs)
}

fn fill(store: &mut Store) -> [i64; 2] {
    write(store, |tx| {
        tx.insert_group(&group(1))?;
        let seqs = [tx.insert_message(&message(1, 1, 9))?, tx.insert_message(&message(1, 2, 9))?];
        tx.put_file_key(&group_id(1), seqs[0], &[7; 32], &key(1))?;
        tx.put_file_key(&group_id(1), seqs[1], &[7; 32], &key(2))?;
        tx.put_file_key(&group_id(1), seqs[1], &[8; 32], &key(3))?;
        Ok(seqs)
    })
}

#[test]
fn a_file_is_found_within_its_group() {
    let (mut store, seqs) = filled();
    write(&mut store, |tx| {
        assert_eq!(keys(tx, 1, 7), [key(1), key(2)]);
        assert_eq!(keys(tx, 1, 8), [key(3)]);
        assert!(keys(tx, 1, 9).is_empty() && keys(tx, 2, 7).is_empty());
        // Once more in a third message: the same key is tried once.
        tx.put_file_key(&group_id(1), seqs[0], &[8; 32], &key(3))?;
        assert_eq!(keys(tx, 1, 8), [key(3)]);
        // Whoever repeats a file under ever new keys does not make it slow to open: the first ones count.
        for n in 10..40 {
            tx.put_file_key(&group_id(1), seqs[1], &[7; 32], &key(n))?;
        }
        assert_eq!((keys(tx, 1, 7).len(), &keys(tx, 1, 7)[0]), (16, &key(1)));
        Ok(())
    });
}

#[test]
fn keys_go_and_move_with_their_message() {
    let (mut store, [first, second]) = filled();
    write(&mut store, |tx| {
        tx.drop_file_keys(second)?;
        assert_eq!(keys(tx, 1, 7), [key(1)]);
        assert!(keys(tx, 1, 8).is_empty());
        let last = tx.show_message_last(first)?;
        tx.move_file_keys(first, last)?;
        tx.drop_file_keys(first)?;
        assert_eq!(keys(tx, 1, 7), [key(1)]);
        tx.drop_file_keys(last)?;
        assert!(keys(tx, 1, 7).is_empty());
        Ok(())
    });
    let (mut store, _) = filled();
    write(&mut store, |tx| {
        tx.delete_group(&group_id(1))?;
        assert!(keys(tx, 1, 7).is_empty());
        Ok(())
    });
}

/// A key that outlives what it belongs to is seen.
#[test]
fn a_key_without_its_message_is_reported() {
    type Break = fn(&Tx<'_>, i64) -> Result<(), StoreError>;
    let breaks: [(Break, bool); 5] = [
        (|_, _| Ok(()), true),
        (|tx, seq| tx.set_message_status(seq, MessageStatus::Invalidated), true),
        (|tx, seq| tx.erase_message(seq), false),
        (|tx, seq| tx.expire_message(seq), false),
        (|tx, _| tx.put_file_key(&group_id(1), 99, &[1; 32], &key(1)), false),
    ];
    for (breaks, fine) in breaks {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account/mdk.db");
        let raw = DatabaseKey::Raw(key(9));
        let mut store = Store::open(&path, &raw, &OpenOptions::default()).unwrap();
        let [first, _] = fill(&mut store);
        write(&mut store, |tx| breaks(tx, first));
        let report = store.verify(&mut Progress::none()).unwrap();
        let named = format!("{report:?}").contains("file keys are kept for a message that is gone");
        assert_eq!(named, !fine);
    }
}
