//! A count that rises whenever something has happened: tests wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct Signals {
    connections: AtomicUsize,
    huge: AtomicUsize,
    changes: watch::Sender<u64>,
}

impl Signals {
    pub(crate) fn change(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// One more huge event has gone out.
    pub(crate) fn has_said(&self) {
        self.huge.fetch_add(1, Ordering::SeqCst);
        self.change();
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn huge_events(&self) -> usize {
        self.huge.load(Ordering::SeqCst)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Counts one open WebSocket connection as long as it lives.
pub(crate) struct Counted(Arc<Signals>);

impl Counted {
    pub(crate) fn new(signals: Arc<Signals>) -> Self {
        signals.connections.fetch_add(1, Ordering::SeqCst);
        signals.change();
        Self(signals)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
        self.0.change();
    }
}
