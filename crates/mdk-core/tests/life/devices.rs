//! Several devices of one account: leaves of their own, one member.

use mdk_core::{Error, EventBody, GroupState, Outcome, Verdict, testing};
use mdk_wire::{Event, GroupId, Keys};

use crate::kit::foreign::{Change, Foreign, read_key_package};
use crate::kit::{Member, new_group, received, unhurried};

/// An engine with passes of a second, as the protocol has it.
fn device(name: &'static str, keys: &Keys) -> Member {
    Member::of(name, keys.clone(), unhurried())
}

/// Ann (plain OpenMLS) and eve are admins; phone and laptop are one account.
struct Home {
    ann: Foreign,
    eve: Member,
    phone: Member,
    laptop: Member,
    group: GroupId,
}

impl Home {
    fn new() -> Self {
        let keys = Keys::generate();
        let (mut phone, mut laptop) = (device("phone", &keys), device("laptop", &keys));
        let mut eve = device("eve", &Keys::generate());
        let mut ann = Foreign::new();
        let mut context = ann.context();
        context.set_admins(&[ann.key(), eve.key()]);
        ann.founds(&context);
        let packages = [eve.key_package(), phone.key_package(), laptop.key_package()];
        let welcome = ann.invites(&packages.each_ref());
        let wraps: Vec<Event> = packages.iter().map(|p| ann.wraps(&welcome, p)).collect();
        eve.joins(&wraps);
        phone.joins(&wraps);
        laptop.joins(&wraps);
        let group = GroupId::from_bytes(&context.id).unwrap();
        Self { ann, eve, phone, laptop, group }
    }

    fn engines(&mut self) -> [&mut Member; 3] {
        [&mut self.eve, &mut self.phone, &mut self.laptop]
    }

    fn all_take(&mut self, event: &Event) {
        for member in self.engines() {
            member.takes(event);
        }
    }

    fn all_wait(&mut self) {
        self.engines().into_iter().for_each(|member| drop(member.waits(1_000)));
    }
}

fn authenticator(member: &mut Member, group: &GroupId) -> [u8; 32] {
    testing::state(&mut member.engine, group).unwrap().authenticator
}

fn members_changed(outcome: &Outcome) -> bool {
    outcome.events.iter().any(|e| matches!(e.body, EventBody::MembersChanged { .. }))
}

// shows: D4-7
#[test]
fn two_devices_are_one_member_and_hear_each_other() {
    let mut home = Home::new();
    let group = home.group.clone();
    for member in home.engines() {
        assert_eq!(member.info(&group).member_count, 3, "{}", member.name);
        assert_eq!(member.engine.members(&group).unwrap().len(), 3);
        assert_eq!(testing::state(&mut member.engine, &group).unwrap().leaves.len(), 4);
    }
    let said = home.phone.says(&group, "from the phone");
    assert_eq!(received(&home.laptop.applies(&said)), ["from the phone"]);
    assert_eq!(home.phone.takes(&said).verdict, Verdict::Duplicate);
    home.eve.applies(&said);
    home.laptop.tells(&group, "from the laptop", &mut [&mut home.phone, &mut home.eve]);
    let account = home.phone.key();
    for member in home.engines() {
        let page = member.engine.messages(&group, 10, None, None).unwrap();
        assert_eq!(page.iter().map(|m| m.sender).collect::<Vec<_>>(), [account; 2]);
    }
    // What one device says, the other may delete: the author is the account.
    let id = home.laptop.engine.messages(&group, 10, None, None).unwrap()[0].id;
    let delete = home.laptop.engine.delete(&group, &id).unwrap();
    home.phone.applies(&delete.event);
    assert!(home.phone.engine.message(&group, &id).unwrap().fate.deleted);
}

/// The one Welcome of both comes in two gift wraps, of which each device needs one.
#[test]
fn each_device_joins_once_by_its_own_key_package() {
    let keys = Keys::generate();
    let (mut phone, mut laptop) = (device("phone", &keys), device("laptop", &keys));
    let mut ann = Foreign::new();
    ann.founds(&ann.context());
    let packages = [phone.key_package(), laptop.key_package()];
    let welcome = ann.invites(&packages.each_ref());
    let wraps = packages.each_ref().map(|package| ann.wraps(&welcome, package));
    for device in [&mut phone, &mut laptop] {
        device.applies(&wraps[1]);
        assert_eq!(device.takes(&wraps[0]).verdict, Verdict::Duplicate);
        assert_eq!(device.engine.invites().unwrap().len(), 1);
    }
}

/// One that comes later hears from then on, one that is removed leaves the account there, and a removal of the account takes
/// all its devices: nobody is told of members that change before that.
#[test]
fn devices_come_and_go_and_the_account_stays() {
    let mut home = Home::new();
    let group = home.group.clone();
    let mut tablet = device("tablet", &testing::keys(&home.phone.engine));
    let package = tablet.key_package();
    let early = home.phone.says(&group, "early");
    let change = Change { adds: vec![read_key_package(&package)], path: true, ..Change::default() };
    let made = home.ann.commits(change);
    let added = home.ann.seals(&made.commit);
    home.ann.merges();
    for member in home.engines() {
        assert!(!members_changed(&member.applies(&added)), "{}", member.name);
    }
    home.all_wait();
    tablet.joins(&[home.ann.wraps(&made.welcome.unwrap(), &package)]);
    assert_ne!(tablet.takes(&early).verdict, Verdict::Applied);
    home.laptop.tells(&group, "welcome", &mut [&mut tablet]);

    let leaf = testing::state(&mut home.laptop.engine, &group).unwrap().own_leaf_index;
    let removed = home.ann.commit_event(Change { removes: vec![leaf], ..Change::default() });
    home.ann.merges();
    home.laptop.applies(&removed);
    assert_eq!(home.laptop.info(&group).state, GroupState::Removed);
    for member in [&mut home.phone, &mut home.eve, &mut tablet] {
        assert!(!members_changed(&member.applies(&removed)), "{}", member.name);
        assert_eq!(member.info(&group).member_count, 3);
    }
    let said = home.phone.says(&group, "still here");
    home.eve.applies(&said);
    assert_ne!(home.laptop.takes(&said).verdict, Verdict::Applied);

    home.all_wait();
    tablet.waits(1_000);
    let event = home.eve.removes(&group, home.phone.key(), &mut []).event.unwrap();
    for device in [&mut home.phone, &mut tablet] {
        device.applies(&event);
        assert_eq!(device.info(&group).state, GroupState::Removed, "{}", device.name);
    }
    home.ann.follows(&event);
    assert_eq!(home.ann.mls().members().count(), 2);
    assert_eq!(home.eve.info(&group).member_count, 2);
}

/// The account's key is the same, so the digest decides; all come to the same state.
#[test]
fn two_devices_commit_at_once() {
    for order in [[0, 1], [1, 0]] {
        let mut home = Home::new();
        let group = home.group.clone();
        let commits = [&mut home.phone, &mut home.laptop]
            .map(|device| device.updates(&group, &mut []).event.unwrap());
        for at in order {
            home.all_take(&commits[at]);
        }
        home.all_wait();
        let expected = authenticator(&mut home.eve, &group);
        assert_eq!(authenticator(&mut home.phone, &group), expected);
        assert_eq!(authenticator(&mut home.laptop, &group), expected);
        home.laptop.tells(&group, "agreed", &mut [&mut home.phone]);
    }
}

/// A leave is a device's; the account is a member as long as another device of it is there.
#[test]
fn one_device_leaves() {
    let mut home = Home::new();
    let group = home.group.clone();
    home.all_wait();
    let leave = home.phone.engine.leave(&group).unwrap();
    let outcome = home.eve.takes(&leave);
    let answer = match outcome.reply.first() {
        Some(answer) => answer.clone(),
        None => home.eve.waits(1_000).reply.remove(0),
    };
    home.laptop.takes(&leave);
    home.eve.takes(&answer);
    home.phone.takes(&answer);
    let told = home.laptop.takes(&answer);
    assert!(!members_changed(&told));
    home.all_wait();
    assert_eq!(home.phone.info(&group).state, GroupState::Left);
    assert_eq!(home.laptop.info(&group).state, GroupState::Active);
    assert_eq!(home.eve.info(&group).member_count, 3);
    home.laptop.tells(&group, "the other one stays", &mut [&mut home.eve]);
    assert!(matches!(home.phone.engine.self_update(&group), Err(Error::NotMember(_))));
}

/// The engine itself invites accounts, not devices: an account that is there is not added again.
#[test]
fn an_account_is_not_invited_twice() {
    let keys = Keys::generate();
    let (mut phone, mut laptop) = (device("phone", &keys), device("laptop", &keys));
    let mut eve = device("eve", &Keys::generate());
    let group = eve.founds("g", &mut [&mut phone]);
    let refused = eve.engine.add_members(&group, &[laptop.key_package()], false);
    assert!(matches!(refused, Err(Error::InvalidInput { .. } | Error::NotAllowed(_))));
    assert!(
        eve.engine
            .create_group(new_group("both", vec![phone.key_package(), laptop.key_package()]))
            .is_err()
    );
}
