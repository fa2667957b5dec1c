//! Caps, pruning, routing: what is kept and what is not.

use mdk_store::*;
use mdk_wire::SecretVec;

use crate::kit::rows::*;

/// An epoch that needs the large form of an unsigned column.
const FAR: u64 = u64::MAX - 3;

#[test]
fn held_events_are_capped_per_group() {
    write(&mut store(), |tx| {
        assert!(!tx.hold(&held(1, 1), 0)?);
        for n in 1..=3 {
            assert!(tx.hold(&held(1, n), 3)?);
        }
        assert_eq!(tx.held_count(&group_id(1))?, 3);
        assert!(!tx.hold(&held(1, 4), 3)?, "one above the cap");
        assert!(tx.hold(&held(1, 2), 3)?, "already there");
        assert!(tx.hold(&held(2, 5), 3)?, "another group");
        assert_eq!(tx.held(&group_id(1))?, vec![held(1, 1), held(1, 2), held(1, 3)]);
        tx.unhold(&event_id(3))?;
        tx.unhold(&event_id(1))?;
        assert!(tx.hold(&held(1, 1), 3)?);
        assert!(tx.hold(&held(1, 4), 3)?);
        assert!(!tx.hold(&held(1, 6), 3)?);
        assert_eq!(
            tx.held(&group_id(1))?,
            vec![held(1, 2), held(1, 1), held(1, 4)],
            "in the order of arrival"
        );
        Ok(())
    });
}

#[test]
fn inputs_are_capped_per_group_and_keep_their_place() {
    write(&mut store(), |tx| {
        assert!(!tx.put_input(&input(1, 1), 0)?);
        for n in [3, 1, 2] {
            assert!(tx.put_input(&input(1, n), 3)?);
        }
        assert!(!tx.put_input(&input(1, 4), 3)?, "one above the cap");
        assert_eq!(tx.input(&group_id(1), &content_id(4))?, None);
        let changed = InputRow { state: InputState::Losing, ..input(1, 3) };
        assert!(tx.put_input(&changed, 3)?, "replacing needs no room");
        assert!(tx.put_input(&input(2, 4), 3)?, "another group");
        assert_eq!(tx.inputs(&group_id(1))?, vec![changed, input(1, 1), input(1, 2)]);
        Ok(())
    });
}

/// What led to a state waits for nothing: neither takes the other's room.
#[test]
fn inputs_that_have_a_place_are_counted_by_themselves() {
    write(&mut store(), |tx| {
        let placed = |n| InputRow { state: InputState::Placed, ..input(1, n) };
        assert!(tx.put_input(&input(1, 1), 1)?);
        assert_eq!(tx.placed_bytes(&group_id(1))?, 0);
        assert!(tx.put_input(&placed(2), 2)?);
        assert!(tx.put_input(&placed(3), 2)?);
        assert!(!tx.put_input(&placed(4), 2)?);
        assert!(!tx.put_input(&input(1, 5), 1)?);
        let bytes = placed(2).bytes.len() + placed(3).bytes.len();
        assert_eq!(tx.placed_bytes(&group_id(1))?, bytes as u64);
        assert_eq!(tx.placed_bytes(&group_id(2))?, 0);
        Ok(())
    });
}

#[test]
fn states_that_are_whole_are_known_without_being_read() {
    write(&mut store(), |tx| {
        for auth in [1, 2, 3] {
            tx.put_node(&node(1, auth, 5))?;
        }
        tx.put_node(&node(2, 4, 5))?;
        tx.set_node_state(&group_id(1), &[2; 32], &SecretVec::new(Vec::new()))?;
        let mut whole = tx.whole_nodes(&group_id(1))?;
        whole.sort_unstable();
        assert_eq!(whole, [[1; 32], [3; 32]]);
        Ok(())
    });
}

#[test]
fn inputs_are_pruned_below_an_epoch() {
    write(&mut store(), |tx| {
        for (n, epoch) in [(1, 0), (2, 4), (3, 5), (4, 6), (5, FAR), (6, FAR + 1)] {
            tx.put_input(&InputRow { epoch, ..input(1, n) }, 9)?;
        }
        tx.put_input(&InputRow { epoch: 0, ..input(2, 1) }, 9)?;
        let left = |tx: &Tx<'_>, group| -> Vec<u64> {
            tx.inputs(&group_id(group)).unwrap().iter().map(|row| row.epoch).collect()
        };
        tx.prune_inputs(&group_id(1), 5)?;
        assert_eq!(left(tx, 1), [5, 6, FAR, FAR + 1]);
        tx.prune_inputs(&group_id(1), FAR + 1)?;
        assert_eq!(left(tx, 1), [FAR + 1]);
        assert_eq!(left(tx, 2), [0]);
        Ok(())
    });
}

#[test]
fn due_inputs_come_from_all_groups_first_due_first() {
    write(&mut store(), |tx| {
        let at = |group, n, due_at| {
            let row = InputRow { due_at, ..input(group, n) };
            assert!(tx.put_input(&row, 9).unwrap());
            row
        };
        let second = at(1, 1, Some(20));
        let first = at(2, 2, Some(10));
        at(1, 3, None);
        let far = at(1, 4, Some(FAR));
        let third = at(2, 5, Some(20));
        assert_eq!(tx.due_inputs(9)?, []);
        assert_eq!(tx.due_inputs(10)?, std::slice::from_ref(&first));
        assert_eq!(tx.due_inputs(FAR - 1)?, [first.clone(), second.clone(), third.clone()]);
        assert_eq!(tx.due_inputs(u64::MAX)?, [first, second, third, far]);
        Ok(())
    });
}

#[test]
fn states_are_pruned_below_an_epoch() {
    write(&mut store(), |tx| {
        for (auth, epoch) in [(1, 3), (2, 4), (3, 5), (4, 5), (5, 6), (6, FAR)] {
            tx.put_node(&node(1, auth, epoch))?;
        }
        tx.put_node(&node(2, 1, 3))?;
        tx.prune_nodes(&group_id(1), 5)?;
        let left: Vec<(u8, u64)> =
            tx.nodes(&group_id(1))?.iter().map(|n| (n.authenticator[0], n.epoch)).collect();
        assert_eq!(left, [(6, FAR), (5, 6), (4, 5), (3, 5)]);
        assert_eq!(tx.node_state(&group_id(1), &[1; 32])?, None);
        assert_eq!(tx.nodes(&group_id(2))?.len(), 1);
        Ok(())
    });
}

#[test]
fn a_state_that_is_left_takes_the_place_of_the_one_that_goes() {
    write(&mut store(), |tx| {
        let bare = |row: NodeRow| NodeRow { state: SecretVec::new(vec![]), ..row };
        let state = SecretVec::new(vec![7; 100]);
        for n in 1..4 {
            tx.put_node(&node(1, n, n.into()))?;
        }
        tx.put_node(&bare(node(1, 4, 4)))?;
        tx.put_node(&node(2, 1, 1))?;
        // Nothing goes: the state stays in its row. Two go: one row is used, the other is deleted.
        for (min_epoch, tip, left) in [(1, 5, vec![4, 3, 2, 1]), (3, 6, vec![5, 4, 3])] {
            tx.retain_node(&group_id(1), &[tip - 1; 32], &state, min_epoch)?;
            let next = bare(node(1, tip, tip.into()));
            tx.put_tip_node(&next)?;
            let nodes = tx.nodes(&group_id(1))?;
            assert_eq!(nodes[0], next);
            let kept: Vec<u8> = nodes[1..].iter().map(|n| n.authenticator[0]).collect();
            assert_eq!(kept, left);
            assert_eq!(nodes[1], bare(node(1, tip - 1, (tip - 1).into())));
            assert_eq!(tx.node_state(&group_id(1), &[tip - 1; 32])?.unwrap(), state);
            assert_eq!(tx.node_state(&group_id(1), &[tip; 32])?, None);
        }
        assert_eq!(tx.node_state(&group_id(1), &[3; 32])?.unwrap(), node(1, 3, 3).state);
        assert_eq!(tx.nodes(&group_id(2))?, [bare(node(2, 1, 1))]);

        // The next state may be there already, under the same name.
        tx.put_node(&node(1, 9, 7))?;
        tx.retain_node(&group_id(1), &[6; 32], &state, 5)?;
        tx.put_tip_node(&bare(node(1, 9, 8)))?;
        let names: Vec<(u8, u64)> =
            tx.nodes(&group_id(1))?.iter().map(|n| (n.authenticator[0], n.epoch)).collect();
        assert_eq!(names, [(9, 8), (6, 6), (5, 5)]);
        assert_eq!(tx.node_state(&group_id(1), &[9; 32])?.unwrap(), node(1, 9, 7).state);
        Ok(())
    });
}

#[test]
fn a_confirmed_commit_lets_go_of_its_event() {
    write(&mut store(), |tx| {
        let id = tx.insert_pending(&pending(1, 2, CommitStatus::Prepared))?;
        tx.confirm_commit(id)?;
        let confirmed = pending(1, 2, CommitStatus::Confirmed);
        let row = tx.pending(id)?.unwrap();
        assert_eq!(row, PendingRow { id, event_json: None, ..confirmed });
        assert!(tx.confirm_commit(id + 1).is_err());
        // Only what was given up goes early; it holds secrets.
        let given_up = tx.insert_pending(&pending(1, 3, CommitStatus::Discarded))?;
        tx.prune_discarded(&group_id(1), FAR)?;
        assert!(tx.pending(given_up)?.is_none());
        assert!(tx.pending(id)?.is_some());
        tx.prune_commits(&group_id(1), FAR)?;
        assert!(tx.pending(id)?.is_none());
        Ok(())
    });
}

#[test]
fn only_finished_commits_are_pruned() {
    use CommitStatus::{Confirmed, Discarded, Exposed, Prepared};
    write(&mut store(), |tx| {
        let mut ids = vec![];
        for (digest, status) in [
            (1, Prepared),
            (2, Exposed),
            (3, Confirmed),
            (4, Discarded),
            (5, Confirmed),
            (6, Discarded),
        ] {
            ids.push(tx.insert_pending(&pending(1, digest, status))?);
        }
        let other = tx.insert_pending(&pending(2, 3, Confirmed))?;
        let sent = tx.insert_welcome(&WelcomeRow { sendable: true, ..welcome(ids[2], 1) })?;
        tx.insert_welcome(&welcome(ids[3], 2))?;
        tx.insert_welcome(&welcome(ids[1], 3))?;
        tx.prune_commits(&group_id(1), 5)?;
        let left: Vec<bool> = ids.iter().map(|id| tx.pending(*id).unwrap().is_some()).collect();
        assert_eq!(left, [true, true, true, false, true, true]);
        assert!(tx.pending(other)?.is_some());
        // A Welcome that is still to be sent keeps its commit; one that can never be sent does not.
        let sendable: Vec<i64> = tx.sendable_welcomes()?.iter().map(|row| row.id).collect();
        assert_eq!(sendable, [sent]);
        assert!(tx.welcomes_of(ids[3])?.is_empty());
        assert_eq!(tx.welcomes_of(ids[1])?.len(), 1);
        tx.drop_welcomes(ids[2])?;
        tx.prune_commits(&group_id(1), 5)?;
        assert!(tx.pending(ids[2])?.is_none());
        tx.delete_group(&group_id(1))?;
        assert!(tx.sendable_welcomes()?.is_empty());
        assert_eq!(tx.pendings()?, []);
        // Ids are handed out, so a deleted one must not come to mean another commit.
        assert!(tx.insert_pending(&pending(3, 1, Prepared))? > other);
        Ok(())
    });
}

#[test]
fn the_oldest_unfinished_commit_answers() {
    write(&mut store(), |tx| {
        let first = tx.insert_pending(&pending(1, 2, CommitStatus::Exposed))?;
        tx.insert_pending(&pending(1, 1, CommitStatus::Prepared))?;
        assert_eq!(tx.pending_of(&group_id(1))?.unwrap().id, first);
        assert_eq!(tx.pending_of(&group_id(2))?, None);
        Ok(())
    });
}

#[test]
fn old_routes_are_pruned_except_the_one_to_keep() {
    write(&mut store(), |tx| {
        for (route, epoch) in [(1, 3), (2, 4), (3, 5), (4, FAR)] {
            tx.put_route(&routing(route), &group_id(1), epoch)?;
        }
        tx.put_route(&routing(5), &group_id(2), 0)?;
        assert_eq!(tx.routes(&group_id(1))?, [1, 2, 3, 4].map(routing));
        tx.prune_routes(&group_id(1), 5, &routing(1))?;
        assert_eq!(tx.routes(&group_id(1))?, [1, 3, 4].map(routing));
        tx.put_route(&routing(3), &group_id(1), FAR + 1)?;
        tx.prune_routes(&group_id(1), FAR + 1, &routing(1))?;
        assert_eq!(tx.routes(&group_id(1))?, [1, 3].map(routing));
        // A retained state keeps its route, whatever its epoch says.
        tx.put_route(&routing(2), &group_id(1), 0)?;
        tx.put_node(&NodeRow { nostr_group_id: routing(2), ..node(1, 1, 9) })?;
        tx.put_node(&NodeRow { nostr_group_id: routing(3), ..node(2, 1, 9) })?;
        tx.prune_routes(&group_id(1), u64::MAX, &routing(1))?;
        assert_eq!(tx.routes(&group_id(1))?, [1, 2].map(routing));
        tx.prune_nodes(&group_id(1), FAR)?;
        tx.prune_routes(&group_id(1), u64::MAX, &routing(1))?;
        assert_eq!(tx.routes(&group_id(1))?, [1].map(routing));
        assert_eq!(tx.route(&routing(5))?, Some(group_id(2)));
        assert_eq!(tx.route(&routing(2))?, None);
        Ok(())
    });
}

#[test]
fn a_later_group_cannot_take_over_a_route() {
    write(&mut store(), |tx| {
        tx.put_route(&routing(1), &group_id(7), 1)?;
        tx.put_route(&routing(1), &group_id(3), 9)?;
        tx.put_route(&routing(1), &group_id(7), 2)?;
        assert_eq!(tx.route(&routing(1))?, Some(group_id(7)));
        assert_eq!(tx.route_claims(&routing(1))?, [7, 3].map(group_id));
        tx.delete_group(&group_id(7))?;
        assert_eq!(tx.route(&routing(1))?, Some(group_id(3)));
        Ok(())
    });
}

#[test]
fn a_pace_goes_with_its_group() {
    write(&mut store(), |tx| {
        for n in [1, 2] {
            tx.insert_group(&group(n))?;
            assert_eq!(tx.pace(&group_id(n))?, None);
        }
        for (n, second) in [(1, 7), (2, FAR), (1, 8)] {
            tx.set_pace(&group_id(n), second)?;
        }
        assert_eq!((tx.pace(&group_id(1))?, tx.pace(&group_id(2))?), (Some(8), Some(FAR)));
        tx.delete_group(&group_id(1))?;
        assert_eq!((tx.pace(&group_id(1))?, tx.pace(&group_id(2))?), (None, Some(FAR)));
        Ok(())
    });
}
