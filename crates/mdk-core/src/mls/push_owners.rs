//! Whose push tokens count: a device's, as long as its leaf is its owner's.

use mdk_wire::GroupId;
use mdk_wire::push::TokenKey;
use openmls::group::MlsGroup;
use openmls::prelude::LeafNodeIndex;

use crate::model::error::Result;
use crate::state_store::records::Records;

// rule: 2.11-9 the account of an entry has the leaf that it names
/// Whether the leaf is in the group, and its account's.
pub(crate) fn owns_leaf(mls: &MlsGroup, key: &TokenKey) -> bool {
    mls.member_at(LeafNodeIndex::new(key.leaf))
        .is_some_and(|member| member.credential.serialized_content() == key.member.as_bytes())
}

/// Forgets the tokens of leaves that are gone, or another account's now, and the requests of those who are no members.
pub(crate) fn forget_of_gone(records: &Records<'_>, id: &GroupId, mls: &MlsGroup) -> Result<()> {
    for key in records.tx.push_token_keys(id)? {
        if !owns_leaf(mls, &key) {
            records.tx.drop_push_token(id, &key)?;
        }
    }
    for requester in records.tx.push_requesters(id)? {
        let requester_bytes = requester.as_bytes();
        if !mls.members().any(|m| m.credential.serialized_content() == requester_bytes) {
            records.tx.drop_push_request(id, &requester)?;
        }
    }
    Ok(())
}
