//! The table of verdicts on a Welcome, line by line.

use mdk_store::{EndedRow, GroupRow, GroupStatus, PassRow};
use mdk_wire::{EventId, GroupId, NostrGroupId, Secret};

use super::*;
use crate::model::invites::Offer;
use crate::policy::invite::{Behind, Evidence, InviteVerdict, Maker, Unplaced, judge_invite};
use GroupStatus::{Active, Disbanded, Founding, Invited, Leaving, Left, Removed, Unrecoverable};
use InviteVerdict::{Compare, LeadAway, Open, PutAway, Replace, Show};

/// A group that we came to in epoch 10 by an invite made at 1,000, and that is in epoch 12 now.
fn row(status: GroupStatus) -> GroupRow {
    GroupRow {
        id: GroupId::from_bytes(&[1; 16]).unwrap(),
        profile: capabilities::GENERATION,
        status,
        epoch: 12,
        join_epoch: 10,
        authenticator: [2; 32],
        event_key: Secret::new([3; 32]),
        nostr_group_id: NostrGroupId::from_bytes([4; 32]),
        name: String::new(),
        description: String::new(),
        relays: Vec::new(),
        admins: Vec::new(),
        members: Vec::new(),
        retention: 0,
        has_image: false,
        welcomer: Some(account(1)),
        created_at: 1_000,
        self_updated_at: 0,
        last_read: 0,
        welcome: Some(EventId::from_bytes([5; 32])),
        pass: PassRow { floor: 10, joined_at: 1_000, ..PassRow::default() },
    }
}

/// The same, when no state is retained any more of when we came.
fn settled(status: GroupStatus) -> GroupRow {
    let row = row(status);
    GroupRow { pass: PassRow { floor: 11, ..row.pass }, ..row }
}

/// The same, while branches compete.
fn competing(status: GroupStatus) -> GroupRow {
    let row = row(status);
    GroupRow { pass: PassRow { opened: 5, contested: 11, ..row.pass }, ..row }
}

fn nothing() -> Evidence {
    Evidence::default()
}

fn by(maker: Maker) -> Evidence {
    Evidence { maker: Some(maker), ..nothing() }
}

fn waited() -> Evidence {
    Evidence { waited: true, ..nothing() }
}

fn ended(disbanded: bool) -> Evidence {
    let ended = EndedRow { disbanded, epoch: 12, join_epoch: 10, joined_at: 1_000 };
    Evidence { deleted: Some(ended), ..nothing() }
}

const REMOVAL: [u8; 32] = [9; 32];
/// Made before our membership began, and too far back for any branch that could still win.
const BYGONE: (u64, u64) = (5, 900);
/// A Welcome to the epoch that we came to.
const SAME: (u64, u64) = (10, 1_100);
/// A Welcome to a later one, that we have been in.
const LATER: (u64, u64) = (11, 1_100);
/// A Welcome to one that we have not come to yet.
const AHEAD: (u64, u64) = (13, 1_100);

const WAIT: InviteVerdict = InviteVerdict::Unplaced(Unplaced::Wait);
const ASK: InviteVerdict = InviteVerdict::Unplaced(Unplaced::Ask);

fn refused(code: RejectCode, rule: &'static str, reason: &'static str) -> InviteVerdict {
    InviteVerdict::Refuse(Rejection::new(code, rule, reason))
}

fn old() -> InviteVerdict {
    let reason = "an invitation from before the membership that has ended";
    refused(RejectCode::AlreadyApplied, "B4-20", reason)
}

fn over() -> InviteVerdict {
    refused(RejectCode::AlreadyApplied, "B4-4", "the group was disbanded")
}

type Line = (&'static str, Option<GroupRow>, (u64, u64), Evidence, InviteVerdict);

fn judge_all(lines: Vec<Line>) {
    for (what, known, (epoch, made), seen, expected) in lines {
        let offer = Offer { invite: EventId::from_bytes([6; 32]), epoch, made };
        assert_eq!(judge_invite(known.as_ref(), &offer, &seen), expected, "{what}");
    }
}

// shows: B4-36
#[test]
fn to_a_group_that_is_not_known() {
    judge_all(vec![
        ("never heard of", None, SAME, nothing(), Show),
        ("deleted, and from before it", None, BYGONE, ended(false), old()),
        ("deleted, and made since", None, AHEAD, ended(false), Show),
        ("deleted when it was over", None, AHEAD, ended(true), over()),
    ]);
}

// shows: B4-4
// shows: B4-5
// shows: B4-19
// shows: B4-20
// shows: B4-34
#[test]
fn to_a_group_that_we_are_not_in_any_more() {
    let unanswered = || Evidence { unanswered: true, ..nothing() };
    let asked = Evidence { asked_again: true, ..nothing() };
    let removal = Evidence { removal: Some(REMOVAL), ..nothing() };
    judge_all(vec![
        ("removed", Some(row(Removed)), AHEAD, nothing(), Replace),
        ("left", Some(row(Left)), SAME, nothing(), Replace),
        ("removed, from before it", Some(row(Removed)), BYGONE, nothing(), old()),
        ("left, from before it", Some(row(Left)), BYGONE, nothing(), old()),
        ("removed while branches compete", Some(competing(Removed)), AHEAD, nothing(), WAIT),
        ("given up", Some(row(Unrecoverable)), BYGONE, nothing(), Replace),
        ("given up, whatever has removed us", Some(row(Unrecoverable)), AHEAD, removal, Replace),
        ("disbanded", Some(row(Disbanded)), AHEAD, nothing(), over()),
        ("a copy was disbanded", Some(row(Disbanded)), AHEAD, asked, Replace),
        ("unanswered, from before it", Some(row(Removed)), BYGONE, unanswered(), PutAway),
        ("unanswered, a later one", Some(row(Removed)), AHEAD, unanswered(), Replace),
        ("unanswered, disbanded", Some(row(Disbanded)), AHEAD, unanswered(), PutAway),
        ("unanswered, not decided", Some(competing(Left)), BYGONE, unanswered(), WAIT),
        ("disbanded, not decided", Some(competing(Disbanded)), AHEAD, unanswered(), WAIT),
    ]);
}

// shows: B4-17
// shows: B4-18
// shows: B4-22
#[test]
fn to_a_group_that_we_are_in_on_another_branch() {
    let removal = Evidence { removal: Some(REMOVAL), ..waited() };
    let behind = || Evidence { behind: Some(Behind::Away), ..waited() };
    let on = |after, or| Compare { after, or };
    judge_all(vec![
        ("a second one", Some(row(Active)), SAME, nothing(), on(None, Unplaced::Ask)),
        ("a second invite", Some(row(Invited)), SAME, nothing(), on(None, Unplaced::Ask)),
        ("from a removal", Some(row(Active)), LATER, removal, on(Some(REMOVAL), Unplaced::Ask)),
        ("has waited", Some(row(Active)), LATER, waited(), on(None, Unplaced::Ask)),
        ("has waited, ahead", Some(row(Active)), AHEAD, waited(), on(None, Unplaced::Wait)),
        ("has not waited", Some(row(Active)), LATER, nothing(), Open),
        ("wins by itself", Some(row(Active)), AHEAD, behind(), Open),
        ("no longer comparable", Some(settled(Active)), LATER, waited(), Open),
        ("before we came, settled", Some(settled(Active)), SAME, waited(), ASK),
        ("of our own founding", Some(settled(Founding)), AHEAD, waited(), ASK),
    ]);
}

// shows: B4-15
// shows: B4-16
// shows: B4-37
// shows: B4-39
#[test]
fn to_a_group_that_we_are_in_by_its_maker() {
    let behind =
        |maker| Evidence { behind: Some(Behind::Lost(10)), maker: Some(maker), ..waited() };
    let other = Evidence { maker: Some(Maker::Other), ..waited() };
    let leaving = Evidence { removal: Some(REMOVAL), ..behind(Maker::Admin) };
    let compared = Compare { after: None, or: Unplaced::Refuse };
    judge_all(vec![
        (
            "an admin, to the others",
            Some(settled(Active)),
            AHEAD,
            behind(Maker::Admin),
            LeadAway(Behind::Lost(10)),
        ),
        (
            "an admin, who wants to go",
            Some(row(Leaving)),
            AHEAD,
            leaving,
            LeadAway(Behind::Lost(10)),
        ),
        ("an admin, of a later membership", Some(settled(Active)), AHEAD, by(Maker::Admin), WAIT),
        (
            "who was an admin, compared",
            Some(row(Active)),
            AHEAD,
            behind(Maker::FormerAdmin),
            compared,
        ),
        (
            "who was an admin, settled",
            Some(settled(Active)),
            AHEAD,
            behind(Maker::FormerAdmin),
            WAIT,
        ),
        (
            "another, where we have not come to",
            Some(settled(Active)),
            AHEAD,
            by(Maker::Other),
            WAIT,
        ),
        ("another, just now", Some(settled(Active)), LATER, by(Maker::Other), WAIT),
        ("another, while branches compete", Some(competing(Active)), LATER, by(Maker::Other), WAIT),
        ("another, who has waited", Some(settled(Active)), LATER, other, ASK),
    ]);
}
