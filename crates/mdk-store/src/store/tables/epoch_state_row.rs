//! One retained state of a group, as it is stored.

use mdk_wire::{ContentId, GroupId, NostrGroupId, PublicKey, Secret, SecretVec, Timestamp};

use crate::store::columns::guarded_debug;

/// One state of a group.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// MLS group id.
    pub group: GroupId,
    /// Epoch authenticator (RFC 9420, 8.7): names the state within its group.
    pub authenticator: [u8; 32],
    /// Epoch.
    pub epoch: u64,
    /// Authenticator of the state before it; none for the state in which this account joined.
    pub parent: Option<[u8; 32]>,
    /// Id of the commit that led here.
    pub commit: Option<ContentId>,
    /// Account that sent that commit.
    pub committer: Option<PublicKey>,
    /// Whether that commit needed an admin.
    pub privileged: bool,
    /// It is on the branch that this account follows.
    pub canonical: bool,
    /// This account has no leaf in it. Only its place is known: `authenticator` is a stand-in and `event_key` no key.
    pub removed: bool,
    /// The newest [`MessageRow::seq`](crate::MessageRow::seq) when the state was made. Its messages lie above.
    pub history: i64,
    /// The time at which the state was made here, Unix milliseconds.
    pub made_at: u64,
    /// The time that the event of its commit gives, Unix seconds.
    pub sent_at: Timestamp,
    /// Key of the kind-445 envelope in this state.
    pub event_key: Secret<32>,
    /// Routing id in this state.
    pub nostr_group_id: NostrGroupId,
    /// Relay URLs in this state.
    pub relays: Vec<String>,
    /// Seconds until messages disappear in this state; 0: never.
    pub retention: u64,
    /// The group's MLS rows ([`Tx::mls_dump`](crate::Tx::mls_dump)). Empty: not loaded.
    pub state: SecretVec,
}
guarded_debug!(NodeRow { epoch, privileged, canonical });
