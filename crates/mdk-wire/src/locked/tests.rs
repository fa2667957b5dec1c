use super::*;

#[test]
fn a_slot_is_empty_exclusive_and_wiped() {
    let mut one = Slot::take().unwrap();
    let two = Slot::take().unwrap();
    assert_ne!(one.0.at, two.0.at);
    assert_eq!(one.bytes(), &[0; SLOT]);
    one.bytes_mut().fill(0xab);
    assert_eq!(two.bytes(), &[0; SLOT]);
    drop(one);
    // All slots are zero, in any order of taking.
    let slots: Vec<_> = (0..SLOTS + 1).map(|_| Slot::take().unwrap()).collect();
    assert!(slots.iter().all(|slot| slot.bytes() == &[0; SLOT]));
}

#[test]
fn threads_never_share_a_slot() {
    std::thread::scope(|scope| {
        for mark in 1..=8u8 {
            scope.spawn(move || {
                for _ in 0..200 {
                    let mut slots: Vec<_> = (0..20).map(|_| Slot::take().unwrap()).collect();
                    for slot in &mut slots {
                        assert_eq!(slot.bytes(), &[0; SLOT]);
                        slot.bytes_mut().fill(mark);
                    }
                    assert!(slots.iter().all(|slot| slot.bytes() == &[mark; SLOT]));
                }
            });
        }
    });
}

#[test]
fn rows_are_exclusive_and_wiped() {
    let used = AtomicU64::new(0b1011);
    assert_eq!(claim(&used, 2), Some(0b11 << 4));
    assert_eq!(claim(&used, 1), Some(0b100));
    assert_eq!(claim(&used, 59), None);
    assert_eq!(claim(&used, 58), Some(u64::MAX << 6));
    assert_eq!(claim(&used, 1), None);
    assert_eq!(claim(&AtomicU64::new(0), 64), Some(u64::MAX));
    std::thread::scope(|scope| {
        for mark in 1..=8u8 {
            scope.spawn(move || {
                for _ in 0..200 {
                    let rows: Vec<_> =
                        (1..=ROW).map(|n| LockedBox::new(|| vec![mark; n])).collect();
                    let large = LockedBox::new(|| [mark; 1000]);
                    let slots: Vec<_> = (0..20).map(|_| Slot::take().unwrap()).collect();
                    assert!(slots.iter().all(|slot| slot.bytes() == &[0; SLOT]));
                    assert!(rows.iter().all(|row| row.iter().all(|byte| *byte == mark)));
                    assert_eq!(*large, [mark; 1000]);
                }
            });
        }
    });
}

#[test]
fn a_box_takes_what_does_not_fit_into_the_pool() {
    assert!(matches!(LockedBox::new(|| [7u8; 4096]).0, Place::Locked(..)));
    let large = LockedBox::new(|| [7u8; 4097]);
    assert!(matches!(large.0, Place::Heap(_)));
    assert_eq!(*large, [7; 4097]);
    assert_eq!(format!("{large:?}"), "LockedBox(..)");
    // The value inside is dropped once.
    let counted = std::sync::Arc::new(());
    drop(LockedBox::new(|| counted.clone()));
    drop(LockedBox::new(|| (counted.clone(), [0u8; 5000])));
    assert_eq!(std::sync::Arc::strong_count(&counted), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn its_page_is_locked_and_not_dumped() {
    let slot = Slot::take().unwrap();
    let at = slot.0.at.as_ptr() as usize;
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        if let Some((from, to)) =
            line.split(' ').next().and_then(|range| range.split_once('-')).and_then(|(from, to)| {
                let hex = |text| usize::from_str_radix(text, 16).ok();
                Some((hex(from)?, hex(to)?))
            })
        {
            inside = (from..to).contains(&at);
        }
        if let (true, Some(flags)) = (inside, line.strip_prefix("VmFlags:")) {
            let flags: Vec<_> = flags.split_whitespace().collect();
            assert!(flags.contains(&"lo") && flags.contains(&"dd"), "{flags:?}");
            return;
        }
    }
    panic!("the slot is in no mapping");
}
