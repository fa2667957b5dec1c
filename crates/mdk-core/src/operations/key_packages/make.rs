//! Making a KeyPackage of ours and the event that publishes it (protocol/key-packages.md A1, A4).

use mdk_store::{KeyPackageRow, Tx};
use mdk_wire::{Event, KeyPackageRef, KeyPackageTags, OsRandom, Random as _, key_package_event};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{KeyPackage, KeyPackageBundle, Lifetime, MlsMessageOut};
use openmls_rust_crypto::RustCrypto;

use crate::mls::capabilities;
use crate::mls::identity::Identity;
use crate::mls::key_packages::check::{
    FIRST_PRIVATE_COMPONENT, LIFETIME_MARGIN, MAX_AHEAD, MAX_LIFETIME, reference,
};
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::outbox::OutboxPurpose;
use crate::model::{relay_urls, stored_event};
use crate::state_store::outbox::Letter;

const META_SLOT: &str = "key_package_slot";
/// Followed by the slot: time of its newest event, which outlives the row of a deleted KeyPackage.
const META_SLOT_TIME: &str = "key_package_time:";
const MAX_RELAYS: usize = 16;

/// Makes a KeyPackage, keeps its private part, and returns the event to publish. A KeyPackage in the same slot counts
/// as replaced from now on. Without a slot it takes the account's own slot, or another one from now on if the
/// KeyPackage in that one is dated ahead of the clock.
///
/// # Errors
/// `InvalidInput` for a slot that is not 64 lowercase hex digits, no relay or more than 16, or a configured
/// lifetime over 84 days; `InvalidRelayUrl`; `NotAllowed` when the clock is behind the events of the slot that was given.
pub(crate) fn new_key_package(
    work: &mut Work<'_>,
    relays: &[String],
    slot: Option<&str>,
) -> Result<Event> {
    // One that is nowhere is found by nobody, and nobody could say that a relay has taken it.
    if relays.is_empty() {
        return Err(Error::empty("relays", "empty"));
    }
    let relays = &relay_urls::checked(relays, MAX_RELAYS)?;
    work.records.outbox().require_outbox_room()?;
    let now = work.records.now();
    let slot = match slot {
        Some(slot) => checked_slot(slot)?,
        None => own_slot(work.records.tx, work.records.call)?,
    };
    let made = make_key_package(work, relays, slot)?;
    // rule: A4-1 the new row, the end of the old one and the private part are one transaction.
    for mut row in work.records.tx.key_packages()? {
        if row.slot == made.slot && row.reference != made.reference && row.replaced_at.is_none() {
            row.replaced_at = Some(now);
            work.records.tx.put_key_package(&row)?;
        }
    }
    stored_event::stored_event(&made.event_json)
}

/// A KeyPackage with its row and its private part, beside the one that stands in the slot.
pub(crate) fn make_key_package(
    work: &mut Work<'_>,
    relays: &[String],
    slot: String,
) -> Result<KeyPackageRow> {
    let now = work.records.now();
    let created_at = next_created_at(work.records.tx, work.records.call, &slot)?;
    let lifetime = lifetime(work.records.call.config.key_package_lifetime, now)?;
    let bundle = build_bundle(work, lifetime)?;
    let (event, reference) =
        sign_key_package(work.identity, work.crypto, bundle.key_package(), &slot, created_at)?;

    let row = KeyPackageRow {
        reference,
        event_id: event.id(),
        event_json: event.to_json(),
        created_at,
        not_after: lifetime.not_after(),
        relays: relays.to_vec(),
        last_resort: true,
        used: false,
        replaced_at: None,
        slot,
    };
    work.records.tx.put_key_package(&row)?;
    let purpose = OutboxPurpose::KeyPackage;
    work.records.outbox().post(&Letter { purpose, group: None, event: &event, relays })?;
    Ok(row)
}

/// rule: A1-1, A1-5. `build` writes the private bundle under its reference.
fn build_bundle(work: &Work<'_>, lifetime: Lifetime) -> Result<KeyPackageBundle> {
    let leaf = capabilities::leaf_extensions(&work.identity.proof)
        .map_err(Error::bug("leaf extensions"))?;
    KeyPackage::builder()
        .leaf_node_capabilities(capabilities::leaf_capabilities())
        .leaf_node_extensions(leaf)
        .key_package_extensions(capabilities::key_package_extensions(true))
        .key_package_lifetime(lifetime)
        .build(
            capabilities::CIPHERSUITE,
            &work.provider(),
            &work.identity.signer,
            work.identity.credential(),
        )
        .map_err(Error::bug("building a KeyPackage"))
}

/// rule: A1-6
fn sign_key_package(
    identity: &Identity,
    crypto: &RustCrypto,
    key_package: &KeyPackage,
    slot: &str,
    created_at: u64,
) -> Result<(Event, KeyPackageRef)> {
    let reference = reference(key_package, crypto).ok_or(Error::Internal("KeyPackageRef"))?;
    let capabilities = key_package.leaf_node().capabilities();
    let tags = KeyPackageTags {
        slot: slot.to_owned(),
        reference,
        ciphersuite: key_package.ciphersuite().into(),
        extensions: capabilities.extensions().iter().map(|id| u16::from(*id)).collect(),
        proposals: capabilities.proposals().iter().map(|id| u16::from(*id)).collect(),
        app_components: capabilities::supported_components()
            .iter()
            .copied()
            .filter(|id| *id >= FIRST_PRIVATE_COMPONENT)
            .collect(),
    };
    let message = MlsMessageOut::from(key_package.clone())
        .tls_serialize_detached()
        .map_err(Error::bug("KeyPackage encoding"))?;
    let event = key_package_event::build(&tags, &message, created_at, &identity.keys)
        .map_err(Error::bug("KeyPackage event"))?;
    Ok((event, reference))
}

/// The slot that this account's device keeps, so that a new KeyPackage replaces the old one on relays.
fn own_slot(tx: &Tx<'_>, call: Call<'_>) -> Result<String> {
    if let Some(stored) = tx.meta(META_SLOT)? {
        let slot = String::from_utf8(stored).map_err(Error::bug("stored slot"))?;
        // rule: A4-8 a clock that was far ahead once must not keep everybody from inviting this account until that
        // time has come
        if !is_ahead(call, next_in_slot(tx, call, &slot)?) {
            return Ok(slot);
        }
    }
    let mut bytes = [0; 32];
    OsRandom.fill(&mut bytes);
    let slot = hex::encode(bytes);
    tx.set_meta(META_SLOT, slot.as_bytes())?;
    Ok(slot)
}

/// rule: A4-2 later than anything published in the slot, or relays would keep the old event.
fn next_created_at(tx: &Tx<'_>, call: Call<'_>, slot: &str) -> Result<u64> {
    let created_at = next_in_slot(tx, call, slot)?;
    if is_ahead(call, created_at) {
        return Err(Error::NotAllowed("the clock is behind the last KeyPackage of this slot"));
    }
    tx.set_meta(&format!("{META_SLOT_TIME}{slot}"), &created_at.to_be_bytes())?;
    Ok(created_at)
}

fn next_in_slot(tx: &Tx<'_>, call: Call<'_>, slot: &str) -> Result<u64> {
    let previous = match tx.meta(&format!("{META_SLOT_TIME}{slot}"))? {
        Some(stored) => {
            let stored = stored.as_slice().try_into().map_err(Error::bug("stored slot time"))?;
            u64::from_be_bytes(stored)
        }
        None => 0,
    };
    Ok(call.now().max(previous.saturating_add(1)))
}

fn is_ahead(call: Call<'_>, created_at: u64) -> bool {
    created_at > call.now().saturating_add(MAX_AHEAD)
}

fn checked_slot(slot: &str) -> Result<String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if slot.len() == 64 && slot.bytes().all(hex) {
        Ok(slot.to_owned())
    } else {
        Err(Error::input("slot", "not 64 lowercase hex digits"))
    }
}

/// From our clock, not the system's as `Lifetime::new` would.
fn lifetime(seconds: u64, now: u64) -> Result<Lifetime> {
    if seconds == 0 || seconds > MAX_LIFETIME {
        return Err(Error::InvalidInput {
            field: "key_package_lifetime",
            problem: "not between 1 second and 84 days",
            limit: Some(if seconds == 0 { 1 } else { MAX_LIFETIME }),
            actual: Some(seconds),
        });
    }
    Ok(Lifetime::init(now.saturating_sub(LIFETIME_MARGIN), now.saturating_add(seconds)))
}
