//! The messages that a retained state has passed over.
//!
//! OpenMLS keeps the key of each message that it has skipped in a sender's ratchet, until the message comes. It tells
//! nobody how many there are, so they are counted in what it stores (`MessageSecretsStore` of OpenMLS 0.9).

use serde::Deserialize;

use super::dump::parse;
use super::{Label, codec};
use crate::{Result, StoreError};

/// Counts the application messages that others have encrypted in a state and that never came, of those before a message
/// that did. `state` is a blob from [`Tx::mls_dump`](crate::Tx::mls_dump).
///
/// # Errors
/// [`StoreError::Decode`] when the blob is not one.
pub fn skipped_messages(state: &[u8]) -> Result<u64> {
    let rows = parse(state)?;
    let secrets = rows.iter().find(|(label, ..)| *label == Label::MessageSecrets as u8);
    let Some((_, _, secrets)) = secrets else { return Ok(0) };
    let stored: Stored<'_> = codec::decode_prefix(secrets)?;
    if !stored.past_epochs.is_empty() {
        return Err(StoreError::Decode { what: "message secrets" });
    }
    let ratchets = stored.tree.application_ratchets.into_iter().flatten();
    Ok(ratchets.map(|ratchet| ratchet.skipped()).sum())
}

type Secret<'a> = &'a [u8];
/// The algorithm, the key and the nonce.
type Key<'a> = (u32, Secret<'a>, [u8; 12]);
/// A secret and its generation.
type Head<'a> = (Secret<'a>, u32);

#[derive(Deserialize)]
#[allow(dead_code)] // (a format without names is read field by field)
struct Stored<'a> {
    max_epochs: usize,
    past_epochs: Vec<()>,
    #[serde(borrow)]
    sender_data: Secret<'a>,
    membership_key: Secret<'a>,
    confirmation_key: Secret<'a>,
    context: &'a [u8],
    tree: Tree<'a>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Tree<'a> {
    own_leaf: u32,
    #[serde(borrow)]
    leaves: Vec<Option<Secret<'a>>>,
    parents: Vec<Option<Secret<'a>>>,
    handshake_ratchets: Vec<Option<Ratchet<'a>>>,
    application_ratchets: Vec<Option<Ratchet<'a>>>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
enum Ratchet<'a> {
    Own(#[serde(borrow)] Head<'a>),
    Others { past: Vec<Option<Key<'a>>>, head: Head<'a> },
}

impl Ratchet<'_> {
    fn skipped(&self) -> u64 {
        match self {
            Self::Own(_) => 0,
            Self::Others { past, .. } => past.iter().flatten().count() as u64,
        }
    }
}
