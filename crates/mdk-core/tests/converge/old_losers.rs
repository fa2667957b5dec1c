//! A branch that lost long ago is still retained, or is not: it decides nothing any more, and what is said there is marked.

use mdk_core::{DeferredReason, EventBody, Verdict};
use mdk_wire::{Event, GroupId};

use crate::kit::acts::{adds, renames};
use crate::kit::fork::Filed;
use crate::kit::{event, folder};

/// Alice and bob are admins; carol and dave are members, whoever else is named too.
fn members(folder: &std::path::Path) -> (Vec<Filed>, GroupId) {
    let named = ["alice", "bob", "carol", "dave"].into_iter().zip(1..);
    let mut all: Vec<Filed> =
        named.map(|(name, number)| Filed::new(folder, name, number)).collect();
    let (first, others) = all.split_at_mut(1);
    let mut others: Vec<_> = others.iter_mut().map(|m| &mut m.member).collect();
    let group = first[0].member.founds("before", &mut others);
    let bob = others[0].key();
    let promoted = first[0].member.engine.promote(&group, &[bob]).unwrap();
    first[0].member.confirms(&promoted);
    others.iter_mut().for_each(|member| drop(member.applies(event(&promoted))));
    all.iter_mut().for_each(|member| drop(member.waits(1_000)));
    (all, group)
}

fn give(all: &mut [Filed], events: &[&Event]) {
    for member in all {
        events.iter().for_each(|event| drop(member.takes(event)));
    }
}

fn quiet(all: &mut [Filed]) {
    all.iter_mut().for_each(|member| drop(member.waits(6_000)));
}

// shows: E4-6
/// Two race, and the loser is retained; two speak in what follows. Epochs later one commits once, to which two answer, and
/// the other twice. Whoever has made two commits by himself no longer has the old loser, nor has erin, who came after that
/// race: all end on the same branch, whatever is between the races.
#[test]
fn an_old_loser_does_not_decide_between_two_others() {
    for peaceful in 0..6 {
        let place = folder();
        let (mut all, group) = members(place.path());
        let old = [renames(&mut all[0], &group, "first"), renames(&mut all[1], &group, "second")];
        give(&mut all, &[event(&old[0]), event(&old[1])]);
        quiet(&mut all);
        let said = [all[2].member.says(&group, "hello"), all[3].member.says(&group, "hi")];
        give(&mut all, &[&said[0], &said[1]]);
        quiet(&mut all);
        let mut erin = Filed::new(place.path(), "erin", 9);
        let added = adds(&mut all[0], &group, &mut erin);
        give(&mut all, &[event(&added)]);
        erin.member.joins(&added.welcomes);
        all.push(erin);
        quiet(&mut all);
        for n in 0..peaceful {
            let commit = renames(&mut all[0], &group, &format!("in peace {n}"));
            give(&mut all, &[event(&commit)]);
            quiet(&mut all);
        }
        let one = renames(&mut all[0], &group, "one");
        let two = [renames(&mut all[1], &group, "two"), renames(&mut all[1], &group, "more")];
        give(&mut all[2..4], &[event(&one)]);
        let said = [all[2].member.says(&group, "on one"), all[3].member.says(&group, "too")];
        let told = [event(&one), event(&two[0]), event(&two[1]), &said[0], &said[1]];
        give(&mut all, &told);
        quiet(&mut all);
        quiet(&mut all);
        let ends: Vec<_> = all.iter_mut().map(|member| member.ends(&group)).collect();
        for (end, member) in ends.iter().zip(&all) {
            let name = &member.member.name;
            assert_eq!(end.authenticator, ends[0].authenticator, "{peaceful} between, {name}");
            // Two voices outweigh a commit more.
            assert_eq!(end.name, "one", "{peaceful} between, {name}");
        }
    }
}

// shows: E5-10
/// Each branch has been heard by two when the choice is made, so a third voice on the loser changes nothing, and no pass is
/// opened for it. It is in everybody's history, marked, whenever it comes, and whoever advances alone after that.
#[test]
fn what_is_said_on_the_loser_after_the_choice_is_marked() {
    for early in [true, false] {
        let place = folder();
        let (mut all, group) = members(place.path());
        let a = renames(&mut all[0], &group, "a");
        let b = renames(&mut all[1], &group, "b");
        all[2].takes(event(&a));
        all[3].takes(event(&b));
        let said: Vec<Event> = all.iter_mut().map(|m| m.member.says(&group, "heard")).collect();
        let late = all[1].member.says(&group, "late, of b's").clone();
        let alike = all[1].member.says(&group, "and again");
        give(&mut all, &[event(&a), event(&b)]);
        said.iter().for_each(|said| give(&mut all, &[said]));
        if early {
            give(&mut all, &[&late, &alike]);
        }
        quiet(&mut all);
        let winner = all[0].member.info(&group).name;
        for (who, member) in all.iter_mut().enumerate() {
            let told = [member.takes(&late), member.takes(&alike)];
            if !early && who != 1 && winner == "a" {
                for told in told {
                    assert_eq!(told.verdict, Verdict::Deferred(DeferredReason::Rival));
                    let lost = |e: &EventBody| matches!(e, EventBody::MessagesInvalidated { message_ids } if message_ids.len() == 1);
                    assert_eq!(told.events.iter().filter(|e| lost(&e.body)).count(), 1);
                }
            }
        }
        // Alice advances until nothing of that race is retained; told again, it is what it was.
        for n in 0..8 {
            let commit = renames(&mut all[0], &group, &format!("{n}"));
            give(&mut all, &[event(&commit)]);
            quiet(&mut all);
        }
        give(&mut all, &[&late, &alike]);
        let lost = winner == "a";
        for member in &mut all {
            let said = member.ends(&group).said;
            for text in ["late, of b's", "and again"] {
                assert!(
                    said.contains(&(text.into(), lost)),
                    "{early} {}: {said:?}",
                    member.member.name
                );
            }
        }
    }
}
