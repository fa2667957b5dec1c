//! Triggers, and what a server makes of them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mdk_wire::push::{EncryptedToken, read_trigger, triggers};
use mdk_wire::{UnsignedEvent, gift_wrap, kind};

use super::*;

const NOW: u64 = 1_700_000_000;

fn tokens(count: usize, server: &Keys) -> Vec<EncryptedToken> {
    let seal = |n| {
        EncryptedToken::seal(&fcm(&format!("{n}")), &server.public_key(), &mut OsRandom).unwrap()
    };
    (0..count).map(seal).collect()
}

// shows: 2.11-6, 2.11-7
#[test]
fn each_batch_is_filled_up_and_comes_from_nobody() {
    let server = keys(5);
    for (count, sizes) in [
        (1, vec![1]),
        (2, vec![2]),
        (3, vec![4]),
        (5, vec![8]),
        (9, vec![16]),
        (16, vec![16]),
        (17, vec![16, 1]),
        (40, vec![16, 16, 8]),
    ] {
        let made =
            triggers(tokens(count, &server), &server.public_key(), NOW, &mut OsRandom).unwrap();
        let mut woken = BTreeSet::new();
        let mut authors = BTreeSet::new();
        let mut found = Vec::new();
        for event in &made {
            assert_eq!(event.tags(), [vec!["p".to_owned(), server.public_key().to_hex()]]);
            assert!(event.to_json().len() < 65_536);
            let opened = gift_wrap::unwrap(event, &server).unwrap();
            assert_eq!(opened.rumor.tags, [vec!["v".to_owned(), "marmot-push-v1".to_owned()]]);
            authors.extend([event.pubkey(), opened.sender]);
            let pieces = read_trigger(&opened.rumor).unwrap();
            found.push(pieces.len());
            let opened = pieces.iter().filter_map(|piece| piece.open(&server).ok());
            woken.extend(opened.map(|token| token.bytes.expose().to_vec()));
        }
        assert_eq!(found, sizes);
        assert_eq!(authors.len(), 2 * made.len(), "a key was used twice");
        assert_eq!(woken, (0..count).map(|n| n.to_string().into_bytes()).collect());
    }
    assert!(triggers(Vec::new(), &server.public_key(), NOW, &mut OsRandom).unwrap().is_empty());
}

// shows: 2.11-8
#[test]
fn a_server_takes_one_to_thirty_two_whole_pieces() {
    let server = keys(5);
    let piece = tokens(1, &server).remove(0);
    let rumor = |content: String| UnsignedEvent {
        pubkey: keys(9).public_key(),
        created_at: NOW,
        kind: kind::PUSH_TRIGGER,
        tags: vec![vec!["v".to_owned(), "marmot-push-v1".to_owned()]],
        content,
    };
    let of = |count: usize| rumor(STANDARD.encode(piece.as_bytes().repeat(count)));
    for count in [1, 16, 28, 29, 32] {
        assert_eq!(read_trigger(&of(count)).unwrap().len(), count);
    }
    for content in ["", "!", &STANDARD.encode(&piece.as_bytes()[1..]), &of(33).content] {
        assert!(read_trigger(&rumor(content.to_owned())).is_err());
    }
    let mut other = of(1);
    other.tags[0][1] = "marmot-push-v2".to_owned();
    assert!(read_trigger(&other).is_err());
    assert!(read_trigger(&UnsignedEvent { kind: 447, ..of(1) }).is_err());
}
