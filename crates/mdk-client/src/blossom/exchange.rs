//! One HTTP/1.1 request on a connection of its own.

use std::future::Future;
use std::sync::atomic::Ordering;

use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use url::{Position, Url};

use super::body;
use super::failure::Failure;
use super::options::BlossomOptions;
use crate::dial::{BoxStream, Dialer};
use crate::relay_pool::Origin;

/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Largest descriptor or explanation that is read.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Most characters of a server's words that are passed on.
const MAX_WORDS: usize = 200;
/// Where servers say what they object to.
const REASON: HeaderName = HeaderName::from_static("x-reason");

/// Fetches a blob.
///
/// # Errors
/// [`Failure`].
pub(super) async fn get(
    dialer: &Dialer,
    url: &Url,
    origin: Origin,
    options: &BlossomOptions,
    sha256: &[u8; 32],
    max_bytes: u64,
) -> Result<Vec<u8>, Failure> {
    let (mut send, connection) = handshake(dialer.connect(url, origin).await?).await?;
    let request = head(Request::get(path(url)), url)
        .body(Empty::<Bytes>::new())
        .map_err(|_| Failure::words_of("not a URL that can be asked for"))?;
    let exchange = async {
        let response = timeout(options.first_byte, send.send_request(request)).await;
        let response = response.map_err(|_| no_answer())?.map_err(|_| broken())?;
        // Only this status has the whole blob; a redirect is not followed.
        if response.status() != 200 {
            return Err(refusal(response, options).await);
        }
        body::blob(response.into_body(), options, sha256, max_bytes).await
    };
    drive(connection, exchange).await
}

/// Uploads a blob, and checks that the server knows it by its hash.
///
/// # Errors
/// [`Failure`].
pub(super) async fn put(
    dialer: &Dialer,
    url: &Url,
    origin: Origin,
    options: &BlossomOptions,
    authorization: String,
    blob: Bytes,
    sha256: &[u8; 32],
) -> Result<(), Failure> {
    let (mut send, connection) = handshake(dialer.connect(url, origin).await?).await?;
    let total = blob.len() as u64;
    let (upload, sent) = body::Upload::new(blob);
    let request = head(Request::put(path(url)), url)
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(HeaderName::from_static("x-sha-256"), hex::encode(sha256))
        .body(upload)
        .map_err(|_| Failure::words_of("not a URL that can be asked for"))?;
    let exchange = async {
        let answer = send.send_request(request);
        tokio::pin!(answer);
        let (mut before, mut waiting) = (0, None);
        // The answer may come before all of the blob has gone: then the server does not want it.
        let response = loop {
            let step = options.stall.min(options.first_byte);
            if let Ok(answer) = timeout(step, &mut answer).await {
                break answer.map_err(|_| broken())?;
            }
            let now = sent.load(Ordering::Relaxed);
            if now == total {
                let since = *waiting.get_or_insert_with(Instant::now);
                if since.elapsed() + step >= options.first_byte {
                    return Err(no_answer());
                }
            } else if now - before < options.least() {
                return Err(Failure::words_of("too slow: given up"));
            }
            before = now;
        };
        if !response.status().is_success() {
            return Err(refusal(response, options).await);
        }
        let descriptor = body::text(response.into_body(), options, MAX_TEXT_BYTES).await?;
        let descriptor: Value = serde_json::from_slice(&descriptor)
            .map_err(|_| Failure::words_of("it did not describe what it stored"))?;
        // A server that changes pictures has changed what nobody can read then.
        match descriptor.get("sha256").and_then(Value::as_str) {
            Some(hash) if hash.eq_ignore_ascii_case(&hex::encode(sha256)) => Ok(()),
            _ => Err(Failure::words_of("it stored something else")),
        }
    };
    drive(connection, exchange).await
}

fn path(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// What every request says, and no more: nothing that tells one account from another.
fn head(builder: Builder, url: &Url) -> Builder {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    builder.header(HOST, host).header(USER_AGENT, "mdk")
}

async fn handshake<B>(
    stream: BoxStream,
) -> Result<(http1::SendRequest<B>, http1::Connection<TokioIo<BoxStream>, B>), Failure>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| broken())
}

/// The connection ends with the exchange: no task is left behind.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        done = &mut exchange => done,
        _ = &mut connection => exchange.await,
    }
}

fn no_answer() -> Failure {
    Failure::words_of("no answer in time")
}

fn broken() -> Failure {
    Failure::words_of("the connection ended without an answer")
}

/// What a server that refuses says: its header, or else the message of its document.
async fn refusal(response: Response<Incoming>, options: &BlossomOptions) -> Failure {
    let status = response.status();
    if status.is_redirection() {
        return Failure::Words(format!("HTTP {}: redirects are not followed", status.as_u16()));
    }
    let header = response.headers().get(REASON).and_then(|reason| reason.to_str().ok());
    let mut said = header.map(str::to_owned).unwrap_or_default();
    if said.is_empty() {
        let document = body::text(response.into_body(), options, MAX_TEXT_BYTES).await;
        let document = document.ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let message = document.as_ref().and_then(|document| document.get("message")?.as_str());
        said = message.or(status.canonical_reason()).unwrap_or_default().to_owned();
    }
    let said: String = said.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    Failure::Words(format!("HTTP {}: {said}", status.as_u16()))
}
