//! The secret that the files of a state are encrypted with.

use mdk_store::{MessageRow, NodeRow};
use mdk_wire::{GroupId, Secret, SecretVec};
use openmls::group::MlsGroup;
use openmls_traits::crypto::OpenMlsCrypto;

use crate::media::attachments::{ENCRYPTED_MEDIA, attachments, has_imeta};
use crate::mls::rebuild_state::Copies;
use crate::mls::state_keys::EXPORTER_LABEL;
use crate::mls::work::Work;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::state_id::Auth;
use crate::state_store::file_keys;

impl Copies<'_> {
    /// The secret that file keys of a retained state come from.
    pub(crate) fn media_secret_of(
        &self,
        id: &GroupId,
        node: &NodeRow,
    ) -> Result<Option<Secret<32>>> {
        match self.state_of(id, node)? {
            Some(state) if !state.expose().is_empty() => {
                media_secret(&self.replica(id, &state)?.mls, self.crypto).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The secret of a state that its file keys come from.
pub(crate) fn media_secret(mls: &MlsGroup, crypto: &impl OpenMlsCrypto) -> Result<Secret<32>> {
    let secret = mls
        .export_secret(crypto, EXPORTER_LABEL, ENCRYPTED_MEDIA, 32)
        .map(SecretVec::new)
        .map_err(Error::bug("exporting the media secret"))?;
    Secret::from_slice(secret.expose()).ok_or(Error::Internal("length of the media secret"))
}

pub(crate) fn media_secret_at(
    work: &Work<'_>,
    id: &GroupId,
    auth: &Auth,
) -> Result<Option<Secret<32>>> {
    if let Some(row) = work.records.memory.rows.get(id)
        && row.authenticator == *auth
        && !membership::is_over(row.status)
        && let Some(mls) = work.loaded.peek(&work.records.memory.rows, id)
    {
        return media_secret(mls, work.crypto).map(Some);
    }
    let node = work.records.tx.nodes(id)?.into_iter().find(|node| node.authenticator == *auth);
    node.map_or(Ok(None), |node| work.copies().media_secret_of(id, &node))
}

/// Epoch and secret for a file that is to be sent now.
pub(crate) fn media_secret_now(work: &mut Work<'_>, id: &GroupId) -> Result<(u64, Secret<32>)> {
    let group = work.take_active(id)?;
    let secret = media_secret(&group.mls, work.crypto);
    let epoch = group.row.epoch;
    work.put(group);
    Ok((epoch, secret?))
}

// rule: 2.10-17 a file's secret is that of the state in which its message was said
/// Keeps the keys of a message's files, with the secret of the state `auth` that it was said in.
pub(crate) fn keep_file_keys(work: &mut Work<'_>, row: &MessageRow, auth: &Auth) -> Result<()> {
    if !has_imeta(row) {
        return Ok(());
    }
    let attachments = attachments(row.kind, &row.tags);
    if attachments.is_empty() {
        return Ok(());
    }
    match media_secret_at(work, &row.group, auth)? {
        Some(secret) => file_keys::put_file_keys(work.records.tx, row, &attachments, &secret),
        None => {
            tracing::warn!("the state of a message with files is gone: they cannot be opened");
            Ok(())
        }
    }
}
