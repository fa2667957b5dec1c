//! Whom a message mentions.

use mdk_core::NewMessage;
use mdk_wire::Keys;

use crate::kit::{chat, pair};

fn tag(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

// rule: 2.4-23
/// A message and its edit have a `p` tag for each account that their text refers to and that has none yet.
#[test]
fn the_accounts_of_a_text_are_tagged() {
    let (mut alice, mut bob, group) = pair();
    let (one, other) = (Keys::generate().public_key(), Keys::generate().public_key());
    let first = bob.utters(&group, "who comes?");
    alice.applies(&first.event);
    let text = format!(
        "@{}, nostr:{} and `{}`",
        one.to_npub(),
        other.to_npub(),
        bob.engine.public_key().to_npub()
    );
    let answer = NewMessage {
        reply_to: Some(first.message.id),
        tags: vec![tag("p", other.to_npub())],
        ..chat(&text)
    };
    let said = alice.sends(&group, answer);
    let answered = first.message.id.to_hex();
    let tags = [
        tag("p", other.to_npub()),
        tag("e", answered.clone()),
        tag("q", answered),
        tag("p", one.to_hex()),
    ];
    assert_eq!(said.message.tags, tags, "the author of what is answered has none");
    bob.applies(&said.event);
    assert_eq!(bob.engine.message(&group, &said.message.id).unwrap().tags, tags);

    let edit = alice.engine.edit(&group, &said.message.id, &other.to_npub()).unwrap();
    let edited = [tag("e", said.message.id.to_hex()), tag("p", other.to_hex())];
    assert_eq!(edit.message.tags, edited);

    let unknown = NewMessage { kind: 4_000, ..chat(&text) };
    assert!(alice.sends(&group, unknown).message.tags.is_empty(), "only chat mentions");
}
