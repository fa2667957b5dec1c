//! Authentication (NIP-42), and events that only their author may publish (NIP-70).

use std::collections::BTreeSet;

use mdk_wire::{Event, OsRandom, PublicKey, Random as _, Timestamp};
use url::Url;

const KIND: u16 = 22_242;
/// How far its clock may be off, in seconds.
const CLOCKS: u64 = 600;

/// The accounts that a connection has proved to be.
pub(crate) struct Auth {
    challenge: String,
    /// Where the client thinks that it is: the `Host` of its handshake.
    host: String,
    keys: BTreeSet<PublicKey>,
}

impl Auth {
    pub(crate) fn new(host: String) -> Self {
        let mut challenge = [0; 16];
        OsRandom.fill(&mut challenge);
        Self { challenge: hex::encode(challenge), host, keys: BTreeSet::new() }
    }

    pub(crate) fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Whether it has proved any key.
    pub(crate) fn is_known(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether it has proved this key.
    pub(crate) fn is(&self, key: PublicKey) -> bool {
        self.keys.contains(&key)
    }

    /// Takes an answer to the challenge. An error says what is wrong with it.
    pub(crate) fn prove(&mut self, event: &Event, now: Timestamp) -> Result<(), &'static str> {
        if event.kind() != KIND {
            return Err("another kind than 22242");
        }
        if value(event, "challenge") != Some(&self.challenge) {
            return Err("another challenge");
        }
        if now.abs_diff(event.created_at()) > CLOCKS {
            return Err("its time is more than ten minutes off");
        }
        if value(event, "relay").and_then(host_of).is_none_or(|host| host != self.host) {
            return Err("another relay");
        }
        self.keys.insert(event.pubkey());
        Ok(())
    }
}

/// Whether only its author may publish it (NIP-70).
pub(crate) fn is_protected(event: &Event) -> bool {
    event.tags().iter().any(|tag| matches!(&tag[..], [name] if name == "-"))
}

fn value<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let tag = event.tags().iter().find(|tag| tag.first().is_some_and(|first| first == name))?;
    tag.get(1).map(String::as_str)
}

/// Host and port as a `Host` header names them.
fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}
