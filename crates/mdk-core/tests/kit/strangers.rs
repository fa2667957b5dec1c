//! Who was put out of a group and does not know it, and the invitations of such a one and of the others.

use mdk_core::{Error, GroupState, Invite, Pending};
use mdk_wire::{Event, GroupId};

use super::acts::{adds, removes, renames, speak};
use super::event;
use super::fork::{Filed, two_admins_and};

/// Alice has put bob out, who has not heard of it. Carol has heard of it.
pub fn former_admin(place: &std::path::Path) -> (Vec<Filed>, GroupId) {
    let (mut all, group) = two_admins_and("carol", place);
    let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
    let out = removes(alice, &group, bob);
    carol.member.applies(event(&out));
    (all, group)
}

/// Bob alone decides in his copy.
pub fn takes_over(bob: &mut Filed, alice: &Filed, group: &GroupId) {
    let demoted = bob.member.engine.demote(group, &[alice.member.key()]).unwrap();
    bob.member.confirms(&demoted);
}

pub fn goes_on(bob: &mut Filed, group: &GroupId) {
    (0..12).for_each(|n| drop(renames(bob, group, &format!("stray {n}"))));
}

/// An invitation to a group where the invited account may still be seen.
pub fn invites_again(member: &mut Filed, group: &GroupId, other: &mut Filed) -> (Pending, Pending) {
    let removal = removes(member, group, other);
    (removal, adds(member, group, other))
}

pub fn invites(member: &mut Filed) -> Vec<Invite> {
    member.member.engine.invites().unwrap()
}

pub fn by(member: &mut Filed, inviter: &Filed) -> Invite {
    let all = invites(member);
    let [one] = all.iter().filter(|i| i.inviter == inviter.member.key()).collect::<Vec<_>>()[..]
    else {
        panic!("{} invitations", all.len())
    };
    one.clone()
}

pub fn accepts(member: &mut Filed, inviter: &Filed) {
    let invite = by(member, inviter);
    assert_eq!(member.member.engine.accept(&invite.id).unwrap().state, GroupState::Active);
    assert_eq!(member.member.engine.accept(&invite.id).unwrap().state, GroupState::Active);
}

pub fn declines(member: &mut Filed, inviter: &Filed) {
    let invite = by(member, inviter);
    member.member.engine.decline(&invite.id).unwrap();
    let again = member.member.engine.decline(&invite.id);
    assert!(matches!(again, Err(Error::InviteNotFound)));
}

pub fn welcome(pending: &Pending) -> &Event {
    &pending.welcomes[0]
}

/// One who can read what the others say.
pub fn is_with(member: &mut Filed, other: &mut Filed, group: &GroupId) {
    assert_eq!(member.member.info(group).state, GroupState::Active);
    assert_eq!(member.ends(group).authenticator, other.ends(group).authenticator);
    speak(other, member, group);
}
