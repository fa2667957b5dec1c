//! History: paging, lookup, unread count, search, erasing, disappearing messages.

use mdk_store::*;
use mdk_wire::PublicKey;
use proptest::prelude::*;

use crate::kit::rows::*;

fn add(tx: &Tx<'_>, mut row: MessageRow) -> MessageRow {
    row.seq = tx.insert_message(&row).unwrap();
    row
}

fn contents(rows: &[MessageRow]) -> Vec<&str> {
    rows.iter().map(|row| row.content.as_str()).collect()
}

/// One step of a history: which group, which kind.
fn inserts() -> impl Strategy<Value = Vec<(u8, u16)>> {
    let kind = prop_oneof![4 => Just(9u16), 1 => Just(5), 1 => Just(7), 1 => Just(1009), 1 => Just(1), 1 => Just(u16::MAX)];
    prop::collection::vec((1u8..=2, kind), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the page size, walking back or forward gives every row once and in order.
    #[test]
    fn a_walk_through_the_pages_finds_every_row_once(inserts in inserts(), limit in 1u32..9) {
        let mut store = store();
        write(&mut store, |tx| {
            let mut expected = [vec![], vec![]];
            for (n, (group, kind)) in inserts.iter().enumerate() {
                let row = add(tx, message(*group, n as u8, *kind));
                if ![5, 7, 1009].contains(kind) {
                    expected[usize::from(*group) - 1].push(row);
                }
            }
            for (expected, group) in expected.iter().zip([group_id(1), group_id(2)]) {
                let mut backward: Vec<MessageRow> = vec![];
                while let page = tx.page(&group, limit, backward.first().map(|row| row.seq), None)?
                    && !page.is_empty()
                {
                    assert!(page.len() <= limit as usize);
                    backward.splice(0..0, page);
                }
                assert_eq!(&backward, expected);
                let mut forward: Vec<MessageRow> = vec![];
                while let page = tx.page(&group, limit, None, Some(forward.last().map_or(0, |row| row.seq)))?
                    && !page.is_empty()
                {
                    assert!(page.len() <= limit as usize);
                    forward.extend(page);
                }
                assert_eq!(&forward, expected);
                assert_eq!(tx.last_message(&group)?.as_ref(), expected.last());
                assert_eq!(tx.unread(&group, 0)?, expected.len() as u64);
            }
            Ok(())
        });
    }
}

#[test]
fn page_bounds_are_exclusive() {
    write(&mut store(), |tx| {
        let rows: Vec<MessageRow> = (1..=6).map(|n| add(tx, message(1, n, 9))).collect();
        let group = group_id(1);
        let page = |limit, before: Option<usize>, after: Option<usize>| {
            let seq = |at: Option<usize>| at.map(|i| rows[i].seq);
            tx.page(&group, limit, seq(before), seq(after)).unwrap()
        };
        assert_eq!(page(2, None, None), rows[4..]);
        assert_eq!(page(2, Some(4), None), rows[2..4]);
        assert_eq!(page(2, None, Some(1)), rows[2..4]);
        assert_eq!(page(2, Some(5), Some(0)), rows[3..5], "with both bounds the newest");
        assert_eq!(page(9, Some(5), Some(0)), rows[1..5]);
        assert_eq!(page(9, Some(2), Some(2)), []);
        assert_eq!(page(0, None, None), []);
        assert_eq!(page(u32::MAX, None, None), rows);
        assert_eq!(tx.page(&group, 9, Some(i64::MIN), None)?, []);
        assert_eq!(tx.page(&group, 9, None, Some(i64::MAX))?, []);
        assert_eq!(tx.page(&group_id(2), 9, None, None)?, []);
        Ok(())
    });
}

#[test]
fn equal_messages_stay_distinct_and_the_oldest_answers() {
    write(&mut store(), |tx| {
        let first = add(tx, message(1, 1, 9));
        let second = add(tx, message(1, 1, 9));
        let elsewhere = add(tx, message(2, 1, 9));
        assert!(first.seq < second.seq);
        assert_eq!(tx.message(&group_id(1), &event_id(1))?.unwrap(), first);
        assert_eq!(tx.page(&group_id(1), 9, None, None)?, vec![first.clone(), second.clone()]);
        tx.set_delivery(&group_id(1), &event_id(1), 3)?;
        for row in [&first, &second] {
            assert_eq!(tx.message_by_seq(row.seq)?.unwrap().delivery, 3);
        }
        assert_eq!(tx.message_by_seq(elsewhere.seq)?.unwrap(), elsewhere);
        Ok(())
    });
}

#[test]
fn what_is_said_about_a_message_is_read_by_kind_and_sender() {
    write(&mut store(), |tx| {
        let about = |group, id, kind, target| {
            let target = Some(event_id(target));
            add(tx, MessageRow { target, sender: key(1), ..message(group, id, kind) })
        };
        let (group, of) = (group_id(1), event_id(1));
        assert!(!tx.is_pointed_at(&group, &of)?);
        let said = [about(1, 2, 7, 1), about(1, 3, 1009, 1), about(1, 4, 5, 1), about(1, 4, 7, 1)];
        about(1, 6, 7, 9);
        about(2, 7, 7, 1);
        add(tx, message(1, 8, 7));
        assert!(tx.is_pointed_at(&group, &of)?);
        let by = said[0].sender;
        let reactions = |by: Option<&PublicKey>, limit| {
            let rows = tx.reactions(&group, &of, by, limit)?;
            Ok::<Vec<i64>, StoreError>(rows.iter().map(|row| row.seq).collect())
        };
        assert_eq!(reactions(None, 9)?, [said[0].seq, said[3].seq]);
        assert_eq!(reactions(Some(&by), 9)?, [said[0].seq, said[3].seq]);
        assert_eq!(reactions(None, 1)?.len(), 1);
        assert!(reactions(Some(&key(2)), 9)?.is_empty());
        assert_eq!(tx.edits(&group, &of)?.iter().map(|e| e.seq).collect::<Vec<_>>(), [said[1].seq]);
        assert!(tx.says_about(&group, &of, 5, &by)? && !tx.says_about(&group, &of, 9, &by)?);
        assert_eq!(tx.said_about(&group, &of, 7, &by)?.len(), 2);
        Ok(())
    });
}

/// Who has said more than is kept counts where it was said, once, however often it was.
#[test]
fn of_what_is_spent_one_row_stays_for_a_sender_in_a_state() {
    write(&mut store(), |tx| {
        let group = group_id(1);
        let first = add(tx, message(1, 1, 7));
        let said = |n, auth| MessageRow {
            authenticator: [auth; 32],
            sender: first.sender,
            ..message(1, n, 7)
        };
        for n in 2..9 {
            tx.insert_spent(&said(n, 1))?;
        }
        let other = tx.insert_spent(&said(9, 2))?;
        tx.spend_message(first.seq)?;
        let rows = tx.messages_after(0, 99)?;
        assert_eq!(rows.len(), 3, "two states, and the one that was kept before");
        assert!(rows.iter().all(|row| row.content.is_empty() && row.tags.is_empty()));
        assert!(rows.iter().any(|row| row.seq == other));
        assert_eq!(tx.witnesses(&group, 0)?.len(), 3);
        Ok(())
    });
}

#[test]
fn unread_counts_valid_messages_of_others() {
    write(&mut store(), |tx| {
        let read = add(tx, message(1, 1, 9));
        add(tx, message(1, 2, 9));
        add(tx, message(1, 3, 30_000));
        add(tx, message(1, 4, 7));
        add(tx, message(2, 5, 9));
        add(tx, MessageRow { mine: true, ..message(1, 6, 9) });
        add(tx, MessageRow { status: MessageStatus::Invalidated, ..message(1, 7, 9) });
        let erased = add(tx, message(1, 8, 9));
        assert_eq!(tx.unread(&group_id(1), 0)?, 4);
        tx.erase_message(erased.seq)?;
        assert_eq!(tx.unread(&group_id(1), 0)?, 3);
        assert_eq!(tx.unread(&group_id(1), read.seq)?, 2);
        assert_eq!(tx.unread(&group_id(1), i64::MAX)?, 0);
        assert_eq!(tx.unread(&group_id(3), 0)?, 0);
        Ok(())
    });
}

#[test]
fn erasing_keeps_the_place_and_drops_the_content() {
    write(&mut store(), |tx| {
        let row = add(tx, MessageRow { expires_at: Some(10), ..message(1, 1, 9) });
        tx.erase_message(row.seq)?;
        let gone = MessageRow {
            content: String::new(),
            tags: vec![],
            status: MessageStatus::Deleted,
            ..row
        };
        assert_eq!(tx.message_by_seq(gone.seq)?.unwrap(), gone);
        assert_eq!(tx.page(&group_id(1), 9, None, None)?, vec![gone.clone()]);
        assert_eq!(tx.last_message(&group_id(1))?, Some(gone));
        assert_eq!(tx.expired(u64::MAX, 9)?, [], "an erased message is not due again");
        tx.erase_message(99)?;
        Ok(())
    });
}

#[test]
fn status_can_be_withdrawn_and_restored() {
    write(&mut store(), |tx| {
        let row = add(tx, message(1, 1, 9));
        for status in [MessageStatus::Invalidated, MessageStatus::Valid] {
            tx.set_message_status(row.seq, status)?;
            assert_eq!(tx.message_by_seq(row.seq)?.unwrap(), MessageRow { status, ..row.clone() });
        }
        Ok(())
    });
}

#[test]
fn expired_messages_come_first_due_first() {
    write(&mut store(), |tx| {
        let at = |id, expires_at| add(tx, MessageRow { expires_at, ..message(1, id, 9) });
        let late = at(1, Some(u64::MAX));
        let due = at(2, Some(20));
        let first = at(3, Some(10));
        let large = at(4, Some(i64::MAX as u64 + 1));
        at(5, None);
        assert_eq!(tx.expired(9, 9)?, []);
        assert_eq!(tx.expired(10, 9)?, std::slice::from_ref(&first));
        assert_eq!(tx.expired(i64::MAX as u64, 9)?, [first.clone(), due.clone()]);
        assert_eq!(tx.expired(u64::MAX, 9)?, [first, due, large, late]);
        Ok(())
    });
}

#[test]
fn search_takes_the_text_literally() {
    write(&mut store(), |tx| {
        for (n, content) in ["100% sure", "100 percent", "a_b", "aXb", "back\\slash", "Hello WORLD"]
            .iter()
            .enumerate()
        {
            add(tx, MessageRow { content: (*content).into(), ..message(1, n as u8, 9) });
        }
        add(tx, MessageRow { content: "hello elsewhere".into(), ..message(2, 9, 9) });
        add(tx, MessageRow { content: "hello reaction".into(), ..message(1, 10, 7) });
        add(
            tx,
            MessageRow {
                content: "hello withdrawn".into(),
                status: MessageStatus::Invalidated,
                ..message(1, 11, 9)
            },
        );
        let find = |text: &str| tx.search(text, Some(&group_id(1)), 9).unwrap();
        assert_eq!(contents(&find("100%")), ["100% sure"]);
        assert_eq!(contents(&find("A_B")), ["a_b"]);
        assert_eq!(contents(&find("k\\S")), ["back\\slash"]);
        assert_eq!(contents(&find("%%")), Vec::<&str>::new());
        assert_eq!(contents(&find("100")), ["100 percent", "100% sure"], "newest first");
        assert_eq!(contents(&find("hello")), ["Hello WORLD"]);
        assert_eq!(contents(&tx.search("hello", None, 9)?), ["hello elsewhere", "Hello WORLD"]);
        assert_eq!(contents(&tx.search("hello", None, 1)?), ["hello elsewhere"]);
        assert_eq!(find("").len(), 6);
        assert_eq!(find("Hello\0").len(), 0);
        assert_eq!(tx.search("hello", Some(&group_id(3)), 9)?, []);
        Ok(())
    });
}

#[test]
fn search_text_is_bounded() {
    let mut store = store();
    let row = MessageRow { content: "%".repeat(24_999), ..message(1, 1, 9) };
    write(&mut store, |tx| tx.insert_message(&row));
    let find = |store: &mut Store, text: String| store.write(|tx| tx.search(&text, None, 9));
    assert_eq!(find(&mut store, "%".repeat(24_999)).unwrap().len(), 1);
    assert!(matches!(find(&mut store, "%".repeat(25_000)), Err(StoreError::Invalid { .. })));
    assert!(find(&mut store, "x".repeat(49_998)).unwrap().is_empty());
    assert!(matches!(find(&mut store, "x".repeat(49_999)), Err(StoreError::Invalid { .. })));
}

/// What is kept of a member is known without reading it, whatever becomes of it.
#[test]
fn shares_say_what_is_kept_of_each_member() {
    write(&mut store(), |tx| {
        let group = group_id(1);
        let other = key(2);
        let text = |id, len| {
            let (content, sender) = ("x".repeat(len), key(1));
            MessageRow { content, sender, tags: vec![], ..message(1, id, 9) }
        };
        let rows: Vec<MessageRow> = (1..=6).map(|id| add(tx, text(id, 100))).collect();
        let sender = rows[0].sender;
        add(tx, MessageRow { sender: other, ..text(7, 1_000) });
        add(tx, MessageRow { mine: true, ..text(8, 1_000) });
        tx.insert_spent(&text(9, 1_000))?;
        let each = ROW_BYTES + 101;
        let share = |of| tx.share(&group, of).map(|share| (share.messages, share.bytes));
        assert_eq!(share(Some(&sender))?, (6, 6 * each));
        assert_eq!(share(None)?, (7, 7 * each + 900));
        assert_eq!(tx.largest_share(&group, false)?, Some(sender));
        tx.erase_message(rows[0].seq)?;
        tx.expire_message(rows[1].seq)?;
        tx.bury_message(&rows[2], 99, true)?;
        tx.strip_message(rows[3].seq, 99)?;
        assert_eq!(share(Some(&sender))?, (4, 4 * each - 200));
        // The oldest go first, and nobody else's.
        let gone = tx.cut_oldest(&group, &sender, 9, |own, _| own.messages <= 2)?;
        assert_eq!((gone, share(Some(&sender))?.0), (2, 2));
        assert_eq!(tx.cut_oldest(&group, &sender, 9, |_, _| false)?, 2);
        assert_eq!((share(Some(&sender))?, share(Some(&other))?.0), ((0, 0), 1));
        tx.delete_since(&group, 0, 0)?;
        assert_eq!(share(None)?, (0, 0));
        Ok(())
    });
}
