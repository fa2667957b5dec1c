//! What became of what was said, as those were told who said it.

use mdk_core::{Delivery, EngineEvent, EventBody, Message};
use mdk_wire::GroupId;

use super::kit::*;

#[derive(Debug, Default)]
pub struct Tally {
    pub delivered: usize,
    pub failed: usize,
    pub invalidated: usize,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.invalidated += other.invalidated;
    }
}

/// What did not come to everybody.
#[derive(Default)]
pub struct Lost {
    /// Refused by every relay.
    pub failed: Vec<String>,
    /// Said on a branch that lost.
    pub invalidated: Vec<String>,
}

impl Lost {
    pub fn has(&self, text: &String) -> bool {
        self.failed.contains(text) || self.invalidated.contains(text)
    }

    /// Adds what this author lost, who has to have been told so; of what failed, in the words of each relay, which are
    /// `refused`, and no others.
    pub fn add(&mut self, author: &Person, group: &GroupId, refused: &[(String, String)]) {
        let (history, events) = author.with(|engine| {
            let history = engine.messages(group, 100_000, None, None).unwrap();
            (history, engine.events(0, 1_000_000).unwrap())
        });
        for message in history.into_iter().filter(|message| message.is_mine) {
            if message.fate.invalidated {
                assert!(is_told(&events, &message), "nobody told of {}", message.text);
                self.invalidated.push(message.text);
            } else if message.fate.delivery == Delivery::Failed {
                let (delivery, told) = last_told(&events, &message).expect("it is told");
                assert_eq!(delivery, Delivery::Failed, "{}", message.text);
                let kept = author.with(|engine| engine.delivery_errors(&message.id)).unwrap();
                for mut errors in [told, kept] {
                    errors.sort_unstable();
                    let mut refused = refused.to_vec();
                    refused.sort_unstable();
                    assert_eq!(errors, refused, "what relays said against {}", message.text);
                }
                self.failed.push(message.text);
            }
        }
    }
}

/// Whether it is told that another branch won.
fn is_told(events: &[EngineEvent], message: &Message) -> bool {
    events.iter().any(|event| match &event.body {
        EventBody::MessagesInvalidated { message_ids } => message_ids.contains(&message.id),
        _ => false,
    })
}

/// What was told last of its delivery.
fn last_told(
    events: &[EngineEvent],
    message: &Message,
) -> Option<(Delivery, Vec<(String, String)>)> {
    events.iter().rev().find_map(|event| match &event.body {
        EventBody::DeliveryChanged { message_id, delivery, errors } => {
            (*message_id == message.id).then(|| (*delivery, errors.clone()))
        }
        _ => None,
    })
}
