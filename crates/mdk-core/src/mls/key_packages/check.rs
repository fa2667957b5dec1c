//! Judging a KeyPackage event of somebody else (protocol/key-packages.md A2).

use std::collections::BTreeSet;

use mdk_wire::v2::component_id;
use mdk_wire::{
    Broken, Event, EventId, KeyPackageEvent, KeyPackageRef, PublicKey, WireError, kind,
};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    KeyPackage, KeyPackageVerifyError, MlsMessageBodyIn, MlsMessageIn, ProtocolVersion,
};
use openmls_rust_crypto::RustCrypto;

use crate::mls::views::Proofs;
use crate::mls::{capabilities, views};
use crate::model::outcome::{RejectCode, Rejection};
use crate::policy::{GroupView, LeafView, ProofState, Requirements};

/// Longest lifetime that a KeyPackage of ours gets: 84 days (protocol/key-packages.md A1-5).
pub(crate) const MAX_LIFETIME: u64 = 84 * 86_400;

/// The seconds by which `not_before` lies in the past, for clocks that are behind ours.
pub(crate) const LIFETIME_MARGIN: u64 = 3_600;

/// The seconds by which an event may be dated ahead of our clock.
pub(crate) const MAX_AHEAD: u64 = 300;

/// Longest accepted span from `not_before` to `not_after`.
pub(crate) const MAX_SPAN: u64 = MAX_LIFETIME + LIFETIME_MARGIN;

/// A KeyPackage that passed rows 1 to 11.
#[derive(Clone)]
pub(crate) struct ValidKeyPackage {
    pub(crate) event: Event,
    pub(crate) event_id: EventId,
    pub(crate) account: PublicKey,
    pub(crate) reference: KeyPackageRef,
    pub(crate) slot: String,
    pub(crate) created_at: u64,
    pub(crate) last_resort: bool,
    pub(crate) key_package: KeyPackage,
    pub(crate) leaf: LeafView,
}

/// Rows 1 to 11, which need no group, and the ciphersuite of row 12, which all groups share. The event's id
/// and signature are verified by its type.
///
/// The lifetime is judged by `now` and, inside OpenMLS, by the system clock.
pub(crate) fn check(
    event: &Event,
    crypto: &RustCrypto,
    now: u64,
) -> Result<ValidKeyPackage, Rejection> {
    // rule: A2-1
    if event.kind() != kind::KEY_PACKAGE {
        return Err(transport("A2-1", "not a KeyPackage event"));
    }
    if event.created_at() > now.saturating_add(MAX_AHEAD) {
        return Err(transport("A2-1", "the event is dated in the future"));
    }
    let parsed = KeyPackageEvent::parse(event).map_err(from_wire)?;
    let (key_package, account, leaf) = judge(&parsed.mls_message, crypto, now)?;
    tags_match(&parsed, &key_package, &leaf)?;
    // rule: A2-9
    if account != event.pubkey() {
        return Err(Rejection::new(
            RejectCode::AuthorizationFailed,
            "A2-9",
            "the credential is not that of the event's author",
        ));
    }
    // rule: A2-10
    let reference = reference(&key_package, crypto)
        .filter(|reference| *reference == parsed.reference)
        .ok_or_else(|| transport("A2-10", "the i tag is not the KeyPackageRef"))?;
    let last_resort = last_resort(&key_package)?;
    Ok(ValidKeyPackage {
        event_id: event.id(),
        account,
        reference,
        slot: parsed.slot,
        created_at: event.created_at(),
        last_resort,
        key_package,
        leaf,
        event: parsed.event,
    })
}

/// Rows 3 to 7: the MLSMessage by itself.
pub(crate) fn judge(
    mls_message: &[u8],
    crypto: &RustCrypto,
    now: u64,
) -> Result<(KeyPackage, PublicKey, LeafView), Rejection> {
    let key_package = decode(mls_message, crypto)?;
    lifetime(&key_package, now)?;
    // rule: A2-12 judged here because the proof of row 7 is made for a ciphersuite.
    if key_package.ciphersuite() != capabilities::CIPHERSUITE {
        return Err(Rejection::new(
            RejectCode::UnsupportedRequiredFeature,
            "A2-12",
            "not the ciphersuite of Marmot groups",
        ));
    }
    let leaf = views::leaf_view(key_package.leaf_node(), Proofs::Verify);
    // rule: A2-6
    let account = leaf
        .account
        .ok_or_else(|| encoding("A2-6", "the credential is not a basic one with an x-only key"))?;
    // rule: A2-7
    if leaf.proof != ProofState::Valid {
        let reason = match leaf.proof {
            ProofState::Missing => "the account identity proof is missing",
            _ => "the account identity proof is not valid",
        };
        return Err(Rejection::new(RejectCode::InvalidSignature, "A2-7", reason));
    }
    Ok((key_package, account, leaf))
}

/// The hash that names a KeyPackage (RFC 9420, 5.2); `None` for a hash that is not 32 bytes.
pub(crate) fn reference(key_package: &KeyPackage, crypto: &RustCrypto) -> Option<KeyPackageRef> {
    let reference = key_package.hash_ref(crypto).ok()?;
    Some(KeyPackageRef::from_bytes(reference.as_slice().try_into().ok()?))
}

/// Rows 3 and 4: one MLSMessage and nothing else, whose KeyPackage OpenMLS validates.
fn decode(mls_message: &[u8], crypto: &RustCrypto) -> Result<KeyPackage, Rejection> {
    // rule: A2-3
    let message = MlsMessageIn::tls_deserialize_exact_bytes(mls_message)
        .map_err(|_| encoding("A2-3", "the content is not one MLSMessage"))?;
    // Another encoding of the same KeyPackage would have another `i`.
    if message.tls_serialize_detached().ok().as_deref() != Some(mls_message) {
        return Err(encoding("A2-3", "the MLSMessage is not in canonical form"));
    }
    let MlsMessageBodyIn::KeyPackage(key_package) = message.extract() else {
        return Err(encoding("A2-3", "the MLSMessage is not a KeyPackage"));
    };
    // rule: A2-4
    key_package.validate(crypto, ProtocolVersion::Mls10).map_err(|error| {
        let (code, reason) = match error {
            KeyPackageVerifyError::LifetimeError(_) | KeyPackageVerifyError::MissingLifetime => {
                (RejectCode::TransportRejected, "the KeyPackage is not valid at this time")
            }
            KeyPackageVerifyError::InvalidLeafNodeSourceType
            | KeyPackageVerifyError::InvalidProtocolVersion => {
                (RejectCode::InvalidEncoding, "the leaf is not one of a KeyPackage")
            }
            KeyPackageVerifyError::UnsupportedExtension
            | KeyPackageVerifyError::ExtensionTypeNotValidInKeyPackage(_) => {
                (RejectCode::InvalidEncoding, "an extension is out of place")
            }
            _ => {
                (RejectCode::InvalidSignature, "the KeyPackage's signatures or keys are not valid")
            }
        };
        Rejection::new(code, "A2-4", reason)
    })
}

/// Rows 4 and 5: current by our clock, and not longer than the protocol allows.
fn lifetime(key_package: &KeyPackage, now: u64) -> Result<(), Rejection> {
    let lifetime = key_package.life_time();
    // rule: A2-4
    if now < lifetime.not_before() || now >= lifetime.not_after() {
        return Err(transport("A2-4", "the KeyPackage is not valid at this time"));
    }
    // rule: A2-5
    if lifetime.not_after().saturating_sub(lifetime.not_before()) > MAX_SPAN {
        return Err(transport("A2-5", "the lifetime is too long"));
    }
    Ok(())
}

/// Row 8: the tags and the KeyPackage say the same. GREASE extensions are left out, GREASE proposals are not.
fn tags_match(
    parsed: &KeyPackageEvent,
    key_package: &KeyPackage,
    leaf: &LeafView,
) -> Result<(), Rejection> {
    let capabilities = key_package.leaf_node().capabilities();
    // rule: A2-8
    if parsed.ciphersuite != u16::from(key_package.ciphersuite()) {
        return Err(transport("A2-8", "the mls_ciphersuite tag differs from the KeyPackage"));
    }
    let extensions: BTreeSet<u16> = capabilities
        .extensions()
        .iter()
        .filter(|extension| !extension.is_grease())
        .map(|extension| u16::from(*extension))
        .collect();
    if parsed.extensions != extensions {
        return Err(transport("A2-8", "the mls_extensions tag differs from the KeyPackage"));
    }
    let proposals: BTreeSet<u16> =
        capabilities.proposals().iter().map(|proposal| u16::from(*proposal)).collect();
    if parsed.proposals != proposals {
        return Err(transport("A2-8", "the mls_proposals tag differs from the KeyPackage"));
    }
    let components: BTreeSet<u16> =
        leaf.components.iter().copied().filter(|id| *id >= FIRST_PRIVATE_COMPONENT).collect();
    if parsed.app_components != components {
        return Err(transport("A2-8", "the app_components tag differs from the KeyPackage"));
    }
    Ok(())
}

/// Ids below are of the MLS extensions draft and not listed in the tag.
pub(crate) const FIRST_PRIVATE_COMPONENT: u16 = 0x8000;

/// Row 11: whether the KeyPackage carries the last-resort component, whose data is empty.
fn last_resort(key_package: &KeyPackage) -> Result<bool, Rejection> {
    // OpenMLS's own `last_resort()` looks for extension 0x000A only.
    let Some(extension) = key_package.extensions().app_data_dictionary() else {
        return Ok(false);
    };
    // rule: A2-11
    match extension.dictionary().get(&component_id::LAST_RESORT) {
        None => Ok(false),
        Some([]) => Ok(true),
        Some(_) => Err(encoding("A2-11", "the last-resort component has data")),
    }
}

/// Row 12: whether a checked KeyPackage can become a leaf of the group.
pub(crate) fn fits(key_package: &ValidKeyPackage, group: &GroupView) -> Result<(), Rejection> {
    // rule: A2-12
    Requirements::of(group).check("A2-12", &key_package.leaf)
}

fn transport(rule: &'static str, reason: &'static str) -> Rejection {
    Rejection::new(RejectCode::TransportRejected, rule, reason)
}

fn encoding(rule: &'static str, reason: &'static str) -> Rejection {
    Rejection::new(RejectCode::InvalidEncoding, rule, reason)
}

/// Turns the envelope reader's finding into a rejection: rows 1 and 2, the content's base64 of row 3, the form of the
/// lists of row 8.
fn from_wire(Broken { rule, error }: Broken) -> Rejection {
    match error {
        WireError::TransportRejected(reason) => transport(rule, reason),
        WireError::InvalidEncoding(reason) => encoding(rule, reason),
        _ => encoding(rule, "the content is too large"),
    }
}
