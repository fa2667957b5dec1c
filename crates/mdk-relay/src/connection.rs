//! One connection: what comes is taken, what is said is written.
//!
//! Both run in one task: an EVENT and its OK are done in one go, without waking another thread.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::hub::Hub;
use crate::session::Session;

/// For what is still to be written when the client has ended.
pub(crate) const AFTER_CLOSE: Duration = Duration::from_secs(10);

/// Serves a connection until one side ends it.
pub(crate) async fn serve<S>(socket: WebSocketStream<S>, host: String, hub: &Arc<Hub>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_client, mut from_client) = socket.split();
    let (mut session, mut ear) = Session::new(hub, host);
    let read = async {
        while let Some(Ok(message)) = from_client.next().await {
            let taken = match message {
                Message::Text(text) => session.take(&text),
                Message::Binary(_) => {
                    session.take_bytes();
                    Ok(())
                }
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if taken.is_err() {
                break;
            }
            session.voice().room().await;
        }
        session.voice().end();
        tokio::time::sleep(AFTER_CLOSE).await;
    };
    let write = async {
        let mut gone = false;
        let mut next = ear.hear().await;
        while let Some(text) = next.into_text() {
            // Still heard when it is gone: what it has said before is taken.
            gone = gone || to_client.feed(Message::text(text)).await.is_err();
            next = match ear.hear_now() {
                Some(said) => said,
                None => {
                    gone = gone || to_client.flush().await.is_err();
                    ear.hear().await
                }
            };
        }
        let _ = to_client.close().await;
    };
    tokio::select! {
        biased;
        () = read => {}
        () = write => {}
    }
}
