//! Damage that an HMAC cannot show, because the page was written that way: only SQLite's own checks find it.

use std::fs;

use mdk_store::*;

use crate::kit::{codec::Codec, vault::*};

#[test]
fn authentic_pages_that_do_not_make_a_sound_tree_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("home").join("a.db");
    let mut store = open(&path, &raw(1));
    store
        .write(|tx| (0..300u16).try_for_each(|n| tx.set_meta(&format!("name {n:04}"), &[7; 50])))
        .unwrap();
    store.close().unwrap();
    let verified = || verify(&path, &raw(1), &mut none()).unwrap();
    assert!(verified().is_intact());
    let good = fs::read(&path).unwrap();
    let codec = Codec::new([1; 32], &good);
    let (mut reported, mut open) = (0, 0);
    for (index, number) in (1..good.len() / PAGE).zip(2u32..) {
        let mut bytes = good.clone();
        let page = &mut bytes[index * PAGE..][..PAGE];
        codec.decrypt(number, page);
        // A leaf of an index, which `meta` is too, with more than one cell: one is taken out of its list.
        let cells = u16::from_be_bytes([page[3], page[4]]);
        if page[0] != 10 || cells < 2 {
            continue;
        }
        page[3..5].copy_from_slice(&(cells - 1).to_be_bytes());
        codec.encrypt(number, page);
        fs::write(&path, &bytes).unwrap();
        let report = verified();
        assert!(report.bad_pages.is_empty() && !report.structure.is_empty(), "{report:?}");
        assert!(report.structure.iter().all(|line| !line.contains("name 0")), "{report:?}");
        // Nor does an open database call it a fault of the disk.
        if let Ok(mut store) = try_open(&path, &raw(1)) {
            let report = store.verify(&mut none()).unwrap();
            assert!(report.bad_pages.is_empty() && !report.structure.is_empty(), "{report:?}");
            open += 1;
        }
        reported += 1;
    }
    assert!(reported > 2 && open > 2, "{reported}, {open}");
    // A table that is no tree at all.
    let mut bytes = good.clone();
    let last = bytes.len() / PAGE;
    let page = &mut bytes[(last - 1) * PAGE..];
    page.fill(0x33);
    codec.encrypt(u32::try_from(last).unwrap(), page);
    fs::write(&path, &bytes).unwrap();
    assert!(!verified().is_intact());
}

/// The header of page 1 may say anything to whoever has the key.
#[test]
fn a_wrong_header_under_the_right_key_is_an_error_by_name() {
    let home = Home::new();
    let good = home.bytes();
    let codec = Codec::new([1; 32], &good);
    // Page size, versions of the format, bytes of each page that are not used, fractions, format of the schema, encoding.
    for (at, bytes) in [
        (16, &[2, 0][..]),
        (16, &[0, 1]),
        (16, &[0x20, 0]),
        (16, &[0, 0]),
        (18, &[9, 9]),
        (20, &[0]),
        (20, &[79]),
        (20, &[255]),
        (21, &[0, 0, 0]),
        (28, &[0xff; 4]),
        (44, &[0, 0, 0, 9]),
        (56, &[0, 0, 0, 2]),
        (100, &[0; 8]),
    ] {
        let mut bad = good.clone();
        codec.decrypt(1, &mut bad[..PAGE]);
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        codec.encrypt(1, &mut bad[..PAGE]);
        fs::write(&home.path, &bad).unwrap();
        let opened = try_open(&home.path, &raw(1));
        if matches!(at, 16 | 20) {
            assert_eq!(opened.unwrap_err(), OpenError::WrongKey, "{at} {bytes:?}");
        }
        let _ = verify(&home.path, &raw(1), &mut none());
        let _ = doctor(&home.path, Some(&raw(1)), &mut none());
        let to = home.dir.path().join(format!("{at} {bytes:?}")).join("b.db");
        let _ = salvage(&home.path, &raw(1), &to, &raw(2), &mut none());
        let _ = encrypt_existing(&home.path, Some(&raw(1)), Some(&to), &raw(2), &mut none());
    }
}
