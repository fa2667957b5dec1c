//! A message is told as it was said, and its edit as an event of its own, in whichever order they come.

use mdk_core::{EngineEvent, EventBody};

use crate::kit::{chat, pair};

/// The texts of what is told, an edit with a mark.
fn told(events: &[EngineEvent]) -> Vec<String> {
    let text = |event: &EngineEvent| match &event.body {
        EventBody::MessageReceived { message } => {
            assert!(!message.fate.edited && message.reactions.is_empty());
            Some(message.text.clone())
        }
        EventBody::MessageEdited { message } => Some(format!("edited: {}", message.text)),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

#[test]
fn an_edit_before_its_message_changes_no_archive() {
    let expected = ["frist", "edited: first"];
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]] {
        let (mut alice, mut bob, group) = pair();
        let message = alice.sends(&group, chat("frist"));
        let id = message.message.id;
        let edit = alice.engine.edit(&group, &id, "first").unwrap();
        let reaction = alice.engine.react(&group, &id, "+").unwrap();
        let sent = [message.event, edit.event, reaction.event];
        let live: Vec<EngineEvent> =
            order.iter().flat_map(|place| bob.applies(&sent[*place]).events).collect();
        assert_eq!(told(&live), expected, "as they came: {order:?}");
        assert_eq!(told(&bob.engine.events(0, 100).unwrap()), expected, "in the log: {order:?}");
    }
}
