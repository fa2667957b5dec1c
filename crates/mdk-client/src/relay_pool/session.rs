//! One connection from its handshake to its end: requests, answers, and what the relay may not do.

mod incoming;
mod timing;

pub(super) use self::incoming::Incoming;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mdk_wire::budget::relay::LIVE_IDS;
use mdk_wire::{OsRandom, PublicKey, Random};
use tokio::time::Instant;

use super::accounts::Accounts;
use super::auth::Auth;
use super::command::{Command, Publish, Query};
use super::filters::Filter;
use super::frames;
use super::meter::Meter;
use super::rounds::{NIP, Reconciling, Round};
use super::socket::Socket;
use super::trouble_log::{Matter, Troubles};
use super::{Arrived, Origin, Published};
use crate::error::{ClientError, Result};
use crate::options::PoolOptions;
use crate::relay_info::RelayInfo;

/// Pages that are fetched at the same time on one connection; more wait.
const MAX_PAGES: usize = 8;
/// How long a relay that wants to know us is given before its accounts are told that it is there.
const GREETING: Duration = Duration::from_secs(1);

/// Silence about a request that counts against a relay.
const ANSWER: Duration = Duration::from_secs(3);

/// Subscriptions on a connection of a relay that announces no limit, while several accounts share it.
const SHARED_SUBSCRIPTIONS: usize = 30;

/// Why an account cannot stay on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apart {
    /// The relay knows only one account per connection.
    Own,
    /// No room for its subscriptions.
    Full,
}

impl Apart {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Own => "the relay wants a connection for each account",
            Self::Full => "the relay allows no more subscriptions on this connection",
        }
    }
}

/// An account on its way to another connection, with the requests to be made there.
type Leaving = (PublicKey, Apart, Vec<Command>);

enum Subscription {
    Live {
        account: PublicKey,
        id: u64,
        filters: Vec<Filter>,
        again: bool,
        /// Whether the end of what is stored has come.
        ended: bool,
        seen: Seen,
    },
    Page(Box<Query>),
}

impl Subscription {
    fn account(&self) -> PublicKey {
        match self {
            Self::Live { account, .. } => *account,
            Self::Page(page) => page.account,
        }
    }
}

/// The newest events of a live subscription, by id.
#[derive(Default)]
struct Seen {
    ids: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Seen {
    fn contains(&self, id: &[u8; 32]) -> bool {
        self.ids.contains(id)
    }

    fn add(&mut self, id: [u8; 32]) {
        if self.order.len() == LIVE_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.ids.insert(id);
        self.order.push_back(id);
    }
}

/// A request or an event that a relay has to answer.
enum Asked {
    /// The event of this id.
    Publish(String),
    /// A page or a live subscription, by its id on the wire.
    Subscription(String),
}

/// One connection.
pub(super) struct Session {
    origin: Origin,
    /// Events and bytes.
    max_page: (usize, usize),
    keepalive: Duration,
    write_timeout: Duration,
    pub(super) socket: Socket,
    pub(super) meter: Meter,
    auth: Auth,
    subscriptions: HashMap<String, Subscription>,
    live: HashMap<(PublicKey, u64), String>,
    pages: usize,
    queued: VecDeque<Query>,
    reconciling: Reconciling,
    publishes: HashMap<String, VecDeque<Publish>>,
    next_id: u64,
    heard: Instant,
    ping: Option<(Instant, [u8; 8])>,
    /// Round trip of the last ping.
    pub(super) latency: Option<Duration>,
    /// Whether the relay sent a challenge.
    pub(super) challenged: bool,
    /// Whether it let us wait for one.
    pub(super) waited_in_vain: bool,
    /// What it said when it last refused something for the lack of an authentication that it had, or that it does not
    /// get; until it does something for us.
    pub(super) refusal: Option<String>,
    troubles: Arc<Troubles>,
    /// Whether it has done something for us.
    pub(super) served: bool,
    ungreeted: HashSet<PublicKey>,
    leaving: Vec<Leaving>,
    greeting: Option<Instant>,
    /// Earliest time at which a request may be over.
    next_deadline: Option<Instant>,
    /// The latest requests, and the times at which silence about them counts.
    asked: Vec<(Instant, Asked)>,
}

impl Session {
    pub(super) fn new(
        socket: Socket,
        origin: Origin,
        troubles: Arc<Troubles>,
        meter: Meter,
        options: &PoolOptions,
    ) -> Self {
        let mut session = Self {
            origin,
            max_page: (options.max_page_events, options.max_page_bytes),
            keepalive: options.keepalive,
            write_timeout: options.connect_timeout,
            socket,
            meter,
            auth: Auth::default(),
            subscriptions: HashMap::new(),
            live: HashMap::new(),
            pages: 0,
            queued: VecDeque::new(),
            reconciling: Reconciling::default(),
            publishes: HashMap::new(),
            next_id: 0,
            heard: Instant::now(),
            ping: None,
            latency: None,
            challenged: false,
            waited_in_vain: false,
            refusal: None,
            troubles,
            served: false,
            ungreeted: HashSet::new(),
            leaving: Vec::new(),
            greeting: None,
            next_deadline: None,
            asked: Vec::new(),
        };
        session.send_ping();
        session
    }

    /// Tells the accounts that the relay is there; one that is known to want an authentication first gets it first.
    pub(super) fn greet(
        &mut self,
        accounts: &mut Accounts,
        keys: Vec<PublicKey>,
        wants_auth: bool,
    ) {
        let wants_auth = wants_auth && !self.waited_in_vain;
        let wait = self.origin == Origin::User && (wants_auth || self.auth.has_challenge());
        for key in keys {
            if wait {
                self.ungreeted.insert(key);
                self.greeting = Some(Instant::now() + GREETING);
                self.authenticate(accounts, &key);
            } else {
                accounts.deliver(&key, Arrived::Connected { relay: accounts.relay() });
            }
        }
    }

    fn greeted(&mut self, accounts: &mut Accounts, key: &PublicKey) {
        if self.ungreeted.remove(key) {
            accounts.deliver(key, Arrived::Connected { relay: accounts.relay() });
        }
    }

    /// Accounts that cannot stay.
    pub(super) fn take_leaving(&mut self) -> Vec<Leaving> {
        std::mem::take(&mut self.leaving)
    }

    /// The relay did something for us.
    fn serves(&mut self, matter: Matter) {
        self.refusal = None;
        self.served = true;
        self.troubles.works(Matter::Reach);
        self.troubles.works(matter);
    }

    /// Ends everything of an account.
    pub(super) fn remove(&mut self, key: &PublicKey) {
        self.ungreeted.remove(key);
        let parked = self.auth.remove(key);
        self.refuse_parked(parked);
        self.reconciling.remove(key);
        self.drop_subscriptions(key);
        let (gone, kept): (VecDeque<_>, _) =
            self.queued.drain(..).partition(|query| query.account == *key);
        self.queued = kept;
        gone.into_iter().for_each(|query| query.end(ClientError::NotConnected));
        let pages: Vec<String> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| {
                matches!(subscription, Subscription::Page(page) if page.account == *key)
            })
            .map(|(wire, _)| wire.clone())
            .collect();
        for wire in pages {
            self.end_page(&wire, Some(ClientError::NotConnected));
        }
    }

    /// Ends the live subscriptions of an account.
    pub(super) fn drop_subscriptions(&mut self, key: &PublicKey) {
        let ids: Vec<u64> =
            self.live.keys().filter(|(account, _)| account == key).map(|(_, id)| *id).collect();
        for id in ids {
            self.unsubscribe(*key, id);
        }
    }

    fn wire_id(&mut self, prefix: char) -> String {
        self.next_id += 1;
        format!("{prefix}{}", self.next_id)
    }

    fn due(&mut self, at: Instant) {
        self.next_deadline = earlier(self.next_deadline, Some(at));
    }

    fn send_ping(&mut self) {
        let mut nonce = [0; 8];
        OsRandom.fill(&mut nonce);
        self.ping = Some((Instant::now(), nonce));
        self.socket.ping(nonce);
    }

    /// Remembers that the relay was asked for something, which is over at `deadline` if not before.
    fn ask(&mut self, what: Asked, deadline: Option<Instant>) {
        let at = Instant::now() + ANSWER;
        let at = deadline.map_or(at, |deadline| at.min(deadline));
        self.asked.push((at, what));
        self.due(at);
    }

    pub(super) fn publish(&mut self, publish: Publish) {
        if !self.socket.has_room(publish.frame.len()) {
            return publish.unreachable("too much waits to be sent to this relay");
        }
        self.due(publish.deadline);
        self.ask(Asked::Publish(publish.event_id.clone()), Some(publish.deadline));
        self.socket.send(publish.frame.clone());
        self.publishes.entry(publish.event_id.clone()).or_default().push_back(publish);
    }

    pub(super) fn query(&mut self, query: Query, info: Option<&RelayInfo>) {
        self.due(query.deadline);
        self.queued.push_back(query);
        self.start_pages(info);
    }

    pub(super) fn reconcile(&mut self, turn: Round, info: Option<&RelayInfo>) {
        let offered = info.is_some_and(|info| info.supported_nips.contains(&NIP));
        if let Some(frame) = self.reconciling.take(turn, offered) {
            self.socket.send(frame);
        }
    }

    /// Starts pages as far as our own bound and the relay's `max_subscriptions` go.
    pub(super) fn start_pages(&mut self, info: Option<&RelayInfo>) {
        let allowed = max_subscriptions(info);
        while self.pages < MAX_PAGES
            && self.subscriptions.len() < allowed
            && let Some(mut query) = self.queued.pop_front()
        {
            if query.reply.is_closed() {
                continue;
            }
            query.filter = clamp(query.filter, info, Some(self.max_page.0));
            let wire = self.wire_id('q');
            let frame = frames::request(&wire, std::slice::from_ref(&query.filter));
            if let Err(error) = fits(&frame, info) {
                query.end(error);
                continue;
            }
            self.socket.send(frame);
            self.ask(Asked::Subscription(wire.clone()), Some(query.deadline));
            self.subscriptions.insert(wire, Subscription::Page(Box::new(query)));
            self.pages += 1;
        }
    }

    /// Opens a live subscription. Without room for it, the account moves on, unless it is `alone` already.
    pub(super) fn subscribe(
        &mut self,
        (account, id): (PublicKey, u64),
        filters: Vec<Filter>,
        info: Option<&RelayInfo>,
        alone: bool,
    ) -> Result<()> {
        self.unsubscribe(account, id);
        let allowed = max_subscriptions(info);
        let most =
            if alone { allowed } else { allowed.min(SHARED_SUBSCRIPTIONS.max(announced(info))) };
        // One stays free for pages.
        if self.live.len() + 1 > most.saturating_sub(1).max(1) {
            if !alone {
                self.leaving.push((account, Apart::Full, Vec::new()));
                return Err(ClientError::NotConnected);
            }
            let reason = format!("this relay allows {allowed} subscriptions at a time");
            return Err(ClientError::Refused { reason });
        }
        if let Some(most) = info.and_then(|info| info.max_filters)
            && filters.len() as u64 > most
        {
            let reason = format!("this relay allows {most} filters in a subscription");
            return Err(ClientError::Refused { reason });
        }
        let filters: Vec<_> = filters.into_iter().map(|filter| clamp(filter, info, None)).collect();
        let wire = self.wire_id('s');
        let frame = frames::request(&wire, &filters);
        fits(&frame, info)?;
        if !self.socket.has_room(frame.len()) {
            return Err(ClientError::NotConnected);
        }
        self.socket.send(frame);
        self.ask(Asked::Subscription(wire.clone()), None);
        self.live.insert((account, id), wire.clone());
        let (again, ended, seen) = (false, false, Seen::default());
        let live = Subscription::Live { account, id, filters, again, ended, seen };
        self.subscriptions.insert(wire, live);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, account: PublicKey, id: u64) {
        if let Some(wire) = self.live.remove(&(account, id)) {
            self.subscriptions.remove(&wire);
            self.socket.send(frames::close(&wire));
        }
    }

    /// The end of the connection.
    pub(super) fn end(mut self, goodbye: bool) {
        let parked = self.auth.drain();
        self.refuse_parked(parked);
        for (_, waiting) in self.publishes.drain() {
            waiting.into_iter().for_each(|publish| publish.answer(Published::NoAnswer));
        }
        for (_, subscription) in self.subscriptions.drain() {
            if let Subscription::Page(page) = subscription {
                page.end(ClientError::NotConnected);
            }
        }
        self.queued.drain(..).for_each(|query| query.end(ClientError::NotConnected));
        if goodbye {
            self.socket.finish();
        }
    }
}

/// What the relay announced; 0 when nothing.
fn announced(info: Option<&RelayInfo>) -> usize {
    let most = info.and_then(|info| info.max_subscriptions).unwrap_or_default();
    usize::try_from(most).unwrap_or(usize::MAX)
}

fn max_subscriptions(info: Option<&RelayInfo>) -> usize {
    match announced(info) {
        0 => usize::MAX,
        most => most,
    }
}

/// Whether the relay takes a message of this size.
fn fits(frame: &str, info: Option<&RelayInfo>) -> Result<()> {
    let refused = info.and_then(|info| info.refuses(frame.len(), 0));
    refused.map_or(Ok(()), |reason| Err(ClientError::Refused { reason }))
}

/// Keeps `limit` within what the relay announced, and within `most`.
fn clamp(filter: Filter, info: Option<&RelayInfo>, most: Option<usize>) -> Filter {
    let announced = info.and_then(|info| info.max_limit).filter(|limit| *limit > 0);
    let announced = announced.and_then(|limit| usize::try_from(limit).ok());
    let asked = filter.limit();
    match [asked, announced.filter(|_| most.is_some() || asked.is_some()), most]
        .into_iter()
        .flatten()
        .min()
    {
        Some(limit) => filter.with_limit(limit),
        None => filter,
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
