//! What a relay sends, and what comes of it.

use mdk_wire::PublicKey;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::super::accounts::Accounts;
use super::super::auth::{Answer, End, Parked, Verdict};
use super::super::command::Command;
use super::super::frames::{self, Fault, Frame, Offer};
use super::super::trouble_log::Matter;
use super::super::{Arrived, Held, Origin, Published};
use super::{Apart, Session, Subscription, earlier};
use crate::error::ClientError;
use crate::relay_info::RelayInfo;

/// A message, read as far as that needs no session.
pub(in crate::relay_pool) struct Incoming {
    bytes: usize,
    what: What,
}

enum What {
    Frame(Frame),
    Pong(Bytes),
    Ping,
    Binary,
    Nothing,
}

impl Incoming {
    /// Reads a message; a large one on another thread.
    pub(in crate::relay_pool) async fn read(message: Message) -> Self {
        let bytes = message.len();
        let what = match message {
            Message::Text(text) => What::Frame(Frame::read(text).await),
            Message::Pong(nonce) => What::Pong(nonce),
            Message::Ping(_) => What::Ping,
            Message::Binary(_) => What::Binary,
            Message::Close(_) | Message::Frame(_) => What::Nothing,
        };
        Self { bytes, what }
    }
}

impl Session {
    /// Takes one message; `frame` is what its text says.
    ///
    /// # Errors
    /// In our words, when the relay has gone too far.
    pub(in crate::relay_pool) fn take(
        &mut self,
        incoming: Incoming,
        accounts: &mut Accounts,
        info: Option<&RelayInfo>,
    ) -> Result<(), &'static str> {
        self.heard = Instant::now();
        self.meter.weigh(incoming.bytes);
        match incoming.what {
            What::Frame(frame) => self.frame(frame, accounts, info),
            What::Pong(nonce) => match self.ping.take_if(|(_, ours)| nonce[..] == ours[..]) {
                Some((sent, _)) => self.latency = Some(sent.elapsed()),
                None => self.meter.chatter(),
            },
            What::Ping => self.meter.chatter(),
            What::Binary => self.meter.garbage(),
            What::Nothing => {}
        }
        self.meter.check()
    }

    fn frame(&mut self, frame: Frame, accounts: &mut Accounts, info: Option<&RelayInfo>) {
        match frame {
            Frame::Event { subscription, offer } => self.event(&subscription, *offer, accounts),
            Frame::Ok { id, accepted, reason } => self.answered(&id, accepted, reason, accounts),
            Frame::EndOfStored(wire) => match self.subscriptions.get_mut(&wire) {
                Some(Subscription::Live { ended: true, .. }) => self.meter.stray(),
                Some(Subscription::Live { account, id, ended, .. }) => {
                    *ended = true;
                    let (account, subscription) = (*account, *id);
                    self.auth.answered(&account);
                    self.serves(Matter::Read);
                    let relay = accounts.relay();
                    accounts.deliver(&account, Arrived::EndOfStored { relay, subscription });
                }
                Some(Subscription::Page(page)) => {
                    self.auth.answered(&page.account);
                    self.serves(Matter::Read);
                    self.end_page(&wire, None);
                }
                None => self.meter.stray(),
            },
            Frame::Closed { subscription, reason } => {
                self.closed(&subscription, reason, accounts);
            }
            Frame::Challenge(challenge) => self.challenge(challenge, accounts),
            Frame::Reconciled { name, message } => {
                if !self.reconciling.answered(&name, message) {
                    self.meter.stray();
                }
            }
            Frame::Notice => {
                self.reconciling.noticed();
                self.meter.chatter();
            }
            Frame::TooMuch(wire) => {
                if let Some(account) = self.subscriptions.get(&wire).map(Subscription::account) {
                    accounts.lied_to(&account);
                }
                self.meter.garbage();
            }
            Frame::Unknown => self.meter.garbage(),
        }
        self.start_pages(info);
    }

    fn event(&mut self, wire: &str, offer: Offer, accounts: &mut Accounts) {
        match self.subscriptions.get_mut(wire) {
            None => {
                self.meter.stray();
                self.busy();
            }
            Some(Subscription::Live { account, id, filters, seen, .. }) => {
                let (account, subscription) = (*account, *id);
                match offer.accept(filters, |id| seen.contains(id)) {
                    Ok(event) => {
                        seen.add(*event.id().as_bytes());
                        let (relay, held) = (accounts.relay(), Held::default());
                        let arrived = Arrived::Event { relay, subscription, event, held };
                        accounts.deliver(&account, arrived);
                    }
                    Err(fault) => self.not_taken(fault, &account, accounts),
                }
            }
            Some(Subscription::Page(page)) => {
                let account = page.account;
                let filter = std::slice::from_ref(&page.filter);
                let event = match offer.accept(filter, |id| page.seen.contains(id)) {
                    Ok(event) => event,
                    Err(fault) => return self.not_taken(fault, &account, accounts),
                };
                let weight = event.weight();
                let full = page.page.events.len() >= page.filter.limit().unwrap_or(usize::MAX)
                    || page.bytes + weight > self.max_page.1;
                if full || page.reply.is_closed() {
                    return self.end_page(wire, Some(ClientError::NoAnswer));
                }
                page.deadline = (Instant::now() + page.idle).min(page.latest);
                page.bytes += weight;
                page.seen.insert(*event.id().as_bytes());
                page.page.events.push(event);
            }
        }
    }

    /// Counts an event that is not taken against the relay.
    fn not_taken(&mut self, fault: Fault, account: &PublicKey, accounts: &Accounts) {
        if fault != Fault::Repeated {
            accounts.lied_to(account);
        }
        match fault {
            Fault::Unasked => self.meter.unasked(),
            Fault::Repeated => self.meter.stray(),
            Fault::Forged => self.meter.forged(),
        }
    }

    /// The rest of an answer that was given up is still on the line: what was asked for since comes behind it.
    fn busy(&mut self) {
        let now = Instant::now();
        for subscription in self.subscriptions.values_mut() {
            if let Subscription::Page(page) = subscription {
                page.deadline = (now + page.idle).min(page.latest);
            }
        }
    }

    /// Ends a page: complete, or with what there is.
    pub(super) fn end_page(&mut self, wire: &str, error: Option<ClientError>) {
        let Some(Subscription::Page(page)) = self.subscriptions.remove(wire) else { return };
        self.pages -= 1;
        self.socket.send(frames::close(wire));
        match error {
            None => page.complete(),
            Some(error) => page.end(error),
        }
    }

    fn closed(&mut self, wire: &str, reason: String, accounts: &mut Accounts) {
        let (account, again) = match self.subscriptions.get_mut(wire) {
            None => return self.meter.stray(),
            Some(Subscription::Live { account, again, .. }) => (*account, again),
            Some(Subscription::Page(page)) => (page.account, &mut page.again),
        };
        if frames::wants_auth(&reason) && (!*again || self.auth.is_overshadowed(&account)) {
            *again = true;
            self.auth.park(&account, Parked::Subscription(wire.to_owned(), reason));
            return self.authenticate(accounts, &account);
        }
        self.close_subscription(wire, reason, accounts);
    }

    /// Tells it, and remembers that an authentication did not help.
    fn refused(&mut self, matter: Matter, reason: &str) {
        self.troubles.note(matter, reason);
        if frames::wants_auth(reason) {
            self.refusal = Some(reason.to_owned());
        }
    }

    fn close_subscription(&mut self, wire: &str, reason: String, accounts: &mut Accounts) {
        self.refused(Matter::Read, &reason);
        match self.subscriptions.remove(wire) {
            Some(Subscription::Live { account, id, .. }) => {
                self.live.remove(&(account, id));
                let (relay, subscription) = (accounts.relay(), id);
                accounts.deliver(&account, Arrived::Closed { relay, subscription, reason });
            }
            Some(Subscription::Page(page)) => {
                self.pages -= 1;
                page.end(ClientError::Refused { reason });
            }
            None => {}
        }
    }

    fn answered(
        &mut self,
        event_id: &str,
        accepted: bool,
        reason: String,
        accounts: &mut Accounts,
    ) {
        match self.auth.answer(event_id, accepted, &reason) {
            Some(Answer::Final(verdict)) => return self.verdict(verdict, accounts),
            Some(Answer::Outdated(account)) => return self.authenticate(accounts, &account),
            None => {}
        }
        // An answer to an id that nobody waits for says nothing about any other event. There is a relay that refuses with an
        // empty id; that can only mean the one event it was given.
        let nameless = event_id.is_empty() && !accepted && self.publishes.len() == 1;
        let only = self.publishes.keys().next().filter(|_| nameless).cloned();
        let event_id = only.as_deref().unwrap_or(event_id);
        let Some(waiting) = self.publishes.get_mut(event_id) else { return self.meter.stray() };
        let publish = waiting.pop_front();
        if waiting.is_empty() {
            self.publishes.remove(event_id);
        }
        let Some(mut publish) = publish else { return };
        if accepted || reason.starts_with("duplicate:") {
            self.serves(Matter::Write(publish.kind));
            publish.answer(Published::Accepted);
        } else if frames::wants_auth(&reason)
            && !self.auth.asks_nobody()
            && (!publish.again || self.auth.is_overshadowed(&publish.account))
        {
            publish.again = true;
            let account = publish.account;
            self.auth.park(&account, Parked::Publish(publish, reason));
            self.authenticate(accounts, &account);
        } else {
            self.refused(Matter::Write(publish.kind), &reason);
            // One that wants an authentication had it by then, or tells nobody how.
            let had = publish.again || self.auth.never_asks();
            let forever = frames::is_final(&reason) || frames::wants_auth(&reason) && had;
            publish.answer(Published::Refused { reason, forever });
        }
    }

    fn challenge(&mut self, challenge: String, accounts: &mut Accounts) {
        self.challenged = true;
        self.meter.chatter();
        self.auth.challenge(challenge);
        for key in accounts.keys() {
            if self.origin == Origin::User || self.auth.is_wanted(&key) {
                self.authenticate(accounts, &key);
            }
        }
    }

    pub(super) fn authenticate(&mut self, accounts: &mut Accounts, key: &PublicKey) {
        let Some(account) = accounts.get(key) else { return };
        let mask = accounts.mask(key).filter(|_| self.origin == Origin::Peer);
        if let Some(event) = self.auth.sign(account, &accounts.relay(), mask) {
            self.socket.send(frames::authenticate(&event));
        } else if let Some(verdict) = self.auth.give_up(key) {
            self.verdict(verdict, accounts);
        }
        self.next_deadline = earlier(self.next_deadline, self.auth.deadline());
    }

    pub(super) fn verdict(&mut self, verdict: Verdict, accounts: &mut Accounts) {
        if !verdict.accepted
            && !verdict.parked.is_empty()
            && self.auth.is_overshadowed(&verdict.account)
        {
            self.ungreeted.remove(&verdict.account);
            let requests = self.unpark(verdict.parked);
            return self.leaving.push((verdict.account, Apart::Own, requests));
        }
        self.greeted(accounts, &verdict.account);
        if !verdict.accepted {
            return self.refuse_parked_to(verdict.parked, verdict.end, accounts);
        }
        for parked in verdict.parked {
            match parked {
                Parked::Publish(publish, _) => self.publish(publish),
                Parked::Subscription(wire, _) => {
                    let again = match self.subscriptions.get_mut(&wire) {
                        Some(Subscription::Live { filters, ended, .. }) => {
                            *ended = false;
                            frames::request(&wire, filters)
                        }
                        Some(Subscription::Page(page)) => {
                            frames::request(&wire, std::slice::from_ref(&page.filter))
                        }
                        None => continue,
                    };
                    self.socket.send(again);
                }
            }
        }
        if verdict.was_stranger {
            accounts.deliver(&verdict.account, Arrived::Connected { relay: accounts.relay() });
        }
    }

    /// Parked requests, to be made elsewhere as if for the first time.
    fn unpark(&mut self, parked: Vec<Parked>) -> Vec<Command> {
        let mut requests = Vec::new();
        for parked in parked {
            match parked {
                Parked::Publish(mut publish, _) => {
                    publish.again = false;
                    requests.push(Command::Publish(publish));
                }
                Parked::Subscription(wire, _) => {
                    if let Some(Subscription::Page(mut page)) = self.take_page(&wire) {
                        page.again = false;
                        requests.push(Command::Query(page));
                    }
                }
            }
        }
        requests
    }

    /// Takes a page out; live subscriptions stay.
    fn take_page(&mut self, wire: &str) -> Option<Subscription> {
        if !matches!(self.subscriptions.get(wire)?, Subscription::Page(_)) {
            return None;
        }
        self.pages -= 1;
        self.subscriptions.remove(wire)
    }

    fn refuse_parked_to(&mut self, parked: Vec<Parked>, end: End, accounts: &mut Accounts) {
        for parked in parked {
            match parked {
                Parked::Subscription(wire, reason) => {
                    self.close_subscription(&wire, reason, accounts);
                }
                Parked::Publish(publish, reason) => {
                    self.refused(Matter::Write(publish.kind), &reason);
                    let forever = end.is_final(&reason);
                    publish.answer(Published::Refused { reason, forever });
                }
            }
        }
    }

    /// The connection or the account is gone: nothing is decided.
    pub(super) fn refuse_parked(&mut self, parked: Vec<Parked>) {
        for parked in parked {
            if let Parked::Publish(publish, reason) = parked {
                self.refused(Matter::Write(publish.kind), &reason);
                publish.answer(Published::Refused { reason, forever: false });
            }
        }
    }
}
