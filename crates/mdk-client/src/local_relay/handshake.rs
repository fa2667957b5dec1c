//! HTTP before the WebSocket: the upgrade, and the NIP-11 document.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::options::LocalRelayOptions;
use super::slow::Dribble;

const MAX_REQUEST: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
const NIP11: &str = "application/nostr+json";

/// `None`: it was no WebSocket, and has been answered.
pub(super) async fn accept(
    mut stream: Dribble,
    options: &LocalRelayOptions,
) -> Option<WebSocketStream<Dribble>> {
    let (request, rest) = timeout(PATIENCE, read_request(&mut stream)).await.ok()??;
    if let Ok(response) = create_response(&request) {
        let mut head = Vec::new();
        write_response(&mut head, &response).ok()?;
        stream.write_all(&head).await.ok()?;
        let limit = options.max_event_bytes.saturating_add(1 << 20);
        let config = WebSocketConfig::default()
            .read_buffer_size(32 * 1024)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        return Some(
            WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config)).await,
        );
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

async fn read_request(stream: &mut Dribble) -> Option<(Request, Vec<u8>)> {
    let mut read = Vec::with_capacity(1024);
    while read.len() < MAX_REQUEST {
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
            limits.insert("default_limit".into(), json!(limit.min(500)));
        }
    }
    json!({
        "name": "local relay for tests",
        "supported_nips": [1, 9, 11, 40, 42],
        "software": "mdk",
        "version": env!("CARGO_PKG_VERSION"),
        "limitation": limits,
    })
}
