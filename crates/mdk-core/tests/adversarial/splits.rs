//! The same events in other orders: who was away and gets a removal that the others have settled together with what the
//! removed one had prepared ends where the others are, or is told that the others may be elsewhere.

use mdk_core::{EventBody, GroupState};
use mdk_wire::{Event, GroupId, Keys, Secret};

use super::betrayed::{Betrayed, undone};
use crate::kit::dice::Dice;
use crate::kit::fork::{Filed, Rest};
use crate::kit::{event, folder, named};

/// Numbers of accounts with the lowest and the highest key: ties between branches are broken by them.
fn extremes() -> [u8; 2] {
    let key = |number: &u8| Keys::from_secret(Secret::new([*number; 32])).unwrap().public_key();
    let numbers = 4..40;
    [numbers.clone().min_by_key(key).unwrap(), numbers.max_by_key(key).unwrap()]
}

/// Commits of one, each on the one before.
fn led_on(by: &mut Filed, group: &GroupId, commits: usize) -> Vec<Event> {
    (0..commits).map(|_| event(&by.updates(group, &mut [])).clone()).collect()
}

/// Carol is away; alice removes mallory and seals it, and the others have settled that. Then he publishes.
struct Apart {
    group: Betrayed,
    carol: Rest,
    honest: Vec<Event>,
    rivals: Vec<Event>,
    _place: tempfile::TempDir,
}

impl Apart {
    fn new(number: u8, admin: bool, rivals: usize) -> Self {
        let mut group = Betrayed::of(admin, number);
        let place = folder();
        let carol = group.honest[2].at_rest(place.path());
        group.removed(true);
        for _ in 0..12 {
            group.alice_works();
        }
        let rivals = group.revenge(rivals);
        group.come(&rivals);
        let honest = group.log.clone();
        assert_eq!(honest.len(), 6, "the removal, and five that seal it");
        Self { group, carol, honest, rivals, _place: place }
    }

    /// Carol comes back, and this is done with her; whether she is where alice is, and whether she thinks that the others may
    /// be elsewhere.
    fn returns(&mut self, work: impl FnOnce(&mut Filed)) -> (bool, bool) {
        let (place, id) = (folder(), self.group.group.clone());
        let mut carol = self.carol.copied(place.path()).opens();
        work(&mut carol);
        (0..4).for_each(|_| drop(carol.waits(6_000)));
        let there = carol.ends(&id).authenticator == self.group.honest[0].ends(&id).authenticator;
        (there, carol.info(&id).removals.contested)
    }
}

// shows: D8-6
/// In one pass, whatever comes first, in one call and in several.
#[test]
fn who_was_away_ends_where_the_others_have_settled() {
    let [low, high] = extremes();
    // (as many rivals as the honest have made are a tie, which the keys decide)
    let cases =
        [(low, 5, false), (low, 6, false), (high, 6, false), (high, 7, true), (low, 12, true)];
    for (number, rivals, admin) in cases {
        let mut apart = Apart::new(number, admin, rivals);
        for seed in 0..3 {
            let mut events = [apart.honest.clone(), apart.rivals.clone()].concat();
            match seed {
                0 => {}
                1 => events.rotate_left(6),
                _ => Dice::new(seed).shuffles(&mut events),
            }
            let (there, contested) = apart.returns(|carol| {
                if seed == 2 {
                    events.iter().for_each(|event| drop(carol.takes(event)));
                } else {
                    carol.takes_all(&events);
                }
            });
            assert!(there && !contested, "{number}, {rivals} rivals, seed {seed}");
        }
    }
}

// shows: D8-6
/// A word says where somebody stood while the choice was open. It keeps neither who said it nor who hears it from going to
/// the others, who have settled the removal.
#[test]
fn who_has_spoken_where_the_removed_one_leads_still_goes_to_the_others() {
    for number in extremes() {
        let mut apart = Apart::new(number, false, 8);
        let (honest, rivals) = (apart.honest.clone(), apart.rivals.clone());
        let id = apart.group.group.clone();
        let mut word = None;
        let (there, contested) = apart.returns(|carol| {
            carol.takes_all(&rivals[..5]);
            word = Some(carol.says(&id, "I am back"));
            carol.takes_all(&[&honest[..], &rivals[5..]].concat());
        });
        assert!(there && !contested, "{number}: who speaks");
        let all = [&rivals[..], &word.into_iter().collect::<Vec<_>>(), &honest].concat();
        let (there, contested) = apart.returns(|carol| drop(carol.takes_all(&all)));
        assert!(there && !contested, "{number}: who hears it");
    }
}

// shows: D8-6
/// The same of a commit that its maker can still leave. The removed one has built on it.
#[test]
fn who_has_committed_where_the_removed_one_leads_still_goes_to_the_others() {
    let mut apart = Apart::new(4, false, 2);
    let (honest, rivals) = (apart.honest.clone(), apart.rivals.clone());
    let (id, place) = (apart.group.group.clone(), folder());
    let mut kept = apart.group.kept.copied(place.path());
    let mut more = Vec::new();
    let seen = apart.returns(|carol| {
        carol.takes_all(&rivals);
        carol.waits(6_000);
        let pending = carol.engine.self_update(&id).unwrap();
        carol.confirms(&pending);
        kept.takes(event(&pending));
        kept.waits(6_000);
        more = [vec![event(&pending).clone()], led_on(&mut kept, &id, 6)].concat();
        carol.takes_all(&[&honest[..], &more].concat());
    });
    assert_eq!(seen, (true, false), "who commits");
    let all = [rivals, more, honest].concat();
    let seen = apart.returns(|carol| drop(carol.takes_all(&all)));
    assert_eq!(seen, (true, false), "who gets that commit");
}

// shows: D8-2
/// Bob comes to a removal by a choice, and it is out of reach when he is led away in the next one. Carol has committed on the
/// rivals where she cannot leave them. He is told who is back: his epoch of the removal is that of its commit.
#[test]
fn who_leaves_a_removal_that_was_out_of_reach_is_told_who_is_back() {
    let (mut group, place) = (Betrayed::new(false), folder());
    let (him, id) = (group.him(), group.group.clone());
    let mut bob = group.honest[1].copied(place.path());
    let mut carol = group.honest[2].copied(place.path());
    group.removed(true);
    (0..12).for_each(|_| _ = group.alice_works());
    let honest = group.log.clone();
    assert_eq!(honest.len(), 6, "the removal, and five that seal it");
    let mut rivals = led_on(&mut group.kept, &id, 6);
    carol.takes_all(&rivals);
    carol.waits(6_000);
    rivals.extend(led_on(&mut carol, &id, 1));
    group.kept.takes(&rivals[6]);
    group.kept.waits(6_000);
    rivals.extend(led_on(&mut group.kept, &id, 1));
    bob.takes_all(&rivals[..4]);
    bob.takes_all(&honest[..5]);
    let mut told = vec![bob.waits(6_000)];
    assert_eq!(bob.info(&id).member_count, 3);
    bob.takes_all(&honest[5..]);
    told.extend(bob.takes_all(&rivals[4..]));
    told.push(bob.waits(6_000));
    assert_eq!(bob.info(&id).member_count, 4);
    let told: Vec<_> = told.into_iter().flat_map(|o| o.events).map(|event| event.body).collect();
    assert_eq!(undone(&told, him), [false]);
}

// shows: D8-9
/// Who has settled what he has made, before the removal comes, cannot read the removal: it is told that something is wrong, and
/// may speak.
#[test]
fn who_has_settled_the_rivals_knows_that_something_is_wrong() {
    let mut apart = Apart::new(4, false, 8);
    let (honest, rivals) = (apart.honest.clone(), apart.rivals.clone());
    let id = apart.group.group.clone();
    let seen = apart.returns(|carol| {
        carol.takes_all(&rivals);
        carol.waits(6_000);
        assert!(!carol.info(&id).removals.contested, "nothing says so yet");
        carol.takes_all(&honest);
        carol.restarts();
        carol.says(&id, "is anybody here?");
    });
    assert_eq!(seen, (false, true));
}

// shows: D8-9
/// In passes of any length: the same branch, or the knowledge that it may be another one.
#[test]
fn in_any_order_a_member_agrees_or_knows_that_it_may_not() {
    for number in extremes() {
        let mut apart = Apart::new(number, false, 8);
        for seed in 0..4 {
            let mut dice = Dice::new(seed);
            let mut events = [apart.honest.clone(), apart.rivals.clone()].concat();
            dice.shuffles(&mut events);
            let (there, contested) = apart.returns(|carol| {
                for event in &events {
                    carol.takes(event);
                    if dice.below(3) == 0 {
                        carol.waits(3_000);
                    }
                }
            });
            assert!(there || contested, "{number}, seed {seed}");
        }
    }
}

// shows: D8-10
/// The last commit of a seal reaches the others, and they settle it. Alice gets no answer and no echo, but what the removed
/// one has made. She goes there, the others cannot, and she is told so.
#[test]
fn who_goes_where_the_others_cannot_follow_knows_that_it_may_be_alone() {
    let mut group = Betrayed::new(false);
    let id = group.group.clone();
    group.removed(true);
    while group.log.len() < 5 {
        group.alice_works();
    }
    let mut last = std::mem::take(&mut group.made);
    while last.is_empty() {
        last = group.honest[0].waits(2_500).reply;
    }
    for other in &mut group.honest[1..] {
        other.applies(&last[0]);
        other.waits(6_000);
    }
    let rivals = group.revenge(8);
    let told = group.come(&rivals);
    let elsewhere = group.honest[1].ends(&id).authenticator;
    assert_ne!(group.honest[0].ends(&id).authenticator, elsewhere);
    assert_eq!(undone(&told[0], group.him()), [false]);
    let again = group.honest[0].waits(6_000);
    let cannot = |body: &EventBody| matches!(body, EventBody::CannotFollow { .. });
    let apart = again.events.iter().any(|event| cannot(&event.body));
    assert!(apart || told[0].iter().any(cannot));
    // He is out again, and the group is contested still: nobody else was heard.
    for commit in group.made.drain(..).chain(again.reply) {
        group.honest[0].takes(&commit);
    }
    group.honest[0].waits(6_000);
    assert_eq!(group.members(), [3; 3]);
    assert_eq!(group.contested(), [true, false, false]);
}

/// Alice removes mallory, an admin, and renames the group. He has removed her, and has led his branch on by so many commits.
fn struck(more: usize) -> (Betrayed, Vec<Event>) {
    let mut group = Betrayed::new(true);
    let (id, alice) = (group.group.clone(), group.honest[0].key());
    group.removed(false);
    let renamed = group.honest[0].engine.update_group(&id, named("without him")).unwrap();
    group.settles(&renamed);
    let pending = group.kept.engine.remove_members(&id, &[alice]).unwrap();
    group.kept.confirms(&pending);
    let rivals = [vec![pending.event.unwrap()], group.revenge(more)].concat();
    (group, rivals)
}

// shows: D8-8
/// What follows her removal she cannot read, so her own branch seems longer to her. The others have gone over.
#[test]
fn who_is_put_out_on_the_branch_of_the_others_does_not_think_that_all_is_well() {
    let (mut group, rivals) = struck(3);
    let id = group.group.clone();
    let told = group.come(&rivals);
    assert_eq!(undone(&told[1], group.him()), [false]);
    group.honest[0].restarts();
    for _ in 0..10 {
        group.honest[0].waits(60_000);
        let info = group.honest[0].info(&id);
        assert_eq!((info.state, info.removals.contested), (GroupState::Active, true));
    }
    let elsewhere = group.honest[2].ends(&id).authenticator;
    assert_ne!(group.honest[0].ends(&id).authenticator, elsewhere);
    // It is how others hear that she is here.
    group.honest[0].says(&id, "am I alone?");
    assert!(group.honest[0].info(&id).removals.contested);
    group.honest[0].engine.accept_members(&id).unwrap();
    assert!(!group.honest[0].info(&id).removals.contested);
}

// shows: D8-8
/// Nobody has gone over: as soon as somebody else is heard, all is well.
#[test]
fn who_is_put_out_on_a_branch_that_nobody_follows_hears_so() {
    let (mut group, rivals) = struck(0);
    let id = group.group.clone();
    group.come(&rivals);
    assert_eq!(group.contested(), [true, false, false]);
    let said = group.honest[2].says(&id, "we are here");
    group.honest[0].takes(&said);
    group.honest[0].waits(1_000);
    assert_eq!(group.contested(), [false; 3]);
}
