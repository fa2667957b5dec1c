//! Bodies: what is sent, counted as it goes, and what is read, within a bound of size and of patience.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::options::BlossomOptions;

/// What is handed to the connection at once: the count is as exact as this.
const CHUNK: usize = 64 * 1024;
/// Room that is made before anything has come: a server may announce what it does not send.
const FIRST_ROOM: u64 = 256 * 1024;

/// A blob on its way up.
pub(super) struct Upload {
    left: Bytes,
    sent: Arc<AtomicU64>,
}

impl Upload {
    /// The body, and the count of the bytes that have gone.
    pub(super) fn new(blob: Bytes) -> (Self, Arc<AtomicU64>) {
        let sent = Arc::new(AtomicU64::new(0));
        (Self { left: blob, sent: sent.clone() }, sent)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.left.len().min(CHUNK);
        let chunk = self.left.split_to(size);
        self.sent.fetch_add(size as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// Reads a body that is to have this hash.
///
/// # Errors
/// [`Failure::TooLarge`] as soon as more than `max_bytes` are announced or have come, [`Failure::Corrupt`], or words for a
/// connection that stalls or ends early.
pub(super) async fn blob(
    body: Incoming,
    options: &BlossomOptions,
    sha256: &[u8; 32],
    max_bytes: u64,
) -> Result<Vec<u8>, Failure> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|size| size > max_bytes) {
        return Err(Failure::TooLarge);
    }
    let room = announced.unwrap_or(0).min(FIRST_ROOM) as usize;
    let (mut data, mut hash) = (Vec::with_capacity(room), Sha256::new());
    let mut reader = Reader::new(body, options);
    while let Some(chunk) = reader.next().await? {
        if (data.len() + chunk.len()) as u64 > max_bytes {
            return Err(Failure::TooLarge);
        }
        hash.update(&chunk);
        data.extend_from_slice(&chunk);
    }
    if hash.finalize().as_slice() != sha256 {
        return Err(Failure::Corrupt);
    }
    Ok(data)
}

/// Reads a short text: all of it, or its first `max_bytes`.
///
/// # Errors
/// As [`blob`], for a connection.
pub(super) async fn text(
    body: Incoming,
    options: &BlossomOptions,
    max_bytes: usize,
) -> Result<Vec<u8>, Failure> {
    let (mut data, mut reader) = (Vec::new(), Reader::new(body, options));
    // A text has one time for all of it.
    reader.least = u64::MAX;
    while let Some(chunk) = reader.next().await? {
        let left = max_bytes - data.len();
        data.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if data.len() == max_bytes {
            break;
        }
    }
    Ok(data)
}

/// Reads chunks, and gives up when too little comes.
struct Reader<'o> {
    body: Incoming,
    options: &'o BlossomOptions,
    end: Instant,
    /// Bytes since the time that is measured began, and how many there must be at its end.
    seen: u64,
    least: u64,
}

impl<'o> Reader<'o> {
    fn new(body: Incoming, options: &'o BlossomOptions) -> Self {
        let end = Instant::now() + options.stall;
        Self { body, options, end, seen: 0, least: options.least() }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match timeout_at(self.end, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Failure::words_of("the connection ended early")),
                Ok(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.seen += chunk.len() as u64;
                        return Ok(Some(chunk));
                    }
                }
                Err(_) if self.seen < self.least => {
                    return Err(Failure::words_of("too slow: given up"));
                }
                Err(_) => {
                    self.seen = 0;
                    self.end = Instant::now() + self.options.stall;
                }
            }
        }
    }
}
