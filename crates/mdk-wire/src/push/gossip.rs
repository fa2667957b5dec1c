//! What members tell each other: kinds 447 and 448 have tokens, 449 has removals.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{TokenKey, TokenRecord, TokenRemoval};
use super::token::{EncryptedToken, Fingerprint, Platform};
use super::{MAX_AHEAD_MILLIS, MAX_ENTRIES, VERSION};
use crate::ids::{PublicKey, hex_array};
use crate::kind;
use crate::limits::MAX_RELAY_URL_BYTES;

/// A message about tokens. Nothing is verified yet: ask each entry for its proof when it would change something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    /// Somebody asks for the tokens of all.
    Request,
    /// Tokens, and how many entries were dropped. Of the sender's own devices, or of any.
    Records(Vec<TokenRecord>, usize),
    /// Removals, and how many entries were dropped.
    Removals(Vec<TokenRemoval>, usize),
}

/// Why all of a message about tokens is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// The content is not an object of this version with an array.
    Form,
    /// More than 32 entries.
    TooMany,
}

#[derive(Deserialize)]
struct Content {
    v: String,
    #[serde(default)]
    tokens: Vec<Value>,
    #[serde(default)]
    removals: Vec<Value>,
}

/// An entry as it is written. Members that are not named here are nobody's business.
#[derive(Serialize, Deserialize)]
struct Entry {
    member_id_hex: String,
    leaf_index: u32,
    platform: String,
    token_fingerprint: String,
    server_pubkey_hex: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relay_hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encrypted_token: Option<String>,
    owner_ts: u64,
    owner_sig: String,
}

/// Reads the content of a message of kind 447, 448 or 449 at `now`, in milliseconds since 1970.
///
/// # Errors
/// All of it is ignored, whatever single entries are.
pub fn parse(number: u16, content: &str, now: u64) -> Result<Gossip, Ignored> {
    // rule: 2.11-1
    let content: Content = serde_json::from_str(content).map_err(|_| Ignored::Form)?;
    if content.v != VERSION {
        return Err(Ignored::Form);
    }
    let removals = number == kind::PUSH_REMOVALS;
    let given = if removals { content.removals } else { content.tokens };
    let count = given.len();
    if count > MAX_ENTRIES {
        return Err(Ignored::TooMany);
    }
    if number == kind::PUSH_TOKENS && count == 0 {
        return Ok(Gossip::Request);
    }
    // rule: 2.11-2
    let entries = given.into_iter().filter_map(|value| Entry::deserialize(value).ok());
    // rule: 2.11-3
    let latest = now.saturating_add(MAX_AHEAD_MILLIS);
    let entries = entries.filter(|entry| entry.owner_ts <= latest);
    if removals {
        let found: Vec<_> = entries.filter_map(|entry| entry.removal()).collect();
        let dropped = count - found.len();
        return Ok(Gossip::Removals(found, dropped));
    }
    let found: Vec<_> = entries.filter_map(Entry::record).collect();
    let dropped = count - found.len();
    Ok(Gossip::Records(found, dropped))
}

impl Entry {
    fn key(&self) -> Option<TokenKey> {
        Some(TokenKey {
            member: PublicKey::from_hex(&self.member_id_hex).ok()?,
            leaf: self.leaf_index,
            platform: Platform::named(&self.platform)?,
            server: PublicKey::from_hex(&self.server_pubkey_hex).ok()?,
        })
    }

    fn removal(&self) -> Option<TokenRemoval> {
        Some(TokenRemoval {
            key: self.key()?,
            fingerprint: Fingerprint::parse(&self.token_fingerprint)?,
            owner_ts: self.owner_ts,
            signature: hex_array(&self.owner_sig)?,
        })
    }

    fn record(self) -> Option<TokenRecord> {
        let TokenRemoval { key, fingerprint, owner_ts, signature } = self.removal()?;
        let relay_hint = self.relay_hint.unwrap_or_default();
        // A relay URL has no more; a hint is kept with each record.
        if relay_hint.len() > MAX_RELAY_URL_BYTES {
            return None;
        }
        let token = EncryptedToken::from_base64(&self.encrypted_token?).ok()?;
        Some(TokenRecord { key, fingerprint, relay_hint, token, owner_ts, signature })
    }

    fn of(key: &TokenKey, fingerprint: &Fingerprint, owner_ts: u64, signature: &[u8; 64]) -> Self {
        Self {
            member_id_hex: key.member.to_hex(),
            leaf_index: key.leaf,
            platform: key.platform.name().to_owned(),
            token_fingerprint: fingerprint.to_text(),
            server_pubkey_hex: key.server.to_hex(),
            relay_hint: None,
            encrypted_token: None,
            owner_ts,
            owner_sig: hex::encode(signature),
        }
    }
}

/// The content of a 447 or 448. At most 32 records; a 447 without any asks for those of all.
#[must_use]
pub fn records_content(records: &[TokenRecord]) -> String {
    let entries = records.iter().map(|record| {
        let TokenRecord { key, fingerprint, owner_ts, signature, relay_hint, token } = record;
        let mut entry = Entry::of(key, fingerprint, *owner_ts, signature);
        entry.relay_hint = Some(relay_hint.clone()).filter(|hint| !hint.is_empty());
        entry.encrypted_token = Some(token.to_base64());
        entry
    });
    serde_json::json!({"v": VERSION, "tokens": entries.collect::<Vec<_>>()}).to_string()
}

/// The content of a 449. At most 32 removals.
#[must_use]
pub fn removals_content(removals: &[TokenRemoval]) -> String {
    let entries = removals.iter().map(|removal| {
        let TokenRemoval { key, fingerprint, owner_ts, signature } = removal;
        Entry::of(key, fingerprint, *owner_ts, signature)
    });
    serde_json::json!({"v": VERSION, "removals": entries.collect::<Vec<_>>()}).to_string()
}
