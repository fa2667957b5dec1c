use mdk_wire::{ContentId, GroupId, NostrGroupId, Secret, SecretVec};

use super::MOST;
use crate::{NodeRow, Result, Store, StoreError, Tx};

fn group(n: u8) -> GroupId {
    GroupId::from_bytes(&[n; 16]).unwrap()
}

fn node(of: u8, name: u8, epoch: u64) -> NodeRow {
    NodeRow {
        group: group(of),
        authenticator: [name; 32],
        epoch,
        parent: Some([name.wrapping_sub(1); 32]),
        commit: Some(ContentId::of(&[name])),
        committer: None,
        privileged: name.is_multiple_of(2),
        canonical: !name.is_multiple_of(3),
        removed: name.is_multiple_of(5),
        history: name.into(),
        made_at: epoch * 1_000,
        sent_at: epoch,
        event_key: Secret::new([name; 32]),
        nostr_group_id: NostrGroupId::from_bytes([of; 32]),
        relays: vec![format!("wss://{name}.example")],
        retention: 0,
        state: SecretVec::new(vec![name; 40]),
    }
}

fn same(tx: &Tx<'_>) {
    for of in [1, 2] {
        let states = tx.states(&group(of)).unwrap();
        assert!(states.iter().eq(&tx.nodes(&group(of)).unwrap()));
        assert!(states.numbered().all(|(number, _)| number <= states.newest()));
    }
}

/// One of all possible changes, by three numbers.
fn change(tx: &Tx<'_>, what: u32, name: u8, epoch: u64) -> Result<()> {
    let (of, auth) = (1 + u8::from(what > 40), [name; 32]);
    match what % 8 {
        0 | 1 => tx.put_node(&node(of, name, epoch)),
        2 => {
            // An epoch ends. The tip is the first state.
            let Some(tip) = tx.nodes(&group(of))?.into_iter().next() else { return Ok(()) };
            let state = SecretVec::new(vec![1; 40]);
            tx.retain_node(&group(of), &tip.authenticator, &state, tip.epoch.saturating_sub(4))?;
            tx.put_tip_node(&node(of, name, tip.epoch + 1))
        }
        3 => tx.put_tip_node(&node(of, name, epoch)),
        4 => tx.drop_node(&group(of), &auth),
        5 => tx.prune_nodes(&group(of), epoch / 2),
        6 => match tx.has_node(&group(of), &auth)? {
            true => tx.set_canonical(&group(of), &auth, epoch.is_multiple_of(2)),
            false => Ok(()),
        },
        _ if epoch == 0 && what < 20 => tx.delete_group(&group(of)),
        _ if epoch == 1 => tx.delete_since(&group(of), 0, 0),
        _ => Ok(()),
    }
}

/// The known states are those that a fresh read finds, after any change of the rows and any end of the transaction.
#[test]
fn what_is_known_is_what_is_stored() {
    let mut store = Store::in_memory().unwrap();
    let mut seed = 1_u64;
    let mut dice = move |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    for _ in 0..400 {
        let (steps, fails) = (dice(6), dice(4) == 0);
        let undone = dice(3) == 0;
        let mut roll = || {
            let (what, name, epoch) = (dice(60), dice(30), dice(12));
            (u32::try_from(what).unwrap(), u8::try_from(name + 1).unwrap(), epoch)
        };
        let _ = store.write(|tx| {
            for _ in 0..steps {
                let (what, name, epoch) = roll();
                change(tx, what, name, epoch)?;
                same(tx);
            }
            let inner = tx.savepoint(|tx| {
                let (what, name, epoch) = roll();
                change(tx, what, name, epoch)?;
                same(tx);
                if undone { Err(StoreError::Closed) } else { Ok(()) }
            });
            assert_eq!(inner.is_err(), undone);
            same(tx);
            if fails { Err(StoreError::Closed) } else { Ok(()) }
        });
        let _ = store.read(|tx| {
            same(tx);
            Ok::<_, StoreError>(())
        });
    }
}

/// A state that was removed and is there again, or has another key, is a new one. Every other state keeps its number.
#[test]
fn a_state_keeps_its_number_as_long_as_it_stays() {
    let mut store = Store::in_memory().unwrap();
    let done = store.write(|tx| {
        let number = |name: u8| {
            let states = tx.states(&group(1))?;
            let found = states.numbered().find(|(_, node)| node.authenticator == [name; 32]);
            Ok::<_, StoreError>(found.map(|(number, _)| number).unwrap())
        };
        tx.put_node(&node(1, 1, 1))?;
        tx.put_node(&node(1, 2, 2))?;
        let (first, second) = (number(1)?, number(2)?);
        tx.put_node(&NodeRow { canonical: false, ..node(1, 2, 2) })?;
        tx.set_canonical(&group(1), &[2; 32], true)?;
        assert_eq!((number(1)?, number(2)?), (first, second));
        let newest = tx.states(&group(1))?.newest();
        tx.put_node(&NodeRow { event_key: Secret::new([9; 32]), ..node(1, 2, 2) })?;
        assert!(number(2)? > newest, "another key");
        let newest = tx.states(&group(1))?.newest();
        tx.drop_node(&group(1), &[1; 32])?;
        tx.put_node(&node(1, 1, 1))?;
        assert!(number(1)? > newest, "there again");
        Ok::<_, StoreError>(())
    });
    done.unwrap();
}

/// The known states of many groups are bounded, and each group is read again when it is asked for.
#[test]
fn what_is_known_is_bounded() {
    let mut store = Store::in_memory().unwrap();
    let done = store.write(|tx| {
        for of in 0..=u8::MAX {
            (1..=20).try_for_each(|name| tx.put_node(&node(of, name, name.into())))?;
        }
        for of in 0..=u8::MAX {
            assert_eq!(tx.states(&group(of))?.iter().count(), 20);
            let known = tx.states.groups.borrow();
            assert!(known.values().map(|states| states.entries.len()).sum::<usize>() <= MOST);
        }
        let read = tx.states_read();
        for _ in 0..10 {
            tx.states(&group(u8::MAX))?;
        }
        assert_eq!(tx.states_read(), read, "nothing is read twice");
        Ok::<_, StoreError>(())
    });
    done.unwrap();
}
