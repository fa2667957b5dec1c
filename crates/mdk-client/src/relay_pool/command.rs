//! What the pool asks of a connection.

use mdk_wire::PublicKey;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::filters::Filter;
use super::rounds::Round;
use super::{Account, Page, Published};
use crate::error::{ClientError, Result};

pub(super) enum Command {
    Open(Account),
    Release(PublicKey),
    Publish(Publish),
    Query(Box<Query>),
    Reconcile(Box<Round>),
    Subscribe {
        account: PublicKey,
        id: u64,
        filters: Vec<Filter>,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Ends a pause.
    Wake,
    /// Ends a pause as soon as the shortest one is over.
    Hurry,
    Unsubscribe {
        account: PublicKey,
        id: u64,
    },
}

/// An event on its way.
pub(super) struct Publish {
    pub(super) account: PublicKey,
    pub(super) event_id: String,
    pub(super) kind: u16,
    /// The whole `EVENT` message.
    pub(super) frame: String,
    pub(super) deadline: Instant,
    /// Sent a second time, after an authentication.
    pub(super) again: bool,
    pub(super) reply: oneshot::Sender<Published>,
}

impl Publish {
    pub(super) fn answer(self, answer: Published) {
        let _ = self.reply.send(answer);
    }

    pub(super) fn unreachable(self, reason: &str) {
        self.answer(Published::Unreachable { reason: reason.to_owned() });
    }
}

/// A page that is being fetched.
pub(super) struct Query {
    pub(super) account: PublicKey,
    pub(super) filter: Filter,
    pub(super) deadline: Instant,
    /// How long the next event may take, and when all of them must be there.
    pub(super) idle: Duration,
    pub(super) latest: Instant,
    pub(super) again: bool,
    pub(super) page: Page,
    pub(super) bytes: usize,
    pub(super) seen: std::collections::HashSet<[u8; 32]>,
    pub(super) reply: oneshot::Sender<Result<Page>>,
}

impl Query {
    /// Ends it: what has come is given, the error only when nothing has.
    pub(super) fn end(self, error: ClientError) {
        let nothing = self.page.events.is_empty();
        let _ = self.reply.send(if nothing { Err(error) } else { Ok(self.page) });
    }

    pub(super) fn complete(mut self) {
        self.page.complete = true;
        let _ = self.reply.send(Ok(self.page));
    }
}
