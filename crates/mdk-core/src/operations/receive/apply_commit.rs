//! A commit on the tip of the followed branch.

use std::sync::Arc;

use openmls::prelude::ProtocolMessage;

use crate::fork_choice::settling::touch;
use crate::mls::proposals::{load_proposals, resolve};
use crate::mls::refusal::{Refusal, refusal, sender_account};
use crate::mls::stage_commit::self_removed;
use crate::mls::work::Work;
use crate::mls::{enter_epoch, settings, views};
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::Verdict;
use crate::operations::receive::refused_commit;
use crate::policy;
use crate::state_store::{retained_states, seen};

/// A commit on the tip applies at once; the state it leaves is retained.
pub(crate) fn apply_commit(
    work: &mut Work<'_>,
    opened: Opened,
    message: ProtocolMessage,
) -> Result<Verdict, Halt> {
    let id = opened.row.id.clone();
    let mut group = work.take(&id)?;
    let state = work.records.states().snapshot(&group.row)?;
    let (epoch, tip) = (group.row.epoch, group.row.authenticator);
    let provider = work.provider();
    load_proposals(work.records.tx, &provider, &mut group.mls, &id, &tip)?;
    let copy = message.clone();
    let processed = match group.mls.process_message(&provider, message) {
        Ok(processed) => processed,
        Err(error) => {
            let refusal = refusal(&error);
            // Nothing but the loaded proposals is in the way then: it need not be read anew.
            if matches!(refusal, Refusal::Elsewhere) {
                work.put(group);
            }
            return refused_commit::refuse_commit(work, &opened, &copy, refusal);
        }
    };
    let committer = processed.sender().clone();
    let account = sender_account(&processed);
    let staged = match resolve(&provider, &mut group.mls, processed) {
        Ok(staged) => staged,
        Err(refusal) => return refused_commit::refuse_commit(work, &opened, &copy, refusal),
    };
    let parent = group.view();
    let (commit, result) = views::view_of_staged(&parent, &group.mls, &committer, &staged)?;
    let class = policy::judge_commit(&parent, &commit, &result)?;

    let before = settings::settings(group.mls.public_group().group_context())
        .map_err(|_| Error::Internal("own state does not decode"))?;
    let step = Step {
        digest: opened.content_id,
        committer: account,
        privileged: class.privileged,
        left: self_removed(&commit, &group),
        sent_at: opened.sent_at,
    };
    // Only an automatic commit can be pending here, and only a commit that takes effect supersedes it: until
    // then a relay may have it. Its bytes stay known in case it comes back.
    if let Some(pending) = work.records.tx.pending_of(&id)? {
        work.records.supersede(&group.row.id, pending.id)?;
    }
    // rule: E5-8 a commit on the tip applies at once, and opens a pass for what may compete with it: before anything
    // is let go, since the oldest of the states is one that a rival may start from
    touch(&mut group.row.pass, epoch, work.records.call.now_millis);
    let floor = retained_states::floor(&group.row.pass, group.row.epoch.saturating_add(1));
    work.records.gaps().report_skipped(&group.row, floor)?;
    work.records.states().retain(&group.row, &state)?;
    group
        .mls
        .merge_staged_commit(&work.provider(), *staged)
        .map_err(|_| Error::Internal("merging a verified commit"))?;
    group.merged(Arc::new(result))?;
    group.judged = None;
    let contested = group.row.pass.contested != 0;
    enter_epoch::finish_epoch(&mut work.records, work.crypto, &mut group, &before, &step)?;
    seen::done(work.records.tx, &opened)?;
    work.records.tx.drop_input(&id, &opened.content_id)?;
    if contested || membership::is_over(group.row.status) {
        // (its state may lose, and be one of too many; if we are out, we know no more of it than this)
        work.records.states().keep_commit(&opened, epoch, tip)?;
    }
    if membership::is_over(group.row.status) {
        work.records.memory.rows.forget(&id);
    } else {
        work.put(group);
        work.records.effects.follow(FollowUp::RenewLeave(id.clone()));
    }
    work.records.effects.follow(FollowUp::RetryBuffered(id));
    Ok(Verdict::Applied)
}
