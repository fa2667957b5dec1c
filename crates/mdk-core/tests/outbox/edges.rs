//! The outbox where things go wrong: full, overtaken, after many restarts with answers in any order.

use std::collections::BTreeMap;

use mdk_core::{CommitEnd, CommitState, Delivery, Error, RelayVerdict, SendState};
use mdk_store::{
    CommitStatus, GroupStatus, OutgoingEnd, OutgoingPurpose, OutgoingRow, StoreError, TargetRow, Tx,
};
use mdk_wire::{EventId, GroupId};

use super::relays::{ONE, OnDisk, TWO, ended, later, parse, refused, relays, sending};
use crate::kit::dice::Dice;
use crate::kit::{Member, RELAY, chat, relayed_by};

fn say(member: &mut Member, group: &GroupId, text: &str) -> Result<EventId, Error> {
    Ok(member.engine.create_message(group, chat(text))?.message.id)
}

/// Does something to the database between two processes.
fn meanwhile(member: OnDisk, work: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>) -> OnDisk {
    let OnDisk { disk, member } = member;
    drop(member);
    disk.store().write(work).unwrap();
    OnDisk::of(disk)
}

fn row(number: u32, finished_at: Option<u64>) -> OutgoingRow {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    OutgoingRow {
        seq: 0,
        event_id: EventId::from_bytes(id),
        purpose: OutgoingPurpose::List,
        group: None,
        message: None,
        recipient: None,
        pending: None,
        created_at: 0,
        attempts: 0,
        end: finished_at.map(|_| OutgoingEnd::Accepted),
        finished_at,
        targets: Vec::<TargetRow>::new(),
        event_json: finished_at.is_none().then(|| "{}".to_owned()),
    }
}

/// breaks: over the bound the user is told, nothing is half done, and the engine's own work goes on. (rule: OB-3)
#[test]
fn a_full_outbox_takes_no_more() {
    let mut alice = OnDisk::new("alice");
    let (mut bob, mut carol) = (Member::new("bob"), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    alice.publishes();
    let now = crate::kit::now();
    let mut alice = meanwhile(alice, |tx| {
        for number in 0..99_990 {
            tx.post(&row(number, (number < 10).then_some(now)))?;
        }
        Ok(())
    });
    // Finished ones make room: two Welcomes, and ten of these.
    for number in 0..20 {
        say(&mut alice.member, &group, &number.to_string()).unwrap();
    }
    let digest = alice.digest();
    let full = |result| matches!(result, Err(Error::OutboxFull { limit: 100_000 }));
    assert!(full(say(&mut alice.member, &group, "too much")));
    let engine = &mut alice.engine;
    assert!(full(engine.self_update(&group).map(|_| EventId::from_bytes([0; 32]))));
    assert!(full(engine.new_key_package(&relays(&[RELAY]), None).map(|event| event.id())));
    let list = parse(&carol.key_package().to_json());
    assert!(full(engine.enqueue(&list, &relays(&[RELAY])).map(|()| list.id())));
    assert_eq!(engine.digest().unwrap(), digest);

    let leave = carol.engine.leave(&group).unwrap();
    alice.applies(&leave);
    let items = alice.engine.outbox(200_000).unwrap();
    assert_eq!(items.len(), 100_001, "the answer to a leave is in it");
    let waiting = alice.engine.outbox_messages().unwrap();
    assert_eq!(waiting.len(), 20);
    assert!(alice.engine.outbox_cancel(&waiting[0].id).unwrap());
    assert!(alice.engine.outbox_cancel(&waiting[1].id).unwrap());
    say(&mut alice.member, &group, "room again").unwrap();
}

/// shows: OB-3: what was finished is forgotten after 30 days.
#[test]
fn finished_rows_are_forgotten() {
    let (mut alice, mut bob) = (sending("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    alice.publishes();
    let id = say(&mut alice, &group, "refused").unwrap();
    let item = alice.outbox().remove(0);
    alice.answers(&item, RELAY, refused("no"));
    for (days, remembered) in [(29, 1), (2, 0)] {
        alice.waits(days * 86_400_000);
        assert_eq!(alice.engine.delivery_errors(&id).unwrap().len(), remembered);
    }
    assert!(matches!(alice.engine.outbox_retry(&id), Err(Error::MessageNotFound)));
    assert_eq!(alice.delivery(&group), Delivery::Failed);
}

/// breaks: a commit that is not pending any more when a relay has it: lost, and the group is free. (rule: OB-9)
#[test]
fn a_commit_that_lost() {
    for case in ["given up", "the group stands elsewhere", "unrecoverable"] {
        let mut alice = OnDisk::new("alice");
        let mut bob = Member::new("bob");
        let group = alice.founds("g", &mut [&mut bob]);
        alice.publishes();
        alice.engine.update_group(&group, relayed_by(relays(&[ONE, TWO]))).unwrap();
        alice.publishes();
        let pending = alice.engine.self_update(&group).unwrap();
        let mut alice = meanwhile(alice, |tx| {
            let mut row = tx.group(&group)?.unwrap();
            match case {
                "given up" => tx.set_commit_status(pending.id, CommitStatus::Discarded)?,
                "unrecoverable" => row.status = GroupStatus::Unrecoverable,
                _ => {
                    let nodes = tx.nodes(&group)?;
                    let other = nodes.iter().find(|node| node.epoch < row.epoch).unwrap();
                    row.authenticator = other.authenticator;
                }
            }
            tx.update_group(&row)
        });
        let item = alice.commit_item();
        assert_eq!(
            ended(alice.answers(&item, ONE, RelayVerdict::Accepted)),
            (true, Some(CommitEnd::Lost)),
            "{case}"
        );
        assert!(alice.outbox().is_empty(), "it is not given to the second relay");
        let state = alice.engine.commit_state(pending.id).unwrap();
        assert_eq!(state, CommitState::Lost);
        assert!(alice.engine.pending().unwrap().is_empty());
        if case == "the group stands elsewhere" {
            say(&mut alice.member, &group, "free").unwrap();
        }
    }
}

/// breaks: a commit was true, and another branch won: who it invited is not invited. (rule: OB-4)
#[test]
fn welcomes_of_a_branch_that_lost_stay_here() {
    let (mut alice, mut bob, mut carol) =
        (sending("alice"), Member::new("bob"), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob]);
    alice.publishes();
    let add = alice.engine.add_members(&group, &[carol.key_package()], false).unwrap();
    alice.commit_arrives();
    assert_eq!(alice.welcomes().len(), 1);
    bob.goes_ahead_of(&mut alice, &group);
    alice.engine.settle().unwrap();
    assert_eq!(alice.info(&group).member_count, 2, "the longer branch won");
    assert!(alice.outbox().is_empty());
    alice.engine.tick().unwrap();
    assert!(alice.outbox().is_empty());
    assert_eq!(alice.engine.commit_state(add.id).unwrap(), CommitState::Lost);
}

/// breaks: rivals waited while a commit was published; one of them wins the moment it is confirmed. (rule: OB-9)
#[test]
fn a_commit_that_loses_as_it_is_confirmed() {
    let (mut alice, mut bob, mut carol) =
        (sending("alice"), Member::new("bob"), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob]);
    alice.publishes();
    let add = alice.engine.add_members(&group, &[carol.key_package()], false).unwrap();
    let item = alice.commit_item();
    bob.goes_ahead_of(&mut alice, &group);
    assert_eq!(
        ended(alice.answers(&item, RELAY, RelayVerdict::Accepted)),
        (true, Some(CommitEnd::Lost))
    );
    assert_eq!(alice.engine.commit_state(add.id).unwrap(), CommitState::Lost);
    assert!(alice.outbox().is_empty(), "nobody is invited");
    let seen = (alice.info(&group).epoch, alice.info(&group).member_count);
    assert_eq!(seen, (bob.info(&group).epoch, 2));
}

/// What the test knows of a message.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    delivery: Delivery,
    states: [SendState; 2],
    taken_back: bool,
}

/// Random answers, restarts, second attempts and changes of mind: what the outbox says is what was said to it.
#[test]
fn any_order_of_answers_and_restarts() {
    for seed in 1..=2 {
        let mut dice = Dice(seed);
        let mut alice = OnDisk::new("alice");
        let mut bob = Member::new("bob");
        let group = alice.founds("g", &mut [&mut bob]);
        alice.engine.update_group(&group, relayed_by(relays(&[ONE, TWO]))).unwrap();
        alice.publishes();
        let mut known: BTreeMap<EventId, Known> = BTreeMap::new();
        let mut told: Vec<(EventId, Delivery)> = Vec::new();
        for step in 0..120 {
            let ids: Vec<EventId> = known.keys().copied().collect();
            match dice.below(8) {
                0 | 1 => {
                    let id = say(&mut alice.member, &group, &format!("{step}")).unwrap();
                    let states = [SendState::Waiting; 2];
                    let delivery = Delivery::Queued;
                    known.insert(id, Known { delivery, states, taken_back: false });
                }
                2..=5 => {
                    let items = alice.outbox();
                    let Some(item) = items.get(dice.below(items.len())) else { continue };
                    let which = dice.below(2);
                    let verdict = match dice.below(3) {
                        0 => RelayVerdict::Accepted,
                        1 => refused("no"),
                        _ => later(9),
                    };
                    let state = match &verdict {
                        RelayVerdict::Accepted => SendState::Accepted,
                        RelayVerdict::Refused { .. } => SendState::Refused,
                        RelayVerdict::Later { .. } => item.results[which].state,
                    };
                    let mdk_core::OutboxPurpose::Message { message_id } = item.purpose else {
                        panic!("only messages")
                    };
                    alice.answers(item, [ONE, TWO][which], verdict);
                    let one = known.get_mut(&message_id).unwrap();
                    if one.states[which] != SendState::Accepted {
                        one.states[which] = state;
                    }
                    let before = one.delivery;
                    if one.states.contains(&SendState::Accepted) {
                        one.delivery = Delivery::Accepted;
                    } else if one.states == [SendState::Refused; 2] {
                        one.delivery = Delivery::Failed;
                    }
                    if one.delivery != before {
                        told.push((message_id, one.delivery));
                    }
                }
                6 if !ids.is_empty() => {
                    let id = ids[dice.below(ids.len())];
                    let one = known.get_mut(&id).unwrap();
                    let open = one.delivery != Delivery::Accepted && !one.taken_back;
                    if dice.below(2) == 0 {
                        let failed = open && one.delivery == Delivery::Failed;
                        assert_eq!(alice.engine.outbox_retry(&id).is_ok(), failed);
                        if failed {
                            one.delivery = Delivery::Queued;
                            one.states = [SendState::Waiting; 2];
                            told.push((id, Delivery::Queued));
                        }
                    } else {
                        assert_eq!(alice.engine.outbox_cancel(&id).unwrap(), open);
                        if open && one.delivery == Delivery::Queued {
                            told.push((id, Delivery::Failed));
                        }
                        if open {
                            one.delivery = Delivery::Failed;
                            one.taken_back = true;
                        }
                    }
                }
                _ => alice = alice.restarted(),
            }
            let waiting = alice.outbox();
            assert!(waiting.windows(2).all(|pair| pair[0].seq < pair[1].seq));
            let open = known
                .values()
                .filter(|one| !one.taken_back && one.states.contains(&SendState::Waiting));
            assert_eq!(waiting.len(), open.count(), "seed {seed}, step {step}");
        }
        for (id, one) in &known {
            let message = alice.engine.message(&group, id).unwrap();
            assert_eq!(
                (message.fate.delivery, message.fate.deleted),
                (one.delivery, one.taken_back)
            );
        }
        let log: Vec<_> = alice.deliveries().into_iter().map(|(id, to, _)| (id, to)).collect();
        assert_eq!(log, told, "seed {seed}");
        let queued = known.values().filter(|one| one.delivery == Delivery::Queued).count();
        assert_eq!(alice.engine.outbox_messages().unwrap().len(), queued);
    }
}
