//! The verdict on an invite: it may stand beside another one, or belong to a membership that is over.
//!
//! `judge_invite` looks at what we know of the group, and says whether the invite is asked, waits or is refused.
//! Whether the group that it leads to may be joined (its leaves, its invariants, the signer's right) is `judge_welcome`
//! in `invariants.rs`.

use mdk_store::{EndedRow, GroupRow, GroupStatus};
use mdk_wire::{PublicKey, Timestamp};

use crate::fork_choice::branch_order;
use crate::fork_choice::settling::{base_for_rival, undecided};
use crate::model::invites::{Beside, Earlier, Offer};
use crate::model::membership;
use crate::model::outcome::{RejectCode, Rejection};
use crate::model::state_id::Auth;

/// The facts beside the group's row when a Welcome is judged.
#[derive(Default)]
pub(crate) struct Evidence {
    /// The group's row was an invitation that has ended before it was answered.
    pub(crate) unanswered: bool,
    /// The membership that was deleted, where the group is not known.
    pub(crate) deleted: Option<EndedRow>,
    /// The removal of us that the Welcome must have been made after.
    pub(crate) removal: Option<Auth>,
    /// The place where it finds us, if it leads to the others.
    pub(crate) behind: Option<Behind>,
    /// It has waited for as long as a removal may take to come.
    pub(crate) waited: bool,
    /// A group that was ended is asked for again: the member who ended it may have ended a copy of his own.
    pub(crate) asked_again: bool,
    /// The maker, once the Welcome was opened.
    pub(crate) maker: Option<Maker>,
}

/// The place where a Welcome that leads to the others finds us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// On a branch that lost, from this epoch on.
    Lost(u64),
    /// On their way, as far as we could follow it.
    Away,
}

/// The maker of a Welcome to a group that we are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// An admin in our view.
    Admin,
    /// An admin of the time when we came, who is none any more.
    FormerAdmin,
    /// An account that we do not know as an admin.
    Other,
}

/// The next step with a Welcome.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InviteVerdict {
    /// It is shown as an invitation.
    Show,
    /// The group's row goes, and the Welcome is shown.
    Replace,
    /// The invitation that nobody has answered goes, and this one is judged again.
    PutAway,
    /// It is opened, and judged again by its maker.
    Open,
    /// It leads us to the others, and is shown.
    LeadAway(Behind),
    /// The state that it leads to is compared with ours, `after` that removal; `or` applies if no state can be
    /// compared.
    Compare { after: Option<Auth>, or: Unplaced },
    /// It leads nowhere from where we are.
    Unplaced(Unplaced),
    /// It is refused, for a reason of its own.
    Refuse(Rejection),
}

/// The end of a Welcome that leads nowhere from where we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unplaced {
    /// It waits.
    Wait,
    /// It waits if it can be asked beside the row of the group (B4-32). It is opened to find that out.
    Ask,
    /// The group is known already.
    Refuse,
}

/// The group is known already.
pub(crate) const KNOWN: Rejection =
    Rejection::new(RejectCode::AlreadyApplied, "B4-4", "the group is known already");
const DISBANDED: Rejection =
    Rejection::new(RejectCode::AlreadyApplied, "B4-4", "the group was disbanded");
const BYGONE: Rejection = Rejection::new(
    RejectCode::AlreadyApplied,
    "B4-20",
    "an invitation from before the membership that has ended",
);

// rule: B4-4 a known or disbanded group is not joined again
/// Judges a Welcome by the row of its group and the other facts. The first line that fits counts.
pub(crate) fn judge_invite(
    known: Option<&GroupRow>,
    offer: &Offer,
    seen: &Evidence,
) -> InviteVerdict {
    let Some(row) = known else { return judge_unknown(offer, seen.deleted.as_ref()) };
    let (open, competing) = (row.pass.opened != 0, row.pass.contested != 0);
    let bygone = is_bygone(row, offer.epoch, offer.made);
    let later = offer.epoch > row.join_epoch;
    // (a copy that was given up is replaced, B4-5; an account that has asked to leave is asked again, if it is plain
    // that the others are there)
    let replaced = match row.status {
        GroupStatus::Unrecoverable | GroupStatus::RunsElsewhere => true,
        GroupStatus::Leaving => seen.behind.is_some(),
        _ => false,
    };
    let after = seen.removal.filter(|_| !replaced);
    let apart = after.is_none() && may_rival_later(row, offer, seen);
    match row.status {
        // (another branch may have kept us)
        GroupStatus::Disbanded if seen.unanswered && open => WAIT,
        _ if seen.unanswered && bygone && open => WAIT,
        GroupStatus::Disbanded if seen.unanswered => InviteVerdict::PutAway,
        _ if seen.unanswered && bygone => InviteVerdict::PutAway,

        _ if after.is_some() || apart || may_rival(row, offer.epoch) => {
            // Nobody knows yet who else will be an admin by then.
            let early = apart && offer.epoch > row.epoch || is_early(row, offer, seen);
            InviteVerdict::Compare { after, or: if early { Unplaced::Wait } else { Unplaced::Ask } }
        }
        // rule: B4-19 while branches compete, who is out waits for their pass: what was said on the loser is marked then
        status if membership::is_over(status) && open && competing => WAIT,

        // rule: B4-20 what is older than the membership that has ended is no fresh invitation
        // (a Welcome that was refused while we were in may be from a branch that has kept us, and nobody has answered
        // it)
        GroupStatus::Removed | GroupStatus::Left if bygone => InviteVerdict::Refuse(BYGONE),
        // rule: B4-5 a copy that we are no longer in, or that cannot be followed, is replaced by a fresh Welcome
        GroupStatus::Removed
        | GroupStatus::Left
        | GroupStatus::Unrecoverable
        | GroupStatus::RunsElsewhere => InviteVerdict::Replace,
        GroupStatus::Disbanded if seen.asked_again => InviteVerdict::Replace,
        GroupStatus::Disbanded => InviteVerdict::Refuse(DISBANDED),

        GroupStatus::Founding => InviteVerdict::Unplaced(Unplaced::Ask),
        _ if !later => InviteVerdict::Unplaced(Unplaced::Ask),
        // A Welcome to a later epoch than our membership's first may be of another membership.
        _ => seen.maker.map_or(InviteVerdict::Open, |maker| judge_maker(row, offer, seen, maker)),
    }
}

const WAIT: InviteVerdict = InviteVerdict::Unplaced(Unplaced::Wait);

// rule: B4-36 to a group that was deleted leads what would have led to it before, and nothing else
fn judge_unknown(offer: &Offer, deleted: Option<&EndedRow>) -> InviteVerdict {
    match deleted {
        Some(ended) if ended.disbanded => InviteVerdict::Refuse(DISBANDED),
        Some(ended) if is_bygone_of(ended, offer.epoch, offer.made) => {
            InviteVerdict::Refuse(BYGONE)
        }
        _ => InviteVerdict::Show,
    }
}

/// A Welcome to a later epoch than our membership began in, by who made it.
fn judge_maker(row: &GroupRow, offer: &Offer, seen: &Evidence, maker: Maker) -> InviteVerdict {
    match (maker, seen.behind) {
        (Maker::Admin, Some(behind)) => InviteVerdict::LeadAway(behind),
        (Maker::Admin, None) => WAIT,
        // rule: B4-37 (whom we do not know as an admin any more leads nobody away, and is compared)
        (Maker::FormerAdmin, _) if may_compare(row, offer, seen) => {
            InviteVerdict::Compare { after: None, or: Unplaced::Refuse }
        }
        (Maker::FormerAdmin, _) => WAIT,
        // Nobody knows yet who else will be an admin by then.
        (Maker::Other, _) if offer.epoch > row.epoch || is_early(row, offer, seen) => WAIT,
        (Maker::Other, _) => InviteVerdict::Unplaced(Unplaced::Ask),
    }
}

// rule: B4-39 nobody is known not to be an admin as long as another branch may win that has made it one
/// Whether a Welcome to a later epoch than our membership began in is not to be refused yet for its maker: branches
/// compete, or it has just come, by another subscription than the commits that may compete.
fn is_early(row: &GroupRow, offer: &Offer, seen: &Evidence) -> bool {
    offer.epoch > row.join_epoch && (undecided(&row.pass) || !seen.waited)
}

// rule: B4-22 where a Welcome leads that has waited long is compared with where our own has led
/// Whether a Welcome to a later epoch than our membership began in is kept beside it. No removal has come that it could
/// lead on from, so it may be of a branch that parted before both. The state that our own Welcome led to is still
/// retained, so the two can be compared. As far as it can be seen from here it does not win by itself (that is B4-16).
/// Messages and commits on it can be followed from now on, and decide.
fn may_rival_later(row: &GroupRow, offer: &Offer, seen: &Evidence) -> bool {
    may_compare(row, offer, seen) && seen.behind.is_none()
}

/// Whether a Welcome to a later epoch has waited long enough, and the state that our own led to is still there to be
/// compared.
fn may_compare(row: &GroupRow, offer: &Offer, seen: &Evidence) -> bool {
    offer.epoch > row.join_epoch
        && row.pass.opened == 0
        && seen.waited
        && may_rival(row, row.join_epoch)
}

// rule: B4-32 an invitation by somebody else is asked beside the one that waits for its answer, and beside what it led to
/// Whether an invitation that cannot be placed is asked beside the group's row. `earlier` is the membership that this
/// one has taken the place of.
///
/// Anybody who knows the id of a group, a former admin above all, can make a Welcome that looks like one to it, of any
/// epoch. So none must keep another one from being asked. An accepted membership stays until the user says otherwise.
/// Beside it, two sorts of invitations are asked: one by an admin of the earlier membership, and any when we want to
/// leave anyway.
pub(crate) fn may_stand_beside(row: &GroupRow, earlier: Option<&Earlier>, said: &Beside) -> bool {
    let maker = PublicKey::from_bytes(said.inviter).ok();
    if maker.is_none() || maker == row.welcomer {
        return false;
    }
    if earlier.is_some_and(|earlier| is_before(earlier, row, said.epoch, said.made)) {
        return false;
    }
    match row.status {
        GroupStatus::Invited | GroupStatus::Reinvited => true,
        _ if is_bygone(row, said.epoch, said.made) => false,
        GroupStatus::Leaving => true,
        GroupStatus::Active => {
            earlier.is_some_and(|earlier| !earlier.knows(row.welcomer) && earlier.knows(maker))
        }
        _ => false,
    }
}

/// Whether a Welcome is from before a membership that another one has taken the place of, as B4-20 has it for one that has
/// ended.
pub(crate) fn is_before(earlier: &Earlier, now: &GroupRow, epoch: u64, made: Timestamp) -> bool {
    let mut row = now.clone();
    (row.epoch, row.join_epoch) = (earlier.epoch, earlier.join_epoch);
    row.pass.joined_at = earlier.joined_at;
    is_bygone(&row, epoch, made)
}

/// Whether a Welcome to `epoch` may be the second invitation to our membership. We came by one, to the same epoch or to
/// a later one of another branch. The state that it led to is still retained, and the branches may have parted so far
/// back. (A Welcome that leads further than our own beginning may be of a later membership: it waits, see B4-15 and
/// B4-16.)
pub(crate) fn may_rival(row: &GroupRow, epoch: u64) -> bool {
    row.welcome.is_some()
        && epoch <= row.join_epoch
        && row.pass.floor <= row.join_epoch
        && branch_order::eligible(
            epoch.saturating_sub(1),
            base_for_rival(row),
            &branch_order::POLICY,
        )
        && matches!(
            row.status,
            GroupStatus::Active
                | GroupStatus::Leaving
                | GroupStatus::Invited
                | GroupStatus::Reinvited
        )
}

/// Whether a Welcome to `epoch` is older than the membership that has ended, and than every branch that could still win
/// over the one that ended it. A Welcome's maker chooses its epoch. A member who leads us into a copy far ahead must
/// not make all Welcomes of the others old, so a Welcome that was made after that membership began is not old.
pub(crate) fn is_bygone(row: &GroupRow, epoch: u64, made: Timestamp) -> bool {
    is_bygone_of(
        &EndedRow {
            disbanded: false,
            epoch: row.epoch,
            join_epoch: row.join_epoch,
            joined_at: row.pass.joined_at,
        },
        epoch,
        made,
    )
}

/// The same, of a membership whose group may have been deleted.
pub(crate) fn is_bygone_of(ended: &EndedRow, epoch: u64, made: Timestamp) -> bool {
    epoch < ended.join_epoch
        && made <= ended.joined_at
        && !branch_order::eligible(epoch.saturating_sub(1), ended.epoch, &branch_order::POLICY)
}
