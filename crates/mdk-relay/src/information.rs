//! HTTP before the WebSocket: the upgrade, and the NIP-11 document.

use mdk_wire::budget::client::{HANDSHAKE, REQUEST_BYTES};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::options::LocalRelayOptions;

const NIP11: &str = "application/nostr+json";

/// The WebSocket, and the `Host` that the client names. `None`: it was no WebSocket, and has been answered.
pub(crate) async fn accept<S>(
    mut stream: S,
    options: &LocalRelayOptions,
) -> Option<(WebSocketStream<S>, String)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (request, rest) = timeout(HANDSHAKE, read_request(&mut stream)).await.ok()??;
    if let Ok(response) = create_response(&request) {
        let mut head = Vec::new();
        write_response(&mut head, &response).ok()?;
        stream.write_all(&head).await.ok()?;
        let limit = options.max_event_bytes.saturating_add(1 << 20);
        let config = WebSocketConfig::default()
            .read_buffer_size(32 * 1024)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let host = request.headers().get("host").and_then(|host| host.to_str().ok());
        let host = host.unwrap_or_default().to_ascii_lowercase();
        let socket =
            WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config)).await;
        return Some((socket, host));
    }
    let accepts =
        request.headers().get_all("accept").iter().filter_map(|value| value.to_str().ok());
    let response = if accepts.into_iter().any(|value| value.contains(NIP11)) {
        let body = document(options).to_string();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {NIP11}\r\nAccess-Control-Allow-Origin: *\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len(),
        )
    } else {
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into()
    };
    stream.write_all(response.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()?;
    None
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(Request, Vec<u8>)> {
    let mut read = Vec::with_capacity(1024);
    while read.len() < REQUEST_BYTES {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        if let Some((size, request)) = Request::try_parse(&read).ok()? {
            let rest = read.split_off(size);
            return Some((request, rest));
        }
    }
    None
}

fn document(options: &LocalRelayOptions) -> Value {
    let mut limits = Map::new();
    if options.announce {
        limits.insert("max_message_length".into(), json!(options.max_event_bytes));
        limits.insert("auth_required".into(), json!(options.require_auth));
        if let Some(limit) = options.page_limit {
            limits.insert("max_limit".into(), json!(limit));
            limits.insert("default_limit".into(), json!(options.default_page()));
        }
    }
    let mut nips = vec![1, 9, 11, 40, 42, 45, 70];
    nips.extend(options.reconciles.then_some(77));
    json!({
        "name": "local relay for tests",
        "supported_nips": nips,
        "software": "mdk",
        "version": env!("CARGO_PKG_VERSION"),
        "limitation": limits,
    })
}
