//! The rows of the outbox, small durable values, and the account's secret.

use mdk_store::{OutgoingEnd, OutgoingPurpose, OutgoingRow, SendState, StoreError, TargetRow};
use mdk_wire::{EventId, GroupId, Keys};

use crate::kit::rows::{store, write};

fn row(number: u8) -> OutgoingRow {
    OutgoingRow {
        seq: 0,
        event_id: EventId::from_bytes([number; 32]),
        purpose: OutgoingPurpose::List,
        group: None,
        message: None,
        recipient: None,
        pending: None,
        created_at: u64::MAX,
        attempts: 0,
        end: None,
        finished_at: None,
        targets: Vec::new(),
        event_json: Some(format!("{{\"number\":{number}}}")),
    }
}

fn target(relay: &str, state: SendState) -> TargetRow {
    let (relay, reason) = (relay.to_owned(), Some("words".to_owned()));
    TargetRow { relay, state, attempts: 3, next_at: u64::MAX, reason }
}

#[test]
fn a_row_comes_back_as_it_was() {
    let group = GroupId::from_bytes(&[7; 16]).unwrap();
    let mut full = row(1);
    full.purpose = OutgoingPurpose::Welcome;
    full.group = Some(group.clone());
    full.message = Some(EventId::from_bytes([9; 32]));
    full.recipient = Some(Keys::generate().public_key());
    full.pending = Some(i64::MAX);
    full.targets =
        vec![target("wss://a", SendState::Waiting), target("wss://b", SendState::Refused)];
    write(&mut store(), |tx| {
        full.seq = tx.post(&full)?.unwrap();
        assert_eq!(tx.outgoing_at(full.seq)?.unwrap(), full);
        assert_eq!(tx.outgoing_event(&full.event_id)?.unwrap(), full);
        assert_eq!(tx.outgoing_message(&full.message.unwrap())?.unwrap(), full);
        assert_eq!(tx.outgoing_of_commit(i64::MAX)?, [full.clone()]);
        assert_eq!(tx.outgoing_of_group(&group)?, [full.clone()]);
        assert_eq!(tx.outgoing(0, 10)?, [full.clone()]);

        full.attempts = u32::MAX;
        full.end = Some(OutgoingEnd::Lost);
        full.finished_at = Some(u64::MAX);
        full.event_json = None;
        full.targets.pop();
        tx.put_outgoing(&full)?;
        assert_eq!(tx.outgoing_at(full.seq)?.unwrap(), full);
        assert!(tx.outgoing(0, 10)?.is_empty() && tx.outgoing_of_group(&group)?.is_empty());
        let unknown = OutgoingRow { seq: 99, ..full.clone() };
        assert!(matches!(tx.put_outgoing(&unknown), Err(StoreError::Internal { .. })));
        Ok(())
    });
}

#[test]
fn an_event_is_put_in_once_and_a_place_is_never_given_twice() {
    write(&mut store(), |tx| {
        let first = tx.post(&row(1))?.unwrap();
        assert_eq!(tx.post(&OutgoingRow { attempts: 9, ..row(1) })?, None);
        assert_eq!(tx.outgoing_at(first)?.unwrap().attempts, 0);
        let second = tx.post(&row(2))?.unwrap();
        tx.drop_outgoing(second)?;
        tx.drop_outgoing(second)?;
        let third = tx.post(&row(2))?.unwrap();
        assert!(first < second && second < third);
        let seqs = |rows: Vec<OutgoingRow>| rows.iter().map(|r| r.seq).collect::<Vec<_>>();
        assert_eq!(seqs(tx.outgoing(0, 1)?), [first]);
        assert_eq!(seqs(tx.outgoing(first, 9)?), [third]);
        Ok(())
    });
}

#[test]
fn finished_rows_are_counted_and_pruned_oldest_first() {
    write(&mut store(), |tx| {
        assert_eq!(tx.outgoing_count(0)?, 0);
        let finish =
            |number: u8, at: Option<u64>| tx.post(&OutgoingRow { finished_at: at, ..row(number) });
        for (number, at) in [(1, Some(30)), (2, None), (3, Some(10)), (4, Some(20))] {
            finish(number, at)?;
        }
        assert_eq!((tx.outgoing_count(0)?, tx.outgoing_count(9)?), (4, 4));
        assert_eq!(tx.prune_oldest_outgoing(1)?, 1);
        assert!(tx.outgoing_event(&EventId::from_bytes([3; 32]))?.is_none());
        // The first place and the last are as far apart as before.
        assert_eq!((tx.outgoing_count(2)?, tx.outgoing_count(9)?), (3, 4));
        assert_eq!(tx.prune_outgoing(19)?, 0);
        assert_eq!(tx.prune_outgoing(20)?, 1);
        assert_eq!(tx.prune_oldest_outgoing(9)?, 1);
        assert_eq!(tx.prune_oldest_outgoing(9)?, 0);
        assert_eq!(tx.outgoing(0, 9)?.len(), 1);
        Ok(())
    });
}

#[test]
fn neither_rows_nor_targets_show_what_is_in_them() {
    let mut shown = row(1);
    shown.targets = vec![target("wss://secret.example", SendState::Accepted)];
    let text = format!("{shown:?} {:?}", shown.targets);
    for hidden in ["secret", "number", "0101", "words"] {
        assert!(!text.contains(hidden), "{text}");
    }
}

#[test]
fn small_values_are_found_by_prefix() {
    write(&mut store(), |tx| {
        for key in ["a", "a/1", "a/2", "a0", "ä", "b"] {
            tx.set_client_state(key, Some(key.as_bytes()))?;
        }
        let keys = |prefix: &str| -> Result<Vec<String>, StoreError> {
            Ok(tx.client_states(prefix)?.into_iter().map(|(key, _)| key).collect())
        };
        assert_eq!(keys("a/")?, ["a/1", "a/2"]);
        assert_eq!(keys("a")?, ["a", "a/1", "a/2", "a0"]);
        assert_eq!(keys("ä")?, ["ä"]);
        assert_eq!(keys("")?.len(), 6);
        tx.set_client_state("a", Some(b"new"))?;
        assert_eq!(tx.client_state("a")?.unwrap(), b"new");
        tx.set_client_state("a", None)?;
        assert_eq!(tx.client_state("a")?, None);
        Ok(())
    });
}

#[test]
fn the_accounts_secret_is_kept() {
    let keys = Keys::generate();
    write(&mut store(), |tx| {
        assert!(tx.account_secret()?.is_none());
        tx.keep_account_secret(keys.secret())?;
        assert!(tx.account_secret()?.unwrap() == *keys.secret());
        // It is no value among others.
        assert!(tx.client_states("")?.is_empty());
        tx.set_meta("account_secret", b"short")?;
        assert!(matches!(tx.account_secret(), Err(StoreError::Decode { .. })));
        Ok(())
    });
}
