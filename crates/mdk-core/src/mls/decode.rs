//! Messages of MLS as they come out of their envelopes.

use mdk_store::{GroupRow, InputClass, InputRow, InputState};
use mdk_wire::{ContentId, Event, EventId};
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{ContentType, MlsMessageIn, ProtocolMessage, WireFormat};
use zeroize::Zeroizing;

use crate::model::outcome::{RejectCode, Rejection};
use crate::model::state_id::Auth;

/// Whether the framing (RFC 9420, 6: version, then wire format) is that of a PublicMessage. A hint before decoding.
pub(crate) fn is_handshake(bytes: &[u8]) -> bool {
    const PUBLIC_MESSAGE: [u8; 2] = [0, 1];
    bytes.get(2..4) == Some(&PUBLIC_MESSAGE)
}

/// Exactly one MLSMessage: a PublicMessage handshake or a PrivateMessage application message.
pub(crate) fn decode(bytes: &[u8]) -> Result<ProtocolMessage, Rejection> {
    // rule: D1-7 one MLSMessage of this group: a handshake in the open or content in private
    let invalid = |reason| Rejection::new(RejectCode::InvalidEncoding, "D1-7", reason);
    let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes)
        .map_err(|_| invalid("not exactly one MLSMessage"))?
        .try_into_protocol_message()
        .map_err(|_| invalid("neither a PublicMessage nor a PrivateMessage"))?;
    match (message.wire_format(), message.content_type()) {
        (WireFormat::PrivateMessage, ContentType::Application)
        | (WireFormat::PublicMessage, ContentType::Proposal | ContentType::Commit) => Ok(message),
        _ => Err(invalid("handshakes travel as PublicMessage, content as PrivateMessage")),
    }
}

/// What a known key opened: a kind-445 event just now, or an input that has waited since.
pub(crate) struct Opened {
    pub(crate) row: GroupRow,
    /// The event, when it is at hand.
    pub(crate) event: Option<Event>,
    pub(crate) event_id: EventId,
    /// When it says that it was made, Unix seconds.
    pub(crate) sent_at: u64,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) content_id: ContentId,
    /// The state whose key opened it: most likely the one it was made in.
    pub(crate) opener: Auth,
}

impl Opened {
    pub(crate) fn from_input(row: GroupRow, input: &InputRow, opener: Auth) -> Self {
        Self {
            row,
            event: None,
            event_id: input.event_id,
            sent_at: input.received_at,
            bytes: Zeroizing::new(input.bytes.clone()),
            content_id: input.content_id,
            opener,
        }
    }

    /// As an input that waits.
    pub(crate) fn input(&self, class: InputClass, epoch: u64, now: u64) -> InputRow {
        InputRow {
            group: self.row.id.clone(),
            content_id: self.content_id,
            class,
            epoch,
            bytes: self.bytes.to_vec(),
            state: InputState::Waiting,
            sender: None,
            parent_auth: None,
            event_id: self.event_id,
            received_at: now,
            due_at: None,
        }
    }
}
