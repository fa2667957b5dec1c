//! What a message of ours counts for when branches are compared, by how far it is.

use mdk_core::{Config, Error, OutboxItem, RelayVerdict};
use mdk_wire::{Event, GroupId};

use super::relays::{parse, refused, sending};
use crate::kit::fork::end;
use crate::kit::{Member, RELAY, chat};

/// Two members commit at once. By rank the first one's commit is the better one, but on the other one's side two speak,
/// and on the first one's only its author.
struct Race {
    better: Member,
    worse: Member,
    /// Follows the worse commit and speaks there.
    dave: Member,
    /// Follows the better commit.
    carol: Member,
    group: GroupId,
    commits: [Event; 2],
    /// What was said on the first side, and on the other.
    sides: [Event; 3],
}

fn race() -> Race {
    race_with(sending("carol"))
}

fn race_with(mut carol: Member) -> Race {
    let [mut alice, mut bob, mut dave] = ["alice", "bob", "dave"].map(Member::new);
    let group = alice.founds("g", &mut [&mut bob, &mut carol, &mut dave]);
    carol.publishes();
    let (mut better, mut worse) = if alice.key() < bob.key() { (alice, bob) } else { (bob, alice) };
    let commits = [&mut better, &mut worse].map(|member| {
        let commit = member.updates(&group, &mut []);
        commit.event.unwrap()
    });
    carol.applies(&commits[0]);
    dave.applies(&commits[1]);
    let sides = [
        better.says(&group, "on the better one's side"),
        worse.says(&group, "on the other one's side"),
        dave.says(&group, "here, too"),
    ];
    Race { better, worse, dave, carol, group, commits, sides }
}

impl Race {
    /// Everybody gets everything that a relay has.
    fn spreads(&mut self, more: &[Event]) {
        let members = [&mut self.better, &mut self.worse, &mut self.dave, &mut self.carol];
        for member in members {
            for event in self.commits.iter().chain(&self.sides).chain(more) {
                let _ = member.takes(event);
            }
            member.engine.tick().unwrap();
        }
    }

    /// Whose commit all of them follow; they agree on everything but what carol alone knows.
    fn followed(&mut self) -> &'static str {
        let group = &self.group;
        let ends = [&mut self.better, &mut self.worse, &mut self.dave, &mut self.carol]
            .map(|member| end(&mut member.engine, group));
        for other in &ends[1..] {
            assert_eq!(other.authenticator, ends[0].authenticator);
        }
        let lost = |text: &str| ends[0].said.contains(&(text.to_owned(), true));
        match (lost("on the better one's side"), lost("here, too")) {
            (true, false) => "worse",
            (false, true) => "better",
            other => panic!("one of the sides has lost: {other:?}"),
        }
    }
}

/// breaks: a message that no relay has, that all have refused, or that one takes before the other side is known or after
/// that has won, or gives out without a word, also when it was taken back meanwhile. (rule: E4-7)
#[test]
fn what_a_relay_has_counts_and_nothing_else() {
    type Deed = fn(&mut Member, &OutboxItem);
    let nothing: Deed = |_, _| ();
    let refuses: Deed = |carol, item| {
        carol.answers(item, RELAY, refused("blocked"));
    };
    let takes: Deed = |carol, item| {
        carol.answers(item, RELAY, RelayVerdict::Accepted);
    };
    let gives: Deed = |carol, item| {
        carol.engine.outbox_echo(&item.event_id, RELAY, |relay| relay == RELAY).unwrap();
    };
    let regrets: Deed = |carol, _| {
        let id = carol.engine.outbox_messages().unwrap().remove(0).id;
        assert!(carol.engine.outbox_cancel(&id).unwrap());
    };
    let cases: [(&str, bool, [Deed; 2], &str); 7] = [
        ("no relay has it", false, [nothing; 2], "worse"),
        ("all have refused it", false, [nothing, refuses], "worse"),
        ("one takes it", false, [nothing, takes], "better"),
        ("one takes it late", true, [nothing, takes], "better"),
        ("one gives it out late", true, [nothing, gives], "better"),
        ("one takes what was taken back", false, [regrets, takes], "better"),
        ("one gives out what was taken back", false, [regrets, gives], "better"),
    ];
    for (case, late, deeds, side) in cases {
        let mut race = race();
        race.carol.says(&race.group, "heard?");
        let item = race.carol.outbox().remove(0);
        if late {
            race.spreads(&[]);
            assert_eq!(race.followed(), "worse", "{case}");
        }
        deeds.iter().for_each(|deed| deed(&mut race.carol, &item));
        let heard = if side == "better" { vec![parse(&item.event)] } else { Vec::new() };
        race.spreads(&heard);
        assert_eq!(race.followed(), side, "{case}");
    }
}

/// breaks: nobody reports of relays, so that no answer ever makes it count. (rule: E4-7)
#[test]
fn without_an_outbox_it_counts_at_once() {
    let mut race = race_with(Member::new("carol"));
    let event = race.carol.says(&race.group, "heard");
    race.spreads(&[event]);
    assert_eq!(race.followed(), "better");
}

/// A race of which carol knows both sides, and a client that can wait speaks for her.
fn patient() -> Race {
    let mut race = race_with(Member::with("carol", Config::default()));
    race.carol.engine.wait_to_speak();
    for event in race.commits.iter().chain(&race.sides) {
        let _ = race.carol.takes(event);
    }
    race
}

fn tries(carol: &mut Member, group: &GroupId) -> Result<(), Error> {
    let message = chat("too early");
    carol.engine.create_message(group, message).map(drop)
}

/// breaks: a message of a client that can wait, while two commits compete. (rule: C3-9)
#[test]
fn while_branches_compete_a_client_waits_to_speak() {
    let mut race = patient();
    let (carol, group) = (&mut race.carol, &race.group);
    let before = carol.digest();
    let heard = carol.engine.messages(group, 10, None, None).unwrap().remove(0).id;
    for wait in [tries(carol, group), carol.engine.react(group, &heard, "+").map(drop)] {
        assert!(matches!(wait, Err(Error::Settling { millis: 1..=1_000 })), "{wait:?}");
    }
    assert!(carol.digest() == before);
    carol.clock.advance_millis(1_000);
    // (the choice is made by the call itself)
    let said = carol.says(group, "at last");
    race.spreads(&[said]);
    assert_eq!(race.followed(), "worse");
    for member in [&mut race.better, &mut race.worse, &mut race.dave, &mut race.carol] {
        let said = end(&mut member.engine, &race.group).said;
        assert!(said.contains(&("at last".to_owned(), false)), "{}: {said:?}", member.name);
    }
    // Another commit, and no other beside it: the loser of before is still known, and holds nobody up.
    race.dave.updates(&race.group, &mut [&mut race.carol]);
    let busy = race.carol.engine.self_update(&race.group);
    assert!(matches!(busy, Err(Error::Settling { .. })), "the pass is open");
    race.carol.says(&race.group, "at once");
}

/// breaks: a choice that is put off for as long as history is fetched. (rule: C3-9)
#[test]
fn a_client_waits_to_speak_no_longer_than_a_choice_takes() {
    let mut race = patient();
    let (carol, group) = (&mut race.carol, &race.group);
    carol.engine.expect_more(None, 20_000).unwrap();
    assert!(matches!(tries(carol, group), Err(Error::Settling { millis: 5_000 })));
    carol.waits(4_999);
    assert!(matches!(tries(carol, group), Err(Error::Settling { millis: 1 })));
    carol.clock.advance_millis(1);
    carol.says(group, "at last");
    // (in a minute once)
    carol.says(group, "and on");
}
