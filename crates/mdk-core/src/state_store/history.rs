//! The user's view: groups, members, messages with their edits and reactions, invites.

use mdk_store::{GroupRow, MessageRow, MessageStatus, Tx};
use mdk_wire::budget::group::MAX_SHOWN_REACTIONS;
use mdk_wire::{EventId, GroupId, PublicKey, kind};

use crate::fork_choice::sealing;
use crate::media::attachments;
use crate::model::error::{Error, Result};
use crate::model::membership::state;
use crate::model::message_kinds::{can_be_edited, reply_target};
use crate::model::values::{
    Delivery, GroupInfo, GroupProfile, GroupState, Invite, Message, MessageFate, MessageTimes,
    Reaction, RemovalsHold,
};
use crate::state_store::groups::Groups;
use crate::state_store::others_on_another_branch::is_led_on;

/// The group as its user sees it.
pub(crate) fn info(groups: Groups<'_>, me: PublicKey, id: &GroupId) -> Result<GroupInfo> {
    group_info(groups.tx, me, &groups.listed(id)?)
}

pub(crate) fn group_info(tx: &Tx<'_>, me: PublicKey, row: &GroupRow) -> Result<GroupInfo> {
    let removals = tx.removals(&row.id)?;
    let last_message = tx.last_message(&row.id)?.map(|m| glance(tx, m)).transpose()?;
    Ok(GroupInfo {
        id: row.id.clone(),
        nostr_group_id: row.nostr_group_id,
        profile: GroupProfile {
            name: row.name.clone(),
            description: row.description.clone(),
            has_image: row.has_image,
        },
        relays: row.relays.clone(),
        admins: row.admins.clone(),
        member_count: row.members.len(),
        epoch: row.epoch,
        state: state(row.status).unwrap_or(GroupState::Pending),
        retention: (row.retention != 0).then_some(row.retention),
        removals: RemovalsHold {
            sealing: sealing::sealing(&removals, row.epoch),
            contested: sealing::contested(&removals) || is_led_on(tx, me, row)?,
        },
        unread_count: tx.unread(&row.id, row.last_read)?,
        last_message: last_message.map(Box::new),
    })
}

/// The invite that a group row in status `Invited` stands for.
pub(crate) fn invite(row: &GroupRow) -> Option<Invite> {
    Some(Invite {
        id: row.welcome?,
        group_id: row.id.clone(),
        group_name: row.name.clone(),
        description: row.description.clone(),
        inviter: row.welcomer?,
        member_count: row.members.len(),
        admins: row.admins.clone(),
        relays: row.relays.clone(),
        received_at: row.created_at,
    })
}

/// A message as a list of groups shows it: without its reactions, of which anybody may make any number.
fn glance(tx: &Tx<'_>, row: MessageRow) -> Result<Message> {
    let edit = edit_of(tx, &row)?.map(|edit| edit.content);
    Ok(view_with(row, edit, Vec::new()))
}

/// A message with its edits and reactions applied. It reads only those that it shows.
pub(crate) fn view(tx: &Tx<'_>, row: MessageRow) -> Result<Message> {
    if row.status == MessageStatus::Deleted || !tx.is_pointed_at(&row.group, &row.id)? {
        return Ok(view_with(row, None, Vec::new()));
    }
    let edit = edit_of(tx, &row)?.map(|edit| edit.content);
    let reactions = tx.reactions(&row.group, &row.id, None, MAX_SHOWN_REACTIONS)?;
    let reactions = reactions.into_iter().map(|reaction| Reaction {
        message_id: row.id,
        sender: reaction.sender,
        emoji: reaction.emoji,
    });
    let reactions = reactions.collect();
    Ok(view_with(row, edit, reactions))
}

/// A message as it was said: edits and reactions are events of their own.
pub(crate) fn as_said(row: MessageRow) -> Message {
    view_with(row, None, Vec::new())
}

// rule: 2.4-9 (an edit counts for its author's message only, the newest created_at wins)
/// The edit whose text a message has.
pub(crate) fn edit_of(tx: &Tx<'_>, row: &MessageRow) -> Result<Option<MessageRow>> {
    if row.status == MessageStatus::Deleted || !can_be_edited(row.kind) {
        return Ok(None);
    }
    Ok(tx.newest_edit(&row.group, &row.id, &row.sender)?)
}

/// As [`view`], when the edit and the reactions of the message are known.
pub(crate) fn view_with(
    row: MessageRow,
    edit: Option<String>,
    reactions: Vec<Reaction>,
) -> Message {
    let edited = edit.is_some();
    let reply_to = (row.kind == kind::CHAT).then(|| reply_target(&row.tags)).flatten();
    let attachments = attachments::attachments(row.kind, &row.tags);
    Message {
        id: row.id,
        group_id: row.group,
        sender: row.sender,
        kind: row.kind,
        text: edit.unwrap_or(row.content),
        times: MessageTimes {
            created_at: row.created_at,
            received_at: row.received_at,
            epoch: row.epoch,
        },
        reply_to,
        attachments,
        reactions,
        fate: MessageFate {
            edited,
            deleted: row.status == MessageStatus::Deleted,
            invalidated: row.status == MessageStatus::Invalidated,
            delivery: delivery(row.delivery),
        },
        is_mine: row.mine,
        tags: row.tags,
    }
}

/// The delivery of a message, as it is stored.
pub(crate) fn delivery(number: u8) -> Delivery {
    match number {
        1 => Delivery::Accepted,
        2 => Delivery::Failed,
        _ => Delivery::Queued,
    }
}

/// The number that [`delivery`] reads.
pub(crate) fn delivery_number(delivery: Delivery) -> u8 {
    match delivery {
        Delivery::Queued => 0,
        Delivery::Accepted => 1,
        Delivery::Failed => 2,
    }
}

/// A page of history in the order of arrival, ascending.
pub(crate) fn page(
    tx: &Tx<'_>,
    group: &GroupId,
    limit: u32,
    before: Option<&EventId>,
    after: Option<&EventId>,
) -> Result<Vec<Message>> {
    let position = |id: Option<&EventId>| -> Result<Option<i64>> {
        id.map(|id| Ok(tx.message(group, id)?.ok_or(Error::MessageNotFound)?.seq)).transpose()
    };
    let rows = tx.page(group, limit, position(before)?, position(after)?)?;
    rows.into_iter().map(|row| view(tx, row)).collect()
}
