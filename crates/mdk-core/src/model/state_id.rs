//! Names of the states of a group.

use mdk_wire::ContentId;
use sha2::{Digest as _, Sha256};

/// Name of a state: its epoch authenticator.
pub(crate) type Auth = [u8; 32];

/// A state in which we have no leaf has no authenticator that we could know: this names it.
pub(crate) fn removed_by(commit: &ContentId) -> Auth {
    Sha256::new().chain_update(b"mdk removed by").chain_update(commit.as_bytes()).finalize().into()
}

/// As [`removed_by`], when the commit ended the group.
pub(crate) fn ended_by(commit: &ContentId) -> Auth {
    Sha256::new().chain_update(b"mdk ended by").chain_update(commit.as_bytes()).finalize().into()
}
