//! A database that version 1 wrote opens, is migrated, and says what it said.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use mdk_store::{DatabaseKey, GroupStatus, InputState, OpenOptions, PassRow, Store, StoreError};
use mdk_wire::{GroupId, Secret};

const GROUP: &str = "262de5a887a2e6409e17c667020d2918";

fn open(folder: &Path) -> Store {
    let path = folder.join("version-1.db");
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    Store::open(&path, &key, &OpenOptions::default()).unwrap()
}

fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-1.db");
    let path = folder.path().join("version-1.db");
    std::fs::write(&path, std::fs::read(fixture).unwrap()).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

#[test]
fn a_database_of_version_1_is_migrated() {
    let folder = copy();
    let mut store = open(folder.path());
    assert_eq!(store.info().unwrap().schema_version, 2);
    let group = GroupId::from_hex(GROUP).unwrap();
    store
        .write(|tx| {
            let row = tx.group(&group)?.unwrap();
            assert_eq!((row.status, row.epoch, row.join_epoch), (GroupStatus::Active, 6, 1));
            // Epoch 1 was the first one, and five back from 6.
            let pass = PassRow { floor: 1, joined_at: row.created_at, ..PassRow::default() };
            assert_eq!(row.pass, pass);

            let nodes = tx.nodes(&group)?;
            let epochs: Vec<u64> = nodes.iter().map(|node| node.epoch).collect();
            assert_eq!(epochs, [6, 5, 4, 3, 2, 1]);
            assert!(nodes.iter().all(|n| n.canonical && !n.removed && n.history == 0));
            for node in &nodes[1..] {
                assert!(tx.node_state(&group, &node.authenticator)?.is_some());
                assert!(nodes.iter().any(|child| child.parent == Some(node.authenticator)));
            }
            assert_eq!(tx.page(&group, 100, None, None)?.len(), 7);
            let inputs = tx.inputs(&group)?;
            assert_eq!(inputs.len(), 1);
            assert_eq!((inputs[0].epoch, inputs[0].state), (4, InputState::Waiting));
            let held = tx.held(&group)?;
            assert_eq!((held.len(), held[0].reported), (1, false));

            // The new columns are written and read.
            tx.put_node(&nodes[2])?;
            tx.set_canonical(&group, &nodes[2].authenticator, false)?;
            tx.mark_reported(&held[0].event_id)?;
            let changed = PassRow { opened: 5, contested: 4, ..pass };
            tx.update_group(&mdk_store::GroupRow { pass: changed, ..row.clone() })?;
            assert!(!tx.nodes(&group)?[2].canonical);
            assert!(tx.held(&group)?[0].reported);
            assert_eq!(tx.group(&group)?.unwrap().pass, changed);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    // Opening it again changes nothing.
    let digest = store.digest().unwrap();
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(store.digest().unwrap(), digest);
}
