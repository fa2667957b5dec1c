//! Test support, not API: takes over a recorded device and looks below the public values.
//!
//! Nothing here is reachable from Python, and nothing in the crate uses it.

#[cfg(feature = "broken-order")]
mod broken;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use mdk_store::{InputState, KeyPackageRow, MessageStatus, MlsMemory};
use mdk_wire::{
    ContentId, Event, EventId, GroupId, GroupMessage, KeyPackageEvent, PublicKey, Secret,
    UnsignedEvent,
};
use openmls::group::MlsGroup;
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    KeyPackage, KeyPackageIn, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent,
    ProtocolVersion,
};
use openmls_traits::storage::{CURRENT_VERSION, Entity, StorageProvider as _, traits};
use openmls_traits::types::HpkePrivateKey;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::mls::identity::Identity;
use crate::mls::key_packages::mls_reference;
use crate::mls::provider::Provider;
use crate::mls::{decode, end_membership, provider, views};
use crate::model::error::{Error, Result};
use crate::model::values::{NewMessage, Outgoing};
use crate::model::{membership, message_kinds};
use crate::operations::{send_message, tell_push_tokens};

#[cfg(feature = "broken-order")]
pub use broken::break_order;
#[cfg(feature = "broken-order")]
pub(crate) use broken::breaks;
pub use watch::{Place, Watch, watch};

/// Sends a message without asking whether it is about anything: another client may send such a one.
///
/// # Errors
/// As [`Engine::create_message`].
pub fn say_anything(engine: &mut Engine, group: &GroupId, message: NewMessage) -> Result<Outgoing> {
    engine.speak(group, |ctx| send_message::create_message(&mut ctx.work, group, message))
}

/// The private parts of a device that somebody else made and published.
pub struct Device {
    /// Ed25519 seed of the MLS signature key, 32 bytes.
    pub signature_private: Vec<u8>,
    /// Its public key.
    pub signature_public: Vec<u8>,
    /// X25519 private key of the KeyPackage's init key.
    pub init_private: Vec<u8>,
    /// X25519 private key of its leaf's encryption key.
    pub leaf_encryption_private: Vec<u8>,
    /// The signed 30443 event, which holds the KeyPackage.
    pub event: Event,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Device(..)")
    }
}

/// OpenMLS's private KeyPackage: its own type has no constructor for foreign keys, but a public encoding.
#[derive(Serialize, Deserialize)]
struct Bundle {
    key_package: KeyPackage,
    private_init_key: HpkePrivateKey,
    private_encryption_key: HpkePrivateKey,
}

impl Entity<CURRENT_VERSION> for Bundle {}

impl traits::KeyPackage<CURRENT_VERSION> for Bundle {}

/// Makes a new engine of the same account the recorded device: its signer and its KeyPackage.
///
/// # Errors
/// [`Error::WrongAccount`] for another account's event, [`Error::InvalidEvent`] for one that does not
/// hold a KeyPackage, [`Error::NotAllowed`] when the engine has made KeyPackages or groups already.
pub fn import_device(engine: &mut Engine, device: Device) -> Result<()> {
    let invalid = |_| Error::InvalidEvent("not a KeyPackage event");
    let published = KeyPackageEvent::parse(&device.event).map_err(invalid)?;
    if device.event.pubkey() != engine.public_key() {
        return Err(Error::WrongAccount);
    }
    let message = MlsMessageIn::tls_deserialize_exact_bytes(&published.mls_message)
        .map_err(|_| Error::InvalidEvent("not an MLSMessage"))?;
    let MlsMessageBodyIn::KeyPackage(key_package) = message.extract() else {
        return Err(Error::InvalidEvent("not a KeyPackage"));
    };
    let key_package = KeyPackageIn::validate(key_package, &engine.crypto, ProtocolVersion::Mls10)
        .map_err(|_| Error::InvalidEvent("the KeyPackage is not valid"))?;
    let row = KeyPackageRow {
        reference: published.reference,
        slot: published.slot,
        event_id: device.event.id(),
        event_json: device.event.to_json(),
        created_at: device.event.created_at(),
        not_after: key_package.life_time().not_after(),
        relays: Vec::new(),
        last_resort: true,
        used: false,
        replaced_at: None,
    };
    let bundle = Bundle {
        key_package,
        private_init_key: device.init_private.into(),
        private_encryption_key: device.leaf_encryption_private.into(),
    };
    let now = engine.clock.now();
    let keys = engine.identity.keys.clone();
    engine.identity = engine.store.write(|tx| {
        if !tx.key_packages()?.is_empty() || !tx.groups()?.is_empty() {
            return Err(Error::NotAllowed("the engine is in use already"));
        }
        let identity =
            Identity::import(tx, keys, device.signature_private, device.signature_public, now)?;
        tx.mls().write_key_package(&mls_reference(&row.reference)?, &bundle)?;
        tx.put_key_package(&row)?;
        Ok(identity)
    })?;
    Ok(())
}

/// One leaf of the ratchet tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Identity of its credential.
    pub account: Vec<u8>,
    /// MLS signature key.
    pub signature_key: Vec<u8>,
    /// HPKE encryption key.
    pub encryption_key: Vec<u8>,
}

/// The MLS state of a group's live epoch.
#[derive(Clone)]
pub struct State {
    /// Epoch number.
    pub epoch: u64,
    /// TLS encoding of the GroupContext.
    pub group_context: Vec<u8>,
    /// Epoch authenticator.
    pub authenticator: [u8; 32],
    /// Key that seals kind-445 events, as stored.
    pub event_key: Secret<32>,
    /// Tree hash.
    pub tree_hash: Vec<u8>,
    /// TLS encoding of the confirmation tag.
    pub confirmation_tag: Vec<u8>,
    /// Index of the engine's leaf.
    pub own_leaf_index: u32,
    /// Leaves by index.
    pub leaves: BTreeMap<u32, Leaf>,
    /// The GroupContext's app data dictionary.
    pub components: BTreeMap<u16, Vec<u8>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The state of a group that the account is in, read from the database and not from the cache.
///
/// # Errors
/// [`Error::GroupNotFound`]; [`Error::NotMember`] when its MLS state is gone.
pub fn state(engine: &mut Engine, id: &GroupId) -> Result<State> {
    engine.look(|ctx| {
        let row = ctx.work.records.groups().row(id)?;
        if membership::is_over(row.status) {
            return Err(Error::NotMember("no longer in this group"));
        }
        let loaded = ctx.work.load(row)?;
        let mls = &loaded.mls;
        let leaves = mls.members().map(|member| {
            let leaf = Leaf {
                account: member.credential.serialized_content().to_vec(),
                signature_key: member.signature_key,
                encryption_key: member.encryption_key,
            };
            (member.index.u32(), leaf)
        });
        Ok(State {
            epoch: loaded.row.epoch,
            group_context: context(mls)?,
            authenticator: loaded.row.authenticator,
            event_key: loaded.row.event_key.clone(),
            tree_hash: mls.public_group().group_context().tree_hash().to_vec(),
            confirmation_tag: mls
                .confirmation_tag()
                .tls_serialize_detached()
                .map_err(Error::bug("encoding a tag"))?,
            own_leaf_index: mls.own_leaf_index().u32(),
            leaves: leaves.collect(),
            components: views::view_of_group(mls).components,
        })
    })
}

/// The GroupContext that a commit leads to from the newest retained state. A removed member still computes it, although
/// the engine keeps no live state of a group it is no longer in.
///
/// # Errors
/// [`Error::EpochUnavailable`] without a retained state; [`Error::Internal`] for a commit that does not
/// apply to it.
pub fn context_after(engine: &mut Engine, id: &GroupId, commit: &[u8]) -> Result<Vec<u8>> {
    engine.look(|ctx| {
        let nodes = ctx.work.records.tx.nodes(id)?;
        let newest =
            nodes.iter().find(|n| n.canonical && !n.removed).ok_or(Error::EpochUnavailable)?;
        let state = ctx
            .work
            .records
            .tx
            .node_state(id, &newest.authenticator)?
            .ok_or(Error::EpochUnavailable)?;
        let provider = Provider::new(ctx.work.crypto, MlsMemory::from_dump(id, state.expose())?);
        let mls_id = openmls::group::GroupId::from_slice(id.as_bytes());
        let storage = openmls_traits::OpenMlsProvider::storage(&provider);
        let mut mls = MlsGroup::load(storage, &mls_id)?.ok_or(Error::EpochUnavailable)?;
        let message = decode::decode(commit).map_err(|_| Error::Internal("not a commit"))?;
        let processed =
            mls.process_message(&provider, message).map_err(Error::bug("processing a commit"))?;
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(Error::Internal("not a plain commit"));
        };
        mls.merge_staged_commit(&provider, *staged).map_err(Error::bug("merging a commit"))?;
        context(&mls)
    })
}

fn context(mls: &MlsGroup) -> Result<Vec<u8>> {
    mls.public_group()
        .group_context()
        .tls_serialize_detached()
        .map_err(Error::bug("encoding a GroupContext"))
}

/// A stored message as it came, before edits and deletes are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Id of the inner event.
    pub id: EventId,
    /// The inner event; `None` when its content was erased, by its author or by time.
    pub json: Option<String>,
    /// MLS-authenticated sender.
    pub sender: PublicKey,
    /// Epoch it was encrypted in.
    pub epoch: u64,
    /// The time at which it disappears, Unix seconds.
    pub expires_at: Option<u64>,
}

/// Every row of every group's history, all kinds, in order of arrival.
pub fn history(engine: &mut Engine) -> Result<Vec<Stored>> {
    engine.look(|ctx| {
        let mut all = Vec::new();
        for row in ctx.work.records.tx.messages_after(0, u32::MAX)? {
            if !membership::is_shown(row.status) {
                continue;
            }
            let is_bare = message_kinds::is_bare(&row);
            let inner = UnsignedEvent {
                pubkey: row.sender,
                created_at: row.created_at,
                kind: row.kind,
                tags: row.tags,
                content: row.content,
            };
            let erased = row.status == MessageStatus::Deleted || is_bare;
            if !erased && inner.id() != row.id {
                return Err(Error::Internal("the stored id is not the id of what is stored"));
            }
            all.push(Stored {
                id: row.id,
                json: (!erased).then(|| inner.to_json()),
                sender: row.sender,
                epoch: row.epoch,
                expires_at: row.expires_at,
            });
        }
        Ok(all)
    })
}

/// The number of rows in the history of all groups, and the bytes that their texts and tags take in memory.
pub fn history_size(engine: &mut Engine) -> Result<(usize, usize)> {
    engine.look(|ctx| {
        let rows = ctx.work.records.tx.messages_after(0, u32::MAX)?;
        let tags = rows.iter().flat_map(|row| row.tags.iter().flatten());
        let tags: usize = tags.map(|text| text.len() + size_of::<String>()).sum();
        Ok((rows.len(), rows.iter().map(|row| row.content.len()).sum::<usize>() + tags))
    })
}

/// The accounts that count as having spoken in the live state of a group.
///
/// # Errors
/// [`Error::GroupNotFound`], [`Error::Store`].
pub fn speakers(engine: &mut Engine, id: &GroupId) -> Result<Vec<PublicKey>> {
    engine.look(|ctx| {
        let row = ctx.work.records.groups().row(id)?;
        Ok(ctx.work.records.tx.witnesses_of(id, &row.authenticator, 0)?)
    })
}

/// The input that waits in a group: events as they came, and opened handshake messages by the hash of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Ids of kind-445 events that no key has opened, or that belong to a later epoch.
    pub events: BTreeSet<EventId>,
    /// Commits and proposals that were opened and did not take effect.
    pub inputs: BTreeSet<ContentId>,
}

/// The input that waits in a group. Input whose bytes do not give its id is not counted.
pub fn held(engine: &mut Engine, id: &GroupId) -> Result<Held> {
    engine.look(|ctx| {
        let inputs = ctx.work.records.tx.inputs(id)?.into_iter();
        Ok(Held {
            events: ctx.work.records.tx.held(id)?.into_iter().map(|row| row.event_id).collect(),
            inputs: inputs
                .filter(|row| row.state != InputState::Placed)
                .filter(|row| ContentId::of(&row.bytes) == row.content_id)
                .map(|row| row.content_id)
                .collect(),
        })
    })
}

/// The hash of a kind-445 event's content, if a state that is retained opens it.
///
/// # Errors
/// [`Error::GroupNotFound`], [`Error::Store`].
pub fn content_of(engine: &mut Engine, id: &GroupId, event: &Event) -> Result<Option<ContentId>> {
    engine.look(|ctx| {
        ctx.work.records.groups().row(id)?;
        let Ok(message) = GroupMessage::parse(event.clone()) else { return Ok(None) };
        let nodes = ctx.work.records.tx.nodes(id)?;
        let opened = nodes.iter().filter(|n| !n.removed).find_map(|n| message.open(&n.event_key));
        Ok(opened.map(|bytes| ContentId::of(&bytes)))
    })
}

/// Makes a group one whose retained states were lost.
///
/// # Errors
/// [`Error::GroupNotFound`].
pub fn give_up(engine: &mut Engine, id: &GroupId) -> Result<()> {
    engine.act(|ctx| end_membership::give_up(&mut ctx.work.records, id, "a test gave it up"))
}

/// Keys that were tried on events so far, and rows of retained states that were read.
///
/// # Errors
/// As of any call.
pub fn cost(engine: &mut Engine) -> Result<(u64, u64)> {
    engine
        .look(|ctx| Ok((ctx.work.records.memory.trials.count(), ctx.work.records.tx.states_read())))
}

/// Steps that the database has taken for this engine: grows with the rows that it looks at. 0 in an optimized build.
///
/// # Errors
/// As of any call.
pub fn store_steps(engine: &mut Engine) -> Result<u64> {
    engine.look(|ctx| Ok(ctx.work.records.tx.steps()))
}

/// Says something about push tokens, as the app of a phone does.
pub fn say_of_tokens(
    engine: &mut Engine,
    group: &GroupId,
    kind: u16,
    content: &str,
) -> Result<Event> {
    engine.speak(group, |ctx| tell_push_tokens::say(&mut ctx.work, group, kind, content.to_owned()))
}

/// The number of requests for push tokens that are still to be answered, or to be made.
pub fn open_push_requests(engine: &mut Engine) -> Result<usize> {
    engine.look(|ctx| Ok(ctx.work.records.tx.open_push_requests()?.len()))
}

/// The number of times that OpenMLS has asked for cryptography in this thread. It grows with the MLS messages that
/// engines make and read.
#[must_use]
pub fn mls_steps() -> u64 {
    provider::asked()
}

/// The account's keys, as a second device of it is given them.
#[must_use]
pub fn keys(engine: &Engine) -> mdk_wire::Keys {
    engine.identity.keys.clone()
}
