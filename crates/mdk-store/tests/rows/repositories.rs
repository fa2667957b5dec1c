//! Every record comes back as it was stored, at the extremes of its fields too.

use mdk_store::*;
use mdk_wire::{GroupId, Secret, SecretVec};

use crate::kit::rows::*;

#[test]
fn meta_values_are_replaced() {
    write(&mut store(), |tx| {
        assert_eq!(tx.meta("cursor")?, None);
        tx.set_meta("cursor", b"")?;
        assert_eq!(tx.meta("cursor")?, Some(vec![]));
        tx.set_meta("cursor", &[0xff; 9])?;
        tx.set_meta("other", &[1])?;
        assert_eq!(tx.meta("cursor")?, Some(vec![0xff; 9]));
        Ok(())
    });
}

#[test]
fn groups_round_trip() {
    let full = group(1);
    let mut extreme = group(2);
    extreme.id = GroupId::from_bytes(&[0xff; 255]).unwrap();
    extreme.profile = u8::MAX;
    extreme.status = GroupStatus::Unrecoverable;
    (extreme.epoch, extreme.join_epoch, extreme.retention) = (u64::MAX, u64::MAX - 1, u64::MAX);
    (extreme.created_at, extreme.self_updated_at, extreme.last_read) =
        (u64::MAX, i64::MAX as u64 + 1, i64::MIN);
    extreme.name = "näme '\"; -- \0 \u{10ffff}".into();
    extreme.description = "d".repeat(70_000);
    (extreme.relays, extreme.admins) = (vec![], vec![]);
    extreme.members = (0..200).map(key).collect();
    (extreme.welcomer, extreme.welcome, extreme.has_image) = (None, None, false);
    let mut store = store();
    write(&mut store, |tx| {
        tx.insert_group(&full)?;
        tx.insert_group(&extreme)?;
        assert_eq!(tx.group(&full.id)?.unwrap(), full);
        assert_eq!(tx.group(&extreme.id)?.unwrap(), extreme);
        assert_eq!(tx.groups()?, vec![full.clone(), extreme.clone()]);
        assert_eq!(tx.group_by_welcome(&event_id(1))?.unwrap(), full);
        assert_eq!(tx.group_by_welcome(&event_id(2))?, None);
        assert_eq!(tx.group(&group_id(9))?, None);
        let mut changed = GroupRow { id: full.id.clone(), ..extreme.clone() };
        changed.event_key = Secret::new([0; 32]);
        tx.update_group(&changed)?;
        assert_eq!(tx.group(&full.id)?.unwrap(), changed);
        assert_eq!(tx.group(&extreme.id)?.unwrap(), extreme);
        Ok(())
    });
    for status in [
        GroupStatus::Founding,
        GroupStatus::Invited,
        GroupStatus::Active,
        GroupStatus::Leaving,
        GroupStatus::Left,
        GroupStatus::Removed,
        GroupStatus::Reinvited,
        GroupStatus::Disbanded,
    ] {
        let row = GroupRow { status, ..full.clone() };
        write(&mut store, |tx| tx.update_group(&row));
        assert_eq!(write(&mut store, |tx| tx.group(&row.id)).unwrap().status, status);
    }
    // Inserting never replaces, updating never creates.
    assert!(store.write(|tx| tx.insert_group(&GroupRow { epoch: 99, ..full.clone() })).is_err());
    assert!(store.write(|tx| tx.update_group(&group(9))).is_err());
    assert_eq!(write(&mut store, |tx| tx.group(&full.id)).unwrap().epoch, full.epoch);
}

#[test]
fn messages_round_trip() {
    let mut extreme = message(1, 2, u16::MAX);
    (extreme.created_at, extreme.received_at, extreme.epoch) =
        (u64::MAX, i64::MAX as u64 + 1, u64::MAX);
    (extreme.expires_at, extreme.target) = (Some(u64::MAX), Some(event_id(1)));
    (extreme.mine, extreme.delivery, extreme.status) = (true, u8::MAX, MessageStatus::Invalidated);
    extreme.content = "\0%_\\ \u{10ffff}".repeat(20_000);
    extreme.tags = vec![vec!["t".repeat(300); 40]; 40];
    let mut empty = message(1, 3, 0);
    (empty.content, empty.tags) = (String::new(), vec![]);
    write(&mut store(), |tx| {
        for mut row in [message(1, 1, 9), extreme, empty] {
            row.seq = tx.insert_message(&row)?;
            assert_eq!(tx.message(&row.group, &row.id)?.unwrap(), row);
            assert_eq!(tx.message_by_seq(row.seq)?.unwrap(), row);
            assert_eq!(tx.message(&group_id(9), &row.id)?, None);
        }
        assert_eq!(tx.message_by_seq(99)?, None);
        Ok(())
    });
}

#[test]
fn events_are_told_once_and_in_order() {
    let mut store = store();
    write(&mut store, |tx| {
        assert_eq!(tx.last_event_seq()?, 0);
        assert!(tx.events_after(0, 10)?.is_empty());
        let one =
            tx.append_event(Some(&[1; 32]), Some(&group_id(1)), u8::MAX, &[7; 5000])?.unwrap();
        assert_eq!(tx.append_event(Some(&[1; 32]), None, 3, b"other")?, None);
        let two = tx.append_event(Some(&[2; 32]), None, 0, b"")?.unwrap();
        assert!(one < two);
        let first = EventRow {
            seq: one,
            stable_id: Some([1; 32]),
            group: Some(group_id(1)),
            kind: u8::MAX,
            body: vec![7; 5000],
        };
        let second =
            EventRow { seq: two, stable_id: Some([2; 32]), group: None, kind: 0, body: vec![] };
        assert_eq!(tx.events_after(0, 10)?, vec![first.clone(), second.clone()]);
        assert_eq!(tx.events_after(i64::MIN, 1)?, vec![first]);
        assert_eq!(tx.events_after(one, u32::MAX)?, vec![second]);
        assert!(tx.events_after(i64::MAX, 10)?.is_empty());
        assert_eq!(tx.last_event_seq()?, two);
        Ok(())
    });
    // A cursor outlives the group of the newest event: its number is not given out again.
    write(&mut store, |tx| {
        let last = tx.append_event(Some(&[3; 32]), Some(&group_id(1)), 0, b"")?.unwrap();
        tx.delete_group(&group_id(1))?;
        assert!(tx.append_event(Some(&[4; 32]), None, 0, b"")?.unwrap() > last);
        Ok(())
    });
}

#[test]
fn commits_and_welcomes_round_trip() {
    let mut extreme = pending(2, 2, CommitStatus::Exposed);
    (extreme.source_epoch, extreme.created_at, extreme.purpose) = (u64::MAX, u64::MAX, u8::MAX);
    (extreme.event_id, extreme.event_json, extreme.automatic) = (None, None, true);
    (extreme.relays, extreme.welcome) = (vec![], vec![]);
    extreme.group_state = SecretVec::new(vec![0xa5; 200_000]);
    let mut store = store();
    let first = write(&mut store, |tx| {
        let mut rows = [pending(1, 1, CommitStatus::Prepared), extreme];
        for row in &mut rows {
            row.id = tx.insert_pending(row)?;
            assert_eq!(tx.pending(row.id)?.unwrap(), *row);
            assert_eq!(tx.pending_of(&row.group)?.unwrap(), *row);
            assert_eq!(tx.pending_by_digest(&row.group, &row.digest)?.unwrap(), *row);
        }
        assert_eq!(tx.pendings()?, rows.to_vec());
        assert_eq!(tx.pending_by_digest(&group_id(1), &content_id(2))?, None);

        let mut welcomes = [welcome(rows[0].id, 1), welcome(rows[0].id, 2), welcome(rows[1].id, 3)];
        welcomes[2].recipe = SecretVec::new(vec![7; 100_000]);
        for row in &mut welcomes {
            row.id = tx.insert_welcome(row)?;
        }
        assert_eq!(tx.welcomes_of(rows[0].id)?, welcomes[..2].to_vec());
        assert!(tx.sendable_welcomes()?.is_empty());
        tx.release_welcomes(rows[0].id)?;
        welcomes[0].sendable = true;
        welcomes[1].sendable = true;
        assert_eq!(tx.welcomes_of(rows[0].id)?, welcomes[..2].to_vec());
        assert_eq!(tx.sendable_welcomes()?, welcomes[..2].to_vec());
        assert_eq!(tx.welcomes_of(rows[1].id)?, welcomes[2..].to_vec());
        assert!(tx.withheld_welcomes(&group_id(1))?.is_empty());
        tx.withhold_welcomes(rows[0].id)?;
        assert!(tx.sendable_welcomes()?.is_empty());
        tx.release_welcome(welcomes[0].id)?;
        assert_eq!(tx.sendable_welcomes()?, welcomes[..1].to_vec());
        tx.release_welcome(welcomes[1].id)?;
        tx.withhold_welcome(&welcomes[0].event_id)?;
        assert_eq!(tx.sendable_welcomes()?, welcomes[1..2].to_vec());
        let withheld = tx.withheld_welcomes(&group_id(1))?;
        assert_eq!(withheld, [WelcomeRow { sendable: false, ..welcomes[0].clone() }]);
        assert_eq!(tx.withheld_welcomes(&group_id(2))?, welcomes[2..].to_vec());
        tx.drop_welcomes(rows[0].id)?;
        assert!(tx.welcomes_of(rows[0].id)?.is_empty());
        assert_eq!(tx.welcomes_of(rows[1].id)?.len(), 1);

        for status in [CommitStatus::Exposed, CommitStatus::Confirmed, CommitStatus::Discarded] {
            tx.set_commit_status(rows[0].id, status)?;
            assert_eq!(tx.pending(rows[0].id)?.unwrap().status, status);
        }
        assert_eq!(tx.pending_of(&group_id(1))?, None);
        assert_eq!(tx.pendings()?, rows[1..].to_vec());
        Ok(rows[0].clone())
    });
    assert!(store.write(|tx| tx.insert_pending(&first)).is_err(), "a commit is never replaced");
    assert!(
        store.write(|tx| tx.insert_welcome(&welcome(999, 1))).is_err(),
        "a Welcome belongs to a commit"
    );
    assert!(store.write(|tx| tx.set_commit_status(999, CommitStatus::Confirmed)).is_err());
}

#[test]
fn leave_requests_round_trip() {
    write(&mut store(), |tx| {
        let row = LeaveRow {
            group: group_id(1),
            requested_at: u64::MAX,
            proposed_epoch: 0,
            event_json: "{}".into(),
        };
        assert_eq!(tx.leave(&row.group)?, None);
        tx.put_leave(&row)?;
        assert_eq!(tx.leave(&row.group)?.unwrap(), row);
        let later = LeaveRow { proposed_epoch: u64::MAX, ..row };
        tx.put_leave(&later)?;
        assert_eq!(tx.leave(&later.group)?.unwrap(), later);
        tx.delete_leave(&later.group)?;
        assert_eq!(tx.leave(&later.group)?, None);
        Ok(())
    });
}

#[test]
fn key_packages_round_trip() {
    write(&mut store(), |tx| {
        let one = key_package(1);
        let mut two = key_package(2);
        (two.created_at, two.not_after, two.replaced_at) = (u64::MAX, u64::MAX, None);
        (two.last_resort, two.used) = (false, true);
        (two.relays, two.slot, two.event_json) = (vec![], String::new(), "x".repeat(50_000));
        tx.put_key_package(&one)?;
        tx.put_key_package(&two)?;
        assert_eq!(tx.key_package(&one.reference)?.unwrap(), one);
        assert_eq!(tx.key_packages()?, vec![two.clone(), one.clone()]);
        tx.mark_key_package_used(&one.reference)?;
        assert!(tx.key_package(&one.reference)?.unwrap().used);
        tx.put_key_package(&KeyPackageRow { replaced_at: Some(5), ..two.clone() })?;
        assert_eq!(tx.key_package(&two.reference)?.unwrap().replaced_at, Some(5));
        tx.delete_key_package(&one.reference)?;
        assert_eq!(tx.key_package(&one.reference)?, None);
        assert_eq!(tx.key_packages()?.len(), 1);
        Ok(())
    });
}

#[test]
fn held_events_and_inputs_round_trip() {
    write(&mut store(), |tx| {
        let mut row = held(1, 1);
        (row.received_at, row.event_json) = (u64::MAX, "y".repeat(60_000));
        assert!(tx.hold(&row, 10)?);
        assert_eq!(tx.held(&row.group)?, vec![row.clone()]);
        tx.unhold(&row.event_id)?;
        assert!(tx.held(&row.group)?.is_empty());

        let full = input(1, 1);
        let mut extreme = input(1, 2);
        (extreme.epoch, extreme.received_at, extreme.due_at) = (u64::MAX, u64::MAX, Some(u64::MAX));
        (extreme.class, extreme.state) = (InputClass::Proposal, InputState::Losing);
        (extreme.sender, extreme.parent_auth, extreme.bytes) = (None, None, vec![0; 100_000]);
        for row in [&full, &extreme] {
            assert!(tx.put_input(row, 10)?);
            assert_eq!(tx.input(&row.group, &row.content_id)?.unwrap(), *row);
        }
        let changed = InputRow { state: InputState::Verified, due_at: Some(3), ..full.clone() };
        assert!(tx.put_input(&changed, 10)?);
        assert_eq!(tx.inputs(&group_id(1))?, vec![changed, extreme]);
        tx.drop_input(&group_id(2), &full.content_id)?;
        tx.drop_input(&group_id(1), &full.content_id)?;
        assert_eq!(tx.input(&group_id(1), &full.content_id)?, None);
        assert_eq!(tx.inputs(&group_id(1))?.len(), 1);
        Ok(())
    });
}

#[test]
fn retained_states_round_trip() {
    let mut store = store();
    write(&mut store, |tx| {
        let one = node(1, 1, 4);
        let mut two = node(1, 2, u64::MAX);
        (two.parent, two.commit, two.committer) = (None, None, None);
        (two.privileged, two.canonical, two.retention, two.relays) =
            (false, false, u64::MAX, vec![]);
        two.state = SecretVec::new(vec![9; 300_000]);
        let other = node(2, 1, 4);
        for row in [&one, &two, &other] {
            tx.put_node(row)?;
            assert_eq!(tx.node_state(&row.group, &row.authenticator)?.unwrap(), row.state);
        }
        let bare = |row: &NodeRow| NodeRow { state: SecretVec::new(vec![]), ..row.clone() };
        assert_eq!(tx.nodes(&group_id(1))?, vec![bare(&two), bare(&one)]);

        // A row as nodes() gives it can be changed and put back without losing the state.
        let changed = NodeRow { canonical: false, ..bare(&one) };
        tx.put_node(&changed)?;
        assert_eq!(tx.nodes(&group_id(1))?[1], changed);
        assert_eq!(tx.node_state(&one.group, &one.authenticator)?.unwrap(), one.state);
        let state = SecretVec::new(vec![8; 3]);
        tx.set_node_state(&one.group, &one.authenticator, &state)?;
        assert_eq!(tx.node_state(&one.group, &one.authenticator)?.unwrap(), state);
        tx.put_node(&one)?;
        assert_eq!(tx.node_state(&one.group, &one.authenticator)?.unwrap(), one.state);
        assert_eq!(tx.node_state(&other.group, &other.authenticator)?.unwrap(), other.state);
        assert_eq!(tx.node_state(&one.group, &[77; 32])?, None);
        tx.put_node(&bare(&node(1, 5, 5)))?;
        assert_eq!(tx.node_state(&one.group, &[5; 32])?, None, "stored without a state");
        Ok(())
    });
    assert!(
        store
            .write(|tx| tx.set_node_state(&group_id(1), &[77; 32], &SecretVec::new(vec![1])))
            .is_err()
    );
}

#[test]
fn the_first_result_of_an_id_stays() {
    write(&mut store(), |tx| {
        for (n, what) in [(1, Seen::Done), (2, Seen::OwnEcho), (3, Seen::Stale)] {
            assert_eq!(tx.seen(&[n; 32])?, None);
            tx.mark_seen(&[n; 32], what)?;
            tx.mark_seen(&[n; 32], Seen::Done)?;
            assert_eq!(tx.seen(&[n; 32])?, Some(what));
        }
        tx.forget_seen(&[2; 32])?;
        assert_eq!((tx.seen(&[2; 32])?, tx.seen(&[3; 32])?), (None, Some(Seen::Stale)));
        Ok(())
    });
}

#[test]
fn debug_shows_no_content_and_no_ids() {
    let text = format!(
        "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
        group(0xab),
        message(0xab, 0xab, 9),
        pending(0xab, 0xab, CommitStatus::Prepared),
        welcome(1, 0xab),
        key_package(0xab),
        held(0xab, 0xab),
        input(0xab, 0xab),
        node(0xab, 0xab, 1)
    );
    for secret in ["wss", "message 1", "{}", "171, 171", "abab"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
