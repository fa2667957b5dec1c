//! `GroupMessage::parse` and `open` on signed events of kind 445; sealing any bytes and opening them again.

use crate::shared::{Members, ZeroRandom, keys};
use mdk_wire::{GroupMessage, NostrGroupId, Secret, group_message, kind};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let key = Secret::new([7; 32]);
    if let Some(members) = Members::parse(data) {
        let event = members
            .unsigned(kind::GROUP_MESSAGE, keys(1).public_key())
            .sign_with(keys(1), &mut ZeroRandom);
        if let Ok(message) = GroupMessage::parse(event) {
            assert!(message.sealed.len() >= 28);
            let _ = message.open(&key);
        }
    }
    let group = NostrGroupId::from_bytes([3; 32]);
    let expiration = (data.len() % 2 == 1).then_some(data.len() as u64);
    let event = group_message::seal(
        data,
        &key,
        &group,
        5,
        expiration,
        &mut crate::shared::CountingRandom::new(data),
    )
    .expect("within the limits");
    let message = GroupMessage::parse(event).expect("own event is valid");
    assert!(message.group == group && message.expiration == expiration);
    assert_eq!(message.open(&key).expect("own key opens").as_slice(), data);
    assert!(message.open(&Secret::new([8; 32])).is_none());
}
