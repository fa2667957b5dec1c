//! Members that act at random while relays reorder, delay and repeat: whatever comes of it, no call fails
//! for a reason of our own.

use mdk_core::{Error, Pending};
use mdk_wire::{Event, GroupId};

use crate::kit::dice::Dice;
use crate::kit::{Member, chat, named};

/// The caller's or the group's fault, never ours.
fn ours<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            Error::NotAdmin
            | Error::CommitPending
            | Error::Contested
            | Error::CommitLost
            | Error::NotMember(_)
            | Error::NotAllowed(_)
            | Error::LastAdmin
            | Error::InvalidInput { .. }
            | Error::MessageNotFound,
        ) => None,
        Err(error) => panic!("{error:?}"),
    }
}

struct Relay {
    dice: Dice,
    events: Vec<Event>,
    /// Per member, what is on its way.
    boxes: Vec<Vec<usize>>,
}

impl Relay {
    fn takes(&mut self, event: Event) {
        self.events.push(event);
        for mailbox in &mut self.boxes {
            mailbox.push(self.events.len() - 1);
        }
    }

    /// Any of the next few, sometimes kept for a second delivery.
    fn hands_out(&mut self, to: usize) -> Option<Event> {
        let mailbox = &mut self.boxes[to];
        if mailbox.is_empty() {
            return None;
        }
        let at = self.dice.below(mailbox.len().min(4));
        let index = if self.dice.below(10) == 0 { mailbox[at] } else { mailbox.remove(at) };
        Some(self.events[index].clone())
    }
}

fn acts(member: &mut Member, group: &GroupId, others: &[mdk_wire::PublicKey], relay: &mut Relay) {
    let pick = others[relay.dice.below(others.len())];
    let commit: Option<Pending> = match relay.dice.below(16) {
        0..=5 => {
            let text = format!("message {}", relay.events.len());
            let message = chat(text);
            if let Some(sent) = ours(member.engine.create_message(group, message)) {
                relay.takes(sent.event);
            }
            None
        }
        6 | 7 => ours(member.engine.self_update(group)),
        8 => {
            let update = named(relay.events.len().to_string());
            ours(member.engine.update_group(group, update))
        }
        9 => ours(member.engine.promote(group, &[pick])),
        10 => ours(member.engine.demote(group, &[pick])),
        11 if relay.dice.below(4) == 0 => ours(member.engine.remove_members(group, &[pick])),
        12 if relay.dice.below(3) == 0 => {
            if let Some(event) = ours(member.engine.leave(group)) {
                relay.takes(event);
            }
            None
        }
        13 => {
            let last = member.engine.messages(group, 1, None, None).unwrap().pop();
            if let Some(sent) = last.and_then(|m| ours(member.engine.react(group, &m.id, "+"))) {
                relay.takes(sent.event);
            }
            None
        }
        _ => {
            let outcome = member.waits(700);
            outcome.reply.into_iter().filter(|e| e.kind() == 445).for_each(|e| relay.takes(e));
            None
        }
    };
    // Most commits are published and confirmed at once, some later, some are given up, published or not.
    if let Some(pending) = commit {
        let event = pending.event.unwrap();
        match relay.dice.below(8) {
            0 => drop(ours(member.engine.discard(pending.id))),
            1 => {
                relay.takes(event);
                ours(member.engine.discard(pending.id));
            }
            2 => relay.takes(event),
            _ => {
                relay.takes(event);
                ours(member.engine.confirm(pending.id));
            }
        }
    } else if relay.dice.below(3) == 0 {
        for pending in member.engine.pending().unwrap().iter().filter(|p| !p.automatic) {
            ours(member.engine.confirm(pending.id));
        }
    }
}

fn run(seed: u64) {
    let mut members =
        [Member::new("alice"), Member::new("bob"), Member::new("carol"), Member::new("dave")];
    let [alice, bob, carol, dave] = &mut members;
    let group = alice.founds("g", &mut [bob, carol, dave]);
    let keys: Vec<_> = members.iter().map(Member::key).collect();
    let mut relay = Relay { dice: Dice(seed), events: Vec::new(), boxes: vec![Vec::new(); 4] };
    for _ in 0..150 {
        let who = relay.dice.below(4);
        if relay.dice.below(3) == 0 {
            acts(&mut members[who], &group, &keys, &mut relay);
        } else if let Some(event) = relay.hands_out(who) {
            // `takes` panics when `process` fails.
            let outcome = members[who].takes(&event);
            outcome.reply.into_iter().filter(|e| e.kind() == 445).for_each(|e| relay.takes(e));
        }
        members[who].engine.members(&group).unwrap();
        members[who].engine.interests().unwrap();
    }
    for (who, member) in members.iter_mut().enumerate() {
        while let Some(event) = relay.hands_out(who) {
            member.takes(&event);
        }
        for pending in member.engine.pending().unwrap() {
            ours(member.engine.confirm(pending.id));
        }
        member.waits(60_000);
        ours(member.engine.create_message(&group, chat("the end")));
        member.engine.events(0, 100_000).unwrap();
        member.engine.groups(None).unwrap();
    }
}

#[test]
fn nothing_fails_for_a_reason_of_ours() {
    for seed in 1..=25 {
        let result = std::panic::catch_unwind(|| run(seed * 7919));
        assert!(result.is_ok(), "seed {seed}");
    }
}
