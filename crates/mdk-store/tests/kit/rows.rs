//! Rows with every field set, made from one number. Shared by the repository tests.

use mdk_store::*;
use mdk_wire::{
    ContentId, EventId, GroupId, KeyPackageRef, NostrGroupId, PublicKey, Secret, SecretVec,
};

pub fn store() -> Store {
    Store::in_memory().unwrap()
}

pub fn write<T>(store: &mut Store, f: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
    store.write(f).unwrap()
}

pub fn group_id(n: u8) -> GroupId {
    GroupId::from_bytes(&[n; 16]).unwrap()
}
pub fn event_id(n: u8) -> EventId {
    EventId::from_bytes([n; 32])
}
pub fn content_id(n: u8) -> ContentId {
    ContentId::from_bytes([n; 32])
}
pub fn routing(n: u8) -> NostrGroupId {
    NostrGroupId::from_bytes([n; 32])
}

/// A few x-coordinates of real points.
pub fn key(n: u8) -> PublicKey {
    let mut found = (0..=u8::MAX).filter_map(|x| PublicKey::from_bytes([x; 32]).ok());
    found.nth(usize::from(n % 8)).unwrap()
}

pub fn texts(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("wss://{}.example/ü\0{i}", "x".repeat(i))).collect()
}

pub fn group(n: u8) -> GroupRow {
    GroupRow {
        id: group_id(n),
        profile: 2,
        status: GroupStatus::Active,
        epoch: 7,
        join_epoch: 1,
        authenticator: [n; 32],
        event_key: Secret::new([n ^ 0xff; 32]),
        nostr_group_id: routing(n),
        name: format!("group {n}"),
        description: String::new(),
        relays: texts(2),
        admins: vec![key(0)],
        members: vec![key(0), key(1), key(2)],
        retention: 3600,
        has_image: true,
        welcomer: Some(key(1)),
        created_at: u64::from(n),
        self_updated_at: 1_700_000_000,
        last_read: 5,
        welcome: Some(event_id(n)),
        pass: PassRow {
            opened: 11,
            relevant: 12,
            base: 7,
            floor: 2,
            contested: 5,
            switches: 1,
            joined_at: 1_600_000_000,
        },
    }
}

pub fn message(group: u8, id: u8, kind: u16) -> MessageRow {
    MessageRow {
        seq: 0,
        group: group_id(group),
        id: event_id(id),
        content_id: content_id(id),
        outer_id: event_id(id ^ 0x55),
        sender: key(id),
        kind,
        created_at: 1_700_000_000,
        received_at: 1_700_000_001,
        epoch: 3,
        authenticator: [3; 32],
        content: format!("message {id}"),
        tags: vec![vec!["e".into(), "ff".into()], vec![]],
        target: None,
        mine: false,
        delivery: 1,
        expires_at: None,
        status: MessageStatus::Valid,
    }
}

pub fn pending(group: u8, digest: u8, status: CommitStatus) -> PendingRow {
    PendingRow {
        id: 0,
        group: group_id(group),
        digest: content_id(digest),
        source_epoch: u64::from(digest),
        source_auth: [1; 32],
        next_auth: [2; 32],
        purpose: 4,
        automatic: false,
        status,
        event_id: Some(event_id(digest)),
        event_json: Some("{}".into()),
        relays: texts(1),
        created_at: 9,
        group_state: SecretVec::new(vec![1, 2, 3]),
        welcome: vec![4, 5],
    }
}

pub fn welcome(pending: i64, n: u8) -> WelcomeRow {
    WelcomeRow {
        id: 0,
        pending,
        recipient: key(n),
        event_id: event_id(n),
        recipe: SecretVec::new(vec![n; 40]),
        sendable: false,
    }
}

pub fn key_package(n: u8) -> KeyPackageRow {
    KeyPackageRow {
        reference: KeyPackageRef::from_bytes([n; 32]),
        slot: "ab".repeat(32),
        event_id: event_id(n),
        event_json: "{}".into(),
        created_at: u64::from(n),
        not_after: 2_000_000_000,
        relays: texts(3),
        last_resort: true,
        used: false,
        replaced_at: Some(77),
    }
}

pub fn held(group: u8, n: u8) -> HeldRow {
    HeldRow {
        event_id: event_id(n),
        group: group_id(group),
        event_json: format!("{{{n}}}"),
        received_at: 5,
        loss: Loss::Possible,
        closed: true,
        source: 0,
    }
}

pub fn input(group: u8, n: u8) -> InputRow {
    InputRow {
        group: group_id(group),
        content_id: content_id(n),
        class: InputClass::Commit,
        epoch: u64::from(n),
        bytes: vec![n; 10],
        state: InputState::Waiting,
        sender: Some(key(n)),
        parent_auth: Some([n; 32]),
        event_id: event_id(n),
        received_at: 5,
        due_at: None,
    }
}

pub fn node(group: u8, auth: u8, epoch: u64) -> NodeRow {
    NodeRow {
        group: group_id(group),
        authenticator: [auth; 32],
        epoch,
        parent: Some([auth.wrapping_sub(1); 32]),
        commit: Some(content_id(auth)),
        committer: Some(key(auth)),
        privileged: true,
        canonical: true,
        removed: false,
        history: 3,
        made_at: 1_700_000_000_123,
        sent_at: 1_700_000_000,
        event_key: Secret::new([auth; 32]),
        nostr_group_id: routing(group),
        relays: texts(2),
        retention: 60,
        state: SecretVec::new(vec![auth; 100]),
    }
}
