//! Messages of MLS as they come out of their envelopes.

use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{ContentType, MlsMessageIn, ProtocolMessage, WireFormat};

use crate::model::outcome::{RejectCode, Rejection};

/// Whether the framing (RFC 9420, 6: version, then wire format) is a PublicMessage's. It is a hint before decoding.
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

/// Whether the opened bytes are a commit, and the epoch that they claim.
pub(crate) fn claims(bytes: &[u8]) -> (bool, u64) {
    decode(bytes).map_or((false, 0), |message| {
        (message.content_type() == ContentType::Commit, message.epoch().as_u64())
    })
}
