//! Files that members send each other in tests.

use mdk_core::{Attachment, Message, NewMessage, Outgoing};
use mdk_wire::GroupId;

use super::Member;
use crate::kit::chat;

/// A file as it was sent, and what lies on the server.
pub struct Sent {
    pub outgoing: Outgoing,
    pub attachment: Attachment,
    pub blob: Vec<u8>,
}

/// Notes where the ciphertext lies, as an upload does.
pub fn stored(mut attachment: Attachment) -> Attachment {
    let address = format!("https://media.example/{}", hex::encode(attachment.ciphertext_sha256));
    attachment.locators.push(("blossom-v1".into(), address));
    attachment
}

pub fn carrying(text: &str, attachments: Vec<Attachment>) -> NewMessage {
    NewMessage { attachments, ..chat(text) }
}

pub fn sends(member: &mut Member, group: &GroupId, data: &[u8], name: &str) -> Sent {
    let encrypted = member.engine.encrypt_media(group, data, name, None).unwrap();
    let attachment = stored(encrypted.attachment);
    let message = carrying("look", vec![attachment.clone()]);
    let outgoing = member.engine.create_message(group, message).unwrap();
    Sent { outgoing, attachment, blob: encrypted.data }
}

/// What a member sees: the newest message.
pub fn newest(member: &mut Member, group: &GroupId) -> Message {
    member.engine.messages(group, 1, None, None).unwrap().pop().unwrap()
}

/// What the attachment of a message opens to, by what the member itself knows of it.
pub fn opens(member: &mut Member, group: &GroupId, sent: &Sent) -> mdk_core::Result<Vec<u8>> {
    let message = member.engine.message(group, &sent.outgoing.message.id).unwrap();
    member.engine.decrypt_media(group, &message.attachments[0], &sent.blob)
}
