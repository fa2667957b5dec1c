use std::cell::Cell;
use std::ffi::c_int;

use mdk_wire::budget::group::MAX_HELD_BYTES;
use mdk_wire::{EventId, GroupId};
use rusqlite::ffi;

use super::{HeldRow, Loss, noise_weight};
use crate::{DatabaseKey, OpenOptions, Result, Store, StoreError, Tx};

fn group(n: u8) -> GroupId {
    GroupId::from_bytes(&[n; 16]).unwrap()
}

fn event(n: u64) -> EventId {
    let mut id = [0; 32];
    // The ids are scattered, like hashes.
    id[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    EventId::from_bytes(id)
}

fn row(of: u8, n: u64, size: usize) -> HeldRow {
    HeldRow {
        event_id: event(n),
        group: group(of),
        event_json: "x".repeat(size),
        received_at: 1_000 + n,
        loss: Loss::Possible,
        closed: true,
        source: 0,
    }
}

/// A Welcome of about this size.
fn welcome(of: u8, n: u64, size: usize) -> HeldRow {
    HeldRow { event_json: format!("{{\"kind\":1059,{}", "x".repeat(size)), ..row(of, n, size) }
}

/// The pages that this connection has looked at so far, in memory or not.
fn pages(tx: &Tx<'_>) -> i64 {
    let mut sum = 0;
    for what in [ffi::SQLITE_DBSTATUS_CACHE_HIT, ffi::SQLITE_DBSTATUS_CACHE_MISS] {
        let (mut current, mut highest): (c_int, c_int) = (0, 0);
        // SAFETY: the handle is that of an open connection, used by this thread only.
        let code = unsafe {
            ffi::sqlite3_db_status(tx.conn.handle(), what, &raw mut current, &raw mut highest, 0)
        };
        assert_eq!(code, ffi::SQLITE_OK);
        sum += i64::from(current);
    }
    sum
}

/// The most pages that one of these calls looks at.
fn most(tx: &Tx<'_>, calls: impl Iterator<Item = Result<()>>) -> i64 {
    let (mut most, mut before) = (0, pages(tx));
    for call in calls {
        call.unwrap();
        let after = pages(tx);
        most = most.max(after - before);
        before = after;
    }
    most
}

/// The cost of one more event does not depend on the number of held ones. A refused event costs less still.
#[test]
fn a_flood_costs_the_same_per_event_however_long_it_is() {
    let mut store = Store::in_memory().unwrap();
    store
        .write(|tx| {
            let fill = |from: u64, to: u64| {
                for n in from..to {
                    assert!(tx.hold(&row(1, n, 2_000), u32::MAX).unwrap());
                }
            };
            let held = |from: u64| {
                (from..from + 20).map(move |n| tx.hold(&row(1, n, 2_000), u32::MAX).map(drop))
            };
            let refused = |from: u64| {
                (from..from + 20).map(move |n| tx.hold(&row(1, n, 2_000), 500).map(drop))
            };
            fill(0, 500);
            let few = (most(tx, held(500)), most(tx, refused(10_000)));
            fill(520, 4_000);
            let many = (most(tx, held(4_000)), most(tx, refused(20_000)));
            // The trees may have one more level, and a page may be split.
            assert!(many.0 <= 2 * few.0, "held: {few:?} pages with 500, {many:?} with 4,000");
            assert!(many.1 <= 2 * few.1, "refused: {few:?} pages with 500, {many:?} with 4,000");
            assert!(many.1 < 20, "{many:?}");
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

/// The known sums of a group match a count.
fn agrees(tx: &Tx<'_>) {
    for n in 1..=3 {
        let held = tx.held(&group(n)).unwrap();
        let (welcomes, others): (Vec<_>, Vec<_>) =
            held.iter().partition(|held| held.event_json.starts_with("{\"kind\":1059,"));
        let bytes: usize = others.iter().map(|held| held.event_json.len()).sum();
        let sums = tx.held_sums(&group(n)).unwrap();
        let counted = (held.len() as u64, welcomes.len() as u64, bytes as u64);
        assert_eq!((sums.events, sums.welcomes, sums.bytes), counted);
        assert_eq!(tx.held_count(&group(n)).unwrap(), sums.events);
        let noise = |source| {
            let of = tx.held(&group(n)).unwrap().into_iter();
            of.filter(|held| held.closed && held.source == source)
                .map(|row| noise_weight(&row))
                .sum()
        };
        let weights: [u64; 3] = [noise(0), noise(1), noise(2)];
        assert_eq!([0, 1, 2].map(|source| tx.noise_of(&group(n), source).unwrap()), weights);
        let most = weights.into_iter().max().filter(|most| *most > 0);
        assert_eq!(tx.noisiest(&group(n)).unwrap().map(|(_, weight)| weight), most);
    }
}

#[test]
fn the_sums_follow_every_change_and_every_way_back() {
    let (seed, folder) = (Cell::new(7_u64), tempfile::tempdir().unwrap());
    let pick = |below: u64| {
        seed.set(seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        (seed.get() >> 33) % below
    };
    let path = folder.path().join("held.db");
    let key = DatabaseKey::Raw(mdk_wire::Secret::new([3; 32]));
    let open = || Store::open(&path, &key, &OpenOptions::default()).unwrap();
    let mut store = open();
    for round in 0..60 {
        let step = |tx: &Tx<'_>| -> Result<()> {
            let (of, n) = (1 + pick(3) as u8, pick(40));
            match pick(10) {
                0..=4 => {
                    let (source, closed) = (pick(3) as i64, pick(3) > 0);
                    let row = row(of, n, 10 + pick(90) as usize);
                    tx.hold(&HeldRow { source, closed, ..row }, 12)?;
                }
                8 => tx.set_closed(&event(n), pick(2) == 0)?,
                5 => tx.unhold(&event(n))?,
                6 => tx.delete_group(&group(of))?,
                7 => tx.hold_welcome(&welcome(of, n, 10 + pick(90) as usize))?,
                _ => drop(tx.exec(
                    "UPDATE held SET group_id = ?1 WHERE event_id = ?2",
                    [group(of).as_bytes(), event(n).as_bytes()],
                )?),
            }
            Ok(())
        };
        let keep = pick(3) > 0;
        let result = store.write(|tx| {
            for _ in 0..pick(6) {
                step(tx)?;
                let undone = pick(2) == 0;
                let _ = tx.savepoint(|tx| {
                    step(tx)?;
                    step(tx)?;
                    if undone { failed() } else { Ok(()) }
                });
                if pick(2) == 0 {
                    agrees(tx);
                }
            }
            if keep { Ok(()) } else { failed() }
        });
        assert_eq!(result.is_ok(), keep);
        store
            .read(|tx| {
                agrees(tx);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        if round % 10 == 9 {
            drop(store);
            store = open();
        }
    }
}

fn failed() -> Result<()> {
    Err(StoreError::Internal { what: "a way back", code: 0 })
}

#[test]
fn a_group_holds_up_to_its_share_of_bytes() {
    let size = usize::try_from(MAX_HELD_BYTES / 4).unwrap();
    Store::in_memory()
        .unwrap()
        .write(|tx| {
            for n in 0..4 {
                assert!(tx.hold(&row(1, n, size), 9)?);
            }
            assert!(!tx.hold(&row(1, 4, 1), 9)?, "one byte above the share");
            tx.unhold(&event(0))?;
            assert!(!tx.hold(&row(1, 4, size + 1), 9)?);
            assert!(tx.hold(&row(1, 4, size), 9)?);
            assert!(tx.hold(&row(2, 5, size), 9)?, "another group");
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

/// Welcomes take no room from unreadable events, and need none of it. An event that only mentions their kind is no
/// Welcome.
#[test]
fn a_welcome_is_held_beside_the_share_of_a_group() {
    let size = usize::try_from(MAX_HELD_BYTES / 2).unwrap();
    Store::in_memory()
        .unwrap()
        .write(|tx| {
            assert!(tx.hold(&row(1, 0, size), 2)?);
            tx.hold_welcome(&welcome(1, 1, size))?;
            tx.hold_welcome(&welcome(1, 1, size))?;
            let mut speaks = row(1, 2, 0);
            speaks.event_json = "{\"content\":\"\\\"kind\\\":1059,".to_owned();
            speaks.event_json.push_str(&"x".repeat(size - speaks.event_json.len()));
            assert!(tx.hold(&speaks, 2)?);
            assert_eq!(tx.held_count(&group(1))?, 3);
            agrees(tx);
            assert!(!tx.hold(&row(1, 3, 0), 2)?, "full by number");
            assert!(!tx.hold(&row(1, 3, 1), 9)?, "full by bytes");
            tx.hold_welcome(&welcome(1, 4, size))?;
            tx.unhold(&event(1))?;
            assert!(!tx.hold(&row(1, 3, 1), 2)?, "that was none of the share");
            tx.unhold(&event(2))?;
            assert!(tx.hold(&row(1, 3, 1), 2)?);
            assert_eq!(tx.held(&group(1))?.len(), 3);
            Ok::<_, StoreError>(())
        })
        .unwrap();
}
