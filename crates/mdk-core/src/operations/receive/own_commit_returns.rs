//! A commit of ours that a relay sends back, also one that was given up.

use mdk_store::{CommitStatus, InputClass, PendingRow};
use openmls_rust_crypto::RustCrypto;

use crate::mls::rebuild_state::Copies;
use crate::mls::replay::Edge;
use crate::model::error::Result;
use crate::model::follow_up::{FollowUp, Published};
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::operations::receive::refuse;
use crate::state_store::records::Records;
use crate::state_store::{candidates, seen};

/// Our own commit that we had given up and that a relay has after all.
pub(crate) fn place_own(
    records: &mut Records<'_>,
    crypto: &RustCrypto,
    opened: &Opened,
    pending: &PendingRow,
) -> Result<Verdict, Halt> {
    debug_assert!(pending.status == CommitStatus::Discarded);
    let nodes = records.tx.nodes(&opened.row.id)?;
    let Some(parent) = nodes.iter().find(|n| n.authenticator == pending.source_auth) else {
        let epoch = pending.source_epoch;
        return records.handshakes().hold_input(
            opened,
            InputClass::Commit,
            epoch,
            DeferredReason::CannotJudge,
        );
    };
    match Copies::new(records.groups(), records.call, crypto).own_edge(
        opened,
        parent,
        &pending.group_state,
    )? {
        Edge::Made(made) => {
            seen::done(records.tx, opened)?;
            records.tx.drop_input(&opened.row.id, &opened.content_id)?;
            candidates::add_rival(records, *made)
        }
        _ => records.handshakes().own_lost(opened, parent, pending.source_epoch),
    }
}

/// Our own commit coming back: exposed while it is pending, an echo when confirmed, a rival when it was
/// discarded although a relay took it.
pub(crate) fn own_commit(
    records: &mut Records<'_>,
    crypto: &RustCrypto,
    opened: &Opened,
) -> Result<Option<Verdict>, Halt> {
    let Some(pending) = records.tx.pending_by_digest(&opened.row.id, &opened.content_id)? else {
        return Ok(None);
    };
    Ok(Some(match pending.status {
        // An automatic commit has no caller who would confirm it; its echo proves that a relay has it.
        CommitStatus::Prepared | CommitStatus::Exposed if pending.automatic => {
            let settled = FollowUp::SettleOwnCommit(pending.id, Published::There);
            records.effects.follow(settled);
            Verdict::Applied
        }
        CommitStatus::Prepared => {
            records.tx.set_commit_status(pending.id, CommitStatus::Exposed)?;
            Verdict::Duplicate
        }
        CommitStatus::Exposed | CommitStatus::Confirmed => Verdict::Duplicate,
        // rule: C2-7 a discarded commit that a relay has after all is a rival, not lost
        CommitStatus::Discarded
            if records.tx.input(&opened.row.id, &opened.content_id)?.is_some() =>
        {
            Verdict::Duplicate
        }
        // While another one is being published everything else waits (C2-4).
        CommitStatus::Discarded if records.groups().publishing(&opened.row)? => {
            refuse::hold_opened(records, opened, DeferredReason::PublishInProgress)?
        }
        CommitStatus::Discarded if records.tx.seen(opened.content_id.as_bytes())?.is_some() => {
            Verdict::Duplicate
        }
        CommitStatus::Discarded => place_own(records, crypto, opened, &pending)?,
    }))
}
