//! The place of a message among its sender's messages, without opening it.

use mdk_store::GroupStatus;
use mdk_wire::{Event, GroupId, GroupMessage};
use openmls::prelude::ProtocolMessage;

use crate::mls::work::Work;
use crate::mls::{decode, sender_position};
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::sending_position::Place;

pub(crate) enum Peeked {
    /// It can be processed now. Its place is given, if it has one.
    Ready(Option<Place>),
    /// A commit or proposal.
    Handshake,
    /// Nothing opens it yet.
    Closed,
}

/// Returns the kind of an event, as the keys of now show it. Changes nothing.
pub(crate) fn peek(work: &mut Work<'_>, event: &Event) -> Result<Peeked> {
    if work.records.tx.seen(event.id().as_bytes())?.is_some() {
        return Ok(Peeked::Ready(None));
    }
    // An event that is refused is refused in any order.
    let Ok(message) = GroupMessage::parse(event.clone()) else {
        return Ok(Peeked::Ready(None));
    };
    for id in work.records.tx.route_claims(&message.group)? {
        let row = work.records.groups().current_row(&id)?;
        let bytes = match work.records.event_keys().open(&row, &message) {
            Ok(Some((bytes, _))) => bytes,
            Ok(None) => continue,
            Err(Halt::Rejected(_)) => return Ok(Peeked::Ready(None)),
            Err(Halt::Failed(error)) => return Err(error),
        };
        if decode::is_handshake(&bytes) {
            return Ok(Peeked::Handshake);
        }
        let Ok(message) = decode::decode(&bytes) else { return Ok(Peeked::Ready(None)) };
        let ours = message.group_id().as_slice() == id.as_bytes();
        let live = !membership::is_out(row.status)
            && !row.status.is_stuck()
            && row.status != GroupStatus::Founding;
        if !ours || !live {
            return Ok(Peeked::Ready(None));
        }
        return Ok(Peeked::Ready(place_of(work, &id, message)));
    }
    Ok(Peeked::Closed)
}

fn place_of(work: &mut Work<'_>, id: &GroupId, message: ProtocolMessage) -> Option<Place> {
    if work.records.memory.rows.get(id).is_none() {
        // A group that does not load shows that when the event is processed.
        let loaded = work.take(id).ok()?;
        work.put(loaded);
    }
    let epoch = message.epoch().as_u64();
    let Work { crypto, loaded, records, .. } = work;
    let mls = loaded.peek_mut(&records.memory.rows, id)?;
    let (leaf, generation) = sender_position::read(crypto, records.tx.mls(), mls, message)?;
    Some(Place { group: id.clone(), leaf, epoch, generation })
}
