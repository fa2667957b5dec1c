//! The task of one relay: dials, serves a connection, waits, and dials again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use mdk_wire::{OsRandom, PublicKey, Random};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::accounts::Accounts;
use super::command::Command;
use super::connections::Home;
use super::meter::Meter;
use super::session::{Apart, Incoming, Session};
use super::socket::Socket;
use super::trouble_log::{Matter, Troubles};
use super::types::Status;
use super::{Arrived, RelayState, RelayStatus, meter};
use crate::client::times::now;
use crate::dial::{DialError, Dialer};
use crate::error::ClientError;
use crate::options::PoolOptions;
use crate::relay_info::InfoCell;

#[cfg(test)]
pub(super) mod tests;

pub(super) struct Worker {
    pub(super) options: Arc<PoolOptions>,
    pub(super) dialer: Dialer,
    pub(super) info: Arc<InfoCell>,
    pub(super) troubles: Arc<Troubles>,
    pub(super) status: Status,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) accounts: Accounts,
    /// Attempts without a connection that lasted.
    pub(super) failures: u32,
    /// Whether the relay sent a challenge on an earlier connection.
    pub(super) challenges: bool,
    /// Whether it once let us wait for one in vain.
    pub(super) lazy: bool,
    /// See [`Handle`](super::registry::Handle).
    pub(super) heard: Arc<AtomicU64>,
    /// Since when there is a connection.
    pub(super) since: Option<Instant>,
    pub(super) meter: Meter,
    pub(super) home: Home,
}

/// How a phase ended.
pub(super) enum End {
    /// Nobody needs the relay any more.
    Over,
    Failed(String),
    Banned,
}

impl Worker {
    /// Dials, serves and waits, beginning with the pause after `first`, until nobody needs the relay any more.
    pub(super) async fn work(&mut self, mut first: Option<End>) {
        loop {
            let end = match first.take() {
                Some(end) => end,
                None => match self.dial().await {
                    Ok(socket) => self.serve(socket).await,
                    Err(end) => end,
                },
            };
            let (reason, state) = match end {
                End::Over if self.home.retire(&self.commands, &self.status) => break,
                End::Over => continue,
                End::Failed(reason) => (reason, RelayState::BackingOff),
                End::Banned => (meter::TOO_MUCH.to_owned(), RelayState::Banned),
            };
            let pause = match state {
                RelayState::Banned => self.options.reconnect_max,
                _ => self.backoff(),
            };
            self.set(|status| {
                status.state = state;
                status.last_error = Some(reason);
                status.next_attempt = Some(SystemTime::now() + pause);
            });
            if !self.pause(Instant::now() + pause, state == RelayState::Banned).await
                && self.home.retire(&self.commands, &self.status)
            {
                break;
            }
        }
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut RelayStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn backoff(&mut self) -> Duration {
        let mut random = [0; 2];
        OsRandom.fill(&mut random);
        let pause = pause_after(self.failures, &self.options, u16::from_be_bytes(random));
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Connects; requests that come meanwhile wait for the outcome, or for their own deadline.
    async fn dial(&mut self) -> Result<(Socket, VecDeque<Command>), End> {
        self.set(|status| {
            status.state = RelayState::Connecting;
            status.next_attempt = None;
        });
        let mut waiting = VecDeque::new();
        let (dialer, url, origin) = (self.dialer.clone(), self.home.url.clone(), self.home.at.1);
        let dialing = dialer.websocket(&url, origin);
        tokio::pin!(dialing);
        let outcome = loop {
            tokio::select! {
                outcome = &mut dialing => break outcome,
                command = self.commands.recv() => match command {
                    None => break Err(DialError::Timeout),
                    Some(Command::Open(account)) => self.accounts.insert(account),
                    Some(Command::Release(key)) => {
                        self.accounts.remove(&key);
                        if self.accounts.is_empty() {
                            return Err(End::Over);
                        }
                    },
                    Some(Command::Wake | Command::Hurry) => {},
                    Some(command) => waiting.push_back(command),
                },
                room = self.accounts.room() => self.accounts.resume(room),
            }
        };
        match outcome {
            Ok((socket, date)) => {
                if let Some(date) = date {
                    self.troubles.clock(date, now());
                }
                Ok((Socket::new(socket), waiting))
            }
            Err(error) => {
                waiting.into_iter().for_each(refuse);
                if self.commands.is_closed() && self.commands.is_empty() {
                    return Err(End::Over);
                }
                tracing::debug!(failures = self.failures, %error, "relay not reached");
                self.troubles.note(Matter::Reach, &error.to_string());
                Err(End::Failed(error.to_string()))
            }
        }
    }

    /// Waits; false when nobody needs the relay any more.
    async fn pause(&mut self, mut until: Instant, banned: bool) -> bool {
        let soonest = Instant::now() + self.options.reconnect_min;
        loop {
            tokio::select! {
                () = sleep_until(until) => {
                    self.accounts.sweep();
                    return !self.accounts.is_empty();
                },
                command = self.commands.recv() => match command {
                    None => return false,
                    Some(Command::Open(account)) => self.accounts.insert(account),
                    Some(Command::Release(key)) => {
                        self.accounts.remove(&key);
                        if self.accounts.is_empty() {
                            return false;
                        }
                    },
                    Some(Command::Wake) if !banned => return true,
                    Some(Command::Hurry) if !banned => until = until.min(soonest),
                    Some(command) => refuse(command),
                },
                room = self.accounts.room() => self.accounts.resume(room),
            }
        }
    }

    /// Serves one connection to its end.
    async fn serve(&mut self, (socket, waiting): (Socket, VecDeque<Command>)) -> End {
        self.since = Some(Instant::now());
        self.set(|status| {
            status.state = RelayState::Connected;
            status.last_error = None;
        });
        tracing::debug!(accounts = self.accounts.keys().len(), "relay connected");
        if !self.info.is_fresh() {
            let (info, troubles) = (self.info.clone(), self.troubles.clone());
            tokio::spawn(async move {
                info.get().await;
                if let Some((theirs, ours)) = info.take_date() {
                    troubles.clock(theirs, ours);
                }
            });
        }
        let troubles = self.troubles.clone();
        let meter = std::mem::take(&mut self.meter);
        let mut session = Session::new(socket, self.home.at.1, troubles, meter, &self.options);
        self.accounts.connected = true;
        let announced = self.info.known().and_then(|info| info.auth_required) == Some(true);
        let wants_auth = !self.lazy && (self.challenges || announced);
        let keys = self.accounts.keys();
        session.greet(&mut self.accounts, keys, wants_auth);
        for command in waiting {
            self.command(&mut session, command, wants_auth);
        }
        let end = self.talk(&mut session, wants_auth).await;
        self.accounts.connected = false;
        self.challenges |= session.challenged;
        self.lazy |= session.waited_in_vain;
        self.has_ended();
        let meter = std::mem::take(&mut session.meter);
        tracing::debug!(
            forged = meter.forged,
            unasked = meter.unasked,
            garbage = meter.garbage,
            over = matches!(end, End::Over),
            "relay disconnected"
        );
        if !matches!(end, End::Banned) {
            self.meter = meter;
        }
        let reason = match &end {
            End::Over => None,
            End::Failed(reason) => Some(reason.clone()),
            End::Banned => Some(meter::TOO_MUCH.to_owned()),
        };
        // One that hangs up after it has done something for us is dialled again, and told of when that fails.
        if let Some(reason) = reason.as_ref().filter(|_| !session.served) {
            self.troubles.note(Matter::Reach, reason);
        }
        let relay = self.accounts.relay();
        self.accounts.deliver_all(&Arrived::Disconnected { relay, reason });
        session.end(matches!(end, End::Over | End::Banned));
        end
    }

    /// It counts as a working relay only after a while, so that one that hangs up at once is not dialled at once.
    pub(super) fn has_ended(&mut self) {
        let enough = self.options.reconnect_min.saturating_mul(10);
        if self.since.take().is_some_and(|since| since.elapsed() >= enough) {
            self.failures = 0;
        }
    }

    async fn talk(&mut self, session: &mut Session, wants_auth: bool) -> End {
        let mut reading = true;
        let mut told = None;
        loop {
            if self.accounts.is_empty() && self.commands.is_empty() {
                return End::Over;
            }
            let may_read = !self.accounts.is_full();
            if may_read && !reading {
                session.resumed();
            }
            reading = may_read;
            let tick = session.next_tick(reading);
            let tick = self.accounts.patience().map_or(tick, |patience| tick.min(patience));
            let result = tokio::select! {
                command = self.commands.recv() => match command {
                    None => return End::Over,
                    Some(command) => {
                        self.command(session, command, wants_auth);
                        Ok(())
                    },
                },
                message = session.socket.step(reading) => match message {
                    Ok(message) => {
                        self.heard.fetch_add(1, Ordering::Relaxed);
                        let before = session.latency;
                        let incoming = Incoming::read(message).await;
                        let info = self.info.known();
                        let result = session.take(incoming, &mut self.accounts, info.as_deref());
                        if session.latency != before {
                            self.set(|status| status.latency = session.latency);
                        }
                        result
                    },
                    Err(reason) => Err(reason),
                },
                room = self.accounts.room() => {
                    self.accounts.resume(room);
                    Ok(())
                },
                () = sleep_until(tick) => {
                    self.accounts.sweep();
                    for key in self.accounts.drop_late(Instant::now()) {
                        session.drop_subscriptions(&key);
                    }
                    session.tick(&mut self.accounts, self.info.known().as_deref(), reading)
                },
            };
            if session.refusal != told {
                told.clone_from(&session.refusal);
                self.set(|status| status.last_error.clone_from(&session.refusal));
            }
            for (key, why, requests) in session.take_leaving() {
                self.let_go(session, &key, why, requests);
            }
            match result {
                Ok(()) => {}
                Err(reason) if reason == meter::TOO_MUCH => return End::Banned,
                Err(reason) => return End::Failed(reason.to_owned()),
            }
        }
    }

    /// Moves an account to another connection.
    fn let_go(
        &mut self,
        session: &mut Session,
        key: &PublicKey,
        why: Apart,
        requests: Vec<Command>,
    ) {
        let Some(account) = self.accounts.get(key).cloned() else { return };
        session.remove(key);
        let (relay, reason) = (self.accounts.relay(), Some(why.reason().to_owned()));
        self.accounts.deliver(key, Arrived::Disconnected { relay, reason });
        self.accounts.remove(key);
        self.home.part(&account, why, requests);
    }

    fn command(&mut self, session: &mut Session, command: Command, wants_auth: bool) {
        let info = self.info.known();
        match command {
            Command::Open(account) => {
                let key = account.public_key;
                session.remove(&key);
                self.accounts.insert(account);
                session.greet(&mut self.accounts, vec![key], wants_auth);
            }
            Command::Release(key) => {
                session.remove(&key);
                self.accounts.remove(&key);
            }
            Command::Publish(publish) => session.publish(publish),
            Command::Wake | Command::Hurry => {}
            Command::Query(query) => session.query(*query, info.as_deref()),
            Command::Reconcile(turn) => session.reconcile(*turn, info.as_deref()),
            Command::Subscribe { account, id, filters, reply } => {
                let alone = self.accounts.is_alone();
                let done = session.subscribe((account, id), filters, info.as_deref(), alone);
                let _ = reply.send(done);
            }
            Command::Unsubscribe { account, id } => {
                session.unsubscribe(account, id);
                session.start_pages(info.as_deref());
            }
        }
    }
}

/// Doubles with each failure; between half and the whole of it, so that clients do not come back all at once.
fn pause_after(failures: u32, options: &PoolOptions, random: u16) -> Duration {
    let doubled = options.reconnect_min.saturating_mul(1 << failures.min(16));
    doubled.min(options.reconnect_max).mul_f64(0.5 + f64::from(random) / 131_072.0)
}

/// Answers a request for which there is no connection.
fn refuse(command: Command) {
    match command {
        Command::Publish(publish) => publish.unreachable("not connected"),
        Command::Query(query) => query.end(ClientError::NotConnected),
        Command::Subscribe { reply, .. } => {
            let _ = reply.send(Err(ClientError::NotConnected));
        }
        Command::Open(_)
        | Command::Release(_)
        | Command::Wake
        | Command::Hurry
        | Command::Reconcile(_)
        | Command::Unsubscribe { .. } => {}
    }
}
