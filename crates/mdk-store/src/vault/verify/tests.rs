#![allow(clippy::unwrap_used)]

use std::fs;

use mdk_wire::Secret;

use super::*;
use crate::{OpenOptions, vault::pages::PageKey};

// Damage that an HMAC cannot show, because the page was written that way: only SQLite's own checks find it.
#[test]
fn authentic_pages_that_do_not_make_a_sound_tree_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("home").join("a.db");
    let key = DatabaseKey::Raw(Secret::new([1; 32]));
    let mut store = Store::open(&path, &key, &OpenOptions::default()).unwrap();
    store
        .write(|tx| (0..300u16).try_for_each(|n| tx.set_meta(&format!("name {n:04}"), &[7; 50])))
        .unwrap();
    store.close().unwrap();
    assert!(verify(&path, &key, &mut Progress::none()).unwrap().is_intact());
    let good = fs::read(&path).unwrap();
    let keys = PageKey::of_page_1(&Secret::new([1; 32]), &good);
    let (mut reported, mut open) = (0, 0);
    for (index, number) in (1..good.len() / PAGE).zip(2u32..) {
        let mut bytes = good.clone();
        let page = &mut bytes[index * PAGE..][..PAGE];
        assert!(keys.decrypt(number, page));
        // A leaf of an index, which `meta` is too, with more than one cell: one is taken out of its list.
        let cells = u16::from_be_bytes([page[3], page[4]]);
        if page[0] != 10 || cells < 2 {
            continue;
        }
        page[3..5].copy_from_slice(&(cells - 1).to_be_bytes());
        keys.encrypt(number, page, &[3; 16]);
        fs::write(&path, &bytes).unwrap();
        let report = verify(&path, &key, &mut Progress::none()).unwrap();
        assert!(report.bad_pages.is_empty() && !report.structure.is_empty(), "{report:?}");
        assert!(report.structure.iter().all(|line| !line.contains("name 0")), "{report:?}");
        // Nor does an open database call it a fault of the disk.
        if let Ok(mut store) = Store::open(&path, &key, &OpenOptions::default()) {
            let report = store.verify(&mut Progress::none()).unwrap();
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
    keys.encrypt(last as u32, page, &[4; 16]);
    fs::write(&path, &bytes).unwrap();
    assert!(!verify(&path, &key, &mut Progress::none()).unwrap().is_intact());
}
