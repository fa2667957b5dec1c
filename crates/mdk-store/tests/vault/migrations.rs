//! Databases that earlier versions wrote open, are migrated, and say what they said.

use std::path::Path;

use mdk_store::{
    DatabaseKey, GroupStatus, InputState, Loss, MessageStatus, OpenError, OpenOptions,
    OutgoingPurpose, OutgoingRow, PassRow, Progress, Store, StoreError, salvage, verify,
};
use mdk_wire::{EventId, GroupId, Secret};

#[cfg(target_os = "linux")]
use crate::kit::backup::SmallDisk;

const GROUP: &str = "262de5a887a2e6409e17c667020d2918";

fn key() -> DatabaseKey {
    DatabaseKey::Raw(Secret::new([7; 32]))
}

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("mdk.db"), &key(), &OpenOptions::default()).unwrap()
}

fn copy(version: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let fixture = format!("{fixtures}/version-{version}.db");
    let path = folder.path().join("mdk.db");
    std::fs::write(&path, std::fs::read(fixture).unwrap()).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode;
        std::fs::set_permissions(&path, mode(0o600)).unwrap();
        std::fs::set_permissions(folder.path(), mode(0o700)).unwrap();
    }
    folder
}

#[test]
fn a_database_of_version_1_is_migrated() {
    let folder = copy(1);
    let mut store = open(folder.path());
    assert_eq!(store.info().unwrap().schema_version, 5);
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
            assert_eq!((held.len(), held[0].loss), (1, Loss::Possible));

            // The new columns are written and read.
            tx.put_node(&nodes[2])?;
            tx.set_canonical(&group, &nodes[2].authenticator, false)?;
            tx.mark_reported(&held[0].event_id)?;
            let changed = PassRow { opened: 5, contested: 4, ..pass };
            tx.update_group(&mdk_store::GroupRow { pass: changed, ..row.clone() })?;
            assert!(!tx.nodes(&group)?[2].canonical);
            assert_eq!(tx.held(&group)?[0].loss, Loss::Told);
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

#[test]
fn a_database_of_version_2_gets_an_outbox() {
    let folder = copy(2);
    let mut store = open(folder.path());
    assert_eq!(store.info().unwrap().schema_version, 5);
    let group = GroupId::from_hex(GROUP).unwrap();
    let row = OutgoingRow {
        seq: 0,
        event_id: EventId::from_bytes([1; 32]),
        purpose: OutgoingPurpose::Proposal,
        group: Some(group.clone()),
        message: None,
        recipient: None,
        pending: None,
        created_at: 0,
        attempts: 0,
        end: None,
        finished_at: None,
        targets: Vec::new(),
        event_json: Some("{}".to_owned()),
    };
    store
        .write(|tx| {
            assert_eq!(tx.page(&group, 100, None, None)?.len(), 7);
            assert_eq!(tx.nodes(&group)?.len(), 6);
            assert!(tx.outgoing(0, 10)?.is_empty() && tx.client_states("")?.is_empty());
            tx.post(&row)?;
            tx.set_client_state("cursor", Some(b"1"))?;
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert!(store.verify(&mut Progress::none()).unwrap().is_intact());
    store
        .write(|tx| {
            tx.delete_group(&group)?;
            assert!(tx.outgoing(0, 10)?.is_empty(), "it goes with its group");
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

#[test]
fn a_database_of_version_3_takes_file_keys() {
    let folder = copy(3);
    let mut store = open(folder.path());
    assert_eq!(store.info().unwrap().schema_version, 5);
    let group = GroupId::from_hex(GROUP).unwrap();
    let (file, key) = ([5; 32], Secret::new([6; 32]));
    store
        .write(|tx| {
            assert_eq!((tx.outgoing(0, 10)?.len(), tx.client_states("")?.len()), (1, 1));
            let messages = tx.page(&group, 100, None, None)?;
            assert_eq!(messages.len(), 7);
            assert!(tx.file_keys(&group, &file)?.is_empty());
            tx.put_file_key(&group, messages[0].seq, &file, &key)
        })
        .unwrap();
    assert!(store.verify(&mut Progress::none()).unwrap().is_intact());
    drop(store);
    let mut store = open(folder.path());
    let keys = store.read(|tx| tx.file_keys(&group, &file)).unwrap();
    assert_eq!(keys, [key]);
}

#[test]
fn a_database_of_version_4_shows_everything_once() {
    let folder = copy(4);
    let mut store = open(folder.path());
    assert_eq!(store.info().unwrap().schema_version, 5);
    let group = GroupId::from_hex(GROUP).unwrap();
    store
        .write(|tx| {
            // Before, the second message stood there three times, and the third was deleted and then edited twice.
            let page = tx.page(&group, 100, None, None)?;
            assert_eq!(page.len(), 7);
            for row in &page {
                let copies = tx.copies(&group, &row.id)?;
                assert_eq!((copies.len(), copies[0].seq), (1, row.seq));
                assert_eq!(row.status == MessageStatus::Deleted, row.seq == 3);
            }
            assert_eq!(tx.file_keys(&group, &[5; 32])?.len(), 1);
            assert!(tx.file_keys(&group, &[8; 32])?.is_empty(), "it was that of a copy");
            let all = tx.messages_after(0, 100)?;
            assert_eq!(all.iter().filter(|row| row.status == MessageStatus::Expired).count(), 2);
            let edits: Vec<&str> =
                all.iter().filter(|row| row.kind == 1009).map(|row| row.content.as_str()).collect();
            assert_eq!(edits, ["", "", "what it says now"]);
            assert_eq!(tx.search("says now", None, 9)?[0].seq, 4);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert!(store.verify(&mut Progress::none()).unwrap().is_intact());
}

/// What an older version lacks is not taken for damage, and a rescue makes it.
#[test]
fn older_databases_are_verified_and_salvaged() {
    for version in [1, 2, 3, 4] {
        let folder = copy(version);
        let path = folder.path().join("mdk.db");
        let report = verify(&path, &key(), &mut Progress::none()).unwrap();
        assert!(report.is_intact(), "version {version}: {report:?}");
        let saved = folder.path().join("saved.db");
        salvage(&path, &key(), &saved, &key(), &mut Progress::none()).unwrap();
        let mut store = Store::open(&saved, &key(), &OpenOptions::default()).unwrap();
        let group = GroupId::from_hex(GROUP).unwrap();
        let messages = store.read(|tx| tx.page(&group, 100, None, None)).unwrap();
        assert_eq!(messages.len(), 7, "version {version}");
        assert!(store.verify(&mut Progress::none()).unwrap().is_intact());
    }
}

/// The fixture on a small disk of which all but so many bytes are taken.
#[cfg(target_os = "linux")]
fn on_small_disk(version: u32, folder: &Path) -> Option<(SmallDisk, std::path::PathBuf)> {
    let small = SmallDisk::mount(folder, "4m")?;
    let home = small.path().join("home");
    let from = copy(version);
    std::fs::create_dir(&home).unwrap();
    std::fs::copy(from.path().join("mdk.db"), home.join("mdk.db")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(&home, mode(0o700)).unwrap();
    Some((small, home))
}

/// Refused with both numbers and nothing changed while a page is missing; done with exactly the room that was asked for,
/// so that the number is one that can be relied on.
#[cfg(target_os = "linux")]
#[test]
fn a_migration_asks_for_its_room_before_it_changes_anything() {
    for version in 1..5 {
        let folder = tempfile::tempdir().unwrap();
        let Some((small, home)) = on_small_disk(version, folder.path()) else {
            eprintln!("skipped: mounting a small file system needs root");
            return;
        };
        let path = home.join("mdk.db");
        let before = std::fs::read(&path).unwrap();
        let filler = small.path().join("filler");
        small.fill_up();
        let full = std::fs::metadata(&filler).unwrap().len();
        let open = || Store::open(&path, &key(), &OpenOptions::default());
        let leave = |bytes: u64| {
            let file = std::fs::File::options().write(true).open(&filler).unwrap();
            file.set_len(full - bytes.next_multiple_of(4096)).unwrap();
        };
        // Opening makes its own small files and the index of a log first, and what they take is not free any more.
        let own = 64 << 10;
        leave(own);
        let (needed, free) = match open() {
            Err(OpenError::NoSpace { directory, needed, available }) => {
                assert_eq!(directory, home.canonicalize().unwrap());
                (needed, available)
            }
            other => panic!("version {version}: {other:?}"),
        };
        assert!(needed > free && needed < 2 << 20, "version {version}: {needed} of {free}");
        leave(own + needed - free - 4096);
        let again = open();
        assert!(
            matches!(again, Err(OpenError::NoSpace { needed: n, .. }) if n == needed),
            "{again:?}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), before, "version {version}");
        let names: Vec<_> =
            std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["mdk.db"], "version {version}");

        leave(own + needed - free);
        let store = open().unwrap();
        assert_eq!(store.info().unwrap().schema_version, 5);
        store.close().unwrap();
    }
}
