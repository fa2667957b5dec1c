//! A socket that can be made slow.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::rules::Rules;

const PER_BYTE: Duration = Duration::from_millis(50);

/// Writes one byte per 50 ms while the fault is on.
pub(super) struct Throttled {
    stream: TcpStream,
    rules: watch::Receiver<Arc<Rules>>,
    pause: Pin<Box<Sleep>>,
}

impl Throttled {
    pub(super) fn new(stream: TcpStream, rules: watch::Receiver<Arc<Rules>>) -> Self {
        Self { stream, rules, pause: Box::pin(sleep(Duration::ZERO)) }
    }
}

impl AsyncRead for Throttled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Throttled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slow = self.rules.borrow().faults.slow_bytes;
        if !slow {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        ready!(self.pause.as_mut().poll(cx));
        let written =
            ready!(Pin::new(&mut self.stream).poll_write(cx, buf.get(..1).unwrap_or(buf)));
        self.pause.as_mut().reset(Instant::now() + PER_BYTE);
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
