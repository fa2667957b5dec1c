//! NIP-42 for several accounts on one connection.
//!
//! Accounts authenticate to a relay that their owner named as soon as it sends a challenge. To a relay that somebody else named
//! they do so only when it refuses something for the lack of it, and with a key that was made for that relay: an
//! authentication tells the relay who asks, and whoever names relays for a group could find out so where its members are.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mdk_wire::{Keys, PublicKey, UnsignedEvent};
use tokio::time::Instant;

use super::Account;
use super::command::Publish;

/// Kind of the event of NIP-42.
const KIND: u16 = 22_242;
/// Authentications of one account on one connection.
const MAX_TRIES: u32 = 3;
/// Wait for the answer to an authentication.
const WAIT: Duration = Duration::from_secs(5);
/// Wait for a challenge after a refusal: it comes before, or together with it (NIP-42).
const CHALLENGE_WAIT: Duration = Duration::from_secs(2);
/// How long after the first of such refusals one may still come.
const LATE_CHALLENGE: Duration = Duration::from_secs(5);

/// What waits for an authentication.
pub(super) enum Parked {
    /// With what the relay said.
    Publish(Publish, String),
    /// Wire id of a subscription, with what the relay said.
    Subscription(String, String),
}

#[derive(Default)]
struct One {
    tries: u32,
    pending: bool,
    done: bool,
    parked: Vec<Parked>,
    /// End of the wait for a challenge, or for the answer to an authentication.
    until: Option<Instant>,
}

impl One {
    /// As `until`, or earlier: when something that is parked is over.
    fn deadline(&self) -> Option<Instant> {
        let ends = self.parked.iter().filter_map(|parked| match parked {
            Parked::Publish(publish, _) => Some(publish.deadline),
            Parked::Subscription(..) => None,
        });
        self.until.map(|until| ends.fold(until, Instant::min))
    }
}

/// State of one connection.
#[derive(Default)]
pub(super) struct Auth {
    /// The newest; older ones are void (NIP-42).
    challenge: Option<String>,
    /// Whether a wait for one was in vain, and since when there should be one.
    waited_in_vain: bool,
    missing_since: Option<Instant>,
    accounts: HashMap<PublicKey, One>,
    /// Whose authentication was accepted last.
    last: Option<PublicKey>,
    /// Ids of `AUTH` events that were not answered yet, with the challenge they answer.
    sent: HashMap<String, (PublicKey, String)>,
    /// Accounts that were answered before they had authenticated: the relay may have hidden events from them.
    strangers: HashSet<PublicKey>,
}

/// What comes of an answer to `AUTH`.
pub(super) struct Verdict {
    pub(super) account: PublicKey,
    pub(super) accepted: bool,
    pub(super) parked: Vec<Parked>,
    pub(super) end: End,
    /// Whether it was answered as a stranger before.
    pub(super) was_stranger: bool,
}

/// How the wait for an authentication ended that was not accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing was decided: another time it may be otherwise.
    Open,
    /// No challenge came so far. A relay that sends none has the last word when it says that it lets only some in.
    Unasked,
    /// The relay does not want the account, or does not say how it is to authenticate.
    Unwanted,
}

impl End {
    /// Whether a refusal with these words is no matter of time.
    pub(super) fn is_final(self, reason: &str) -> bool {
        match self {
            Self::Open => false,
            Self::Unasked => reason.starts_with("restricted:"),
            Self::Unwanted => true,
        }
    }
}

/// An answer to `AUTH`.
pub(super) enum Answer {
    /// Refused, and there is a newer challenge than the one it answered.
    Outdated(PublicKey),
    Final(Verdict),
}

impl Auth {
    /// Takes a new challenge. What was sent for the one before may still be accepted.
    pub(super) fn challenge(&mut self, text: String) {
        self.challenge = Some(text);
    }

    /// Whether there is a challenge to answer.
    pub(super) fn has_challenge(&self) -> bool {
        self.challenge.is_some()
    }

    /// Whether the relay was given the time to send one, and did not.
    pub(super) fn asks_nobody(&self) -> bool {
        self.waited_in_vain && self.challenge.is_none()
    }

    /// Whether none will come any more.
    pub(super) fn never_asks(&self) -> bool {
        self.challenge.is_none()
            && self.missing_since.is_some_and(|since| since.elapsed() >= LATE_CHALLENGE)
    }

    /// Whether something of the account waits for it.
    pub(super) fn is_wanted(&self, account: &PublicKey) -> bool {
        self.accounts.get(account).is_some_and(|one| !one.parked.is_empty())
    }

    /// Whether the account is authenticated.
    pub(super) fn is_done(&self, account: &PublicKey) -> bool {
        self.accounts.get(account).is_some_and(|one| one.done)
    }

    /// Whether another account was the last to authenticate on this connection. There are relays that know only the last one,
    /// and others that know only the first.
    pub(super) fn is_overshadowed(&self, account: &PublicKey) -> bool {
        self.last.is_some_and(|last| last != *account)
    }

    /// Remembers that the relay answered the account.
    pub(super) fn answered(&mut self, account: &PublicKey) {
        if !self.is_done(account) {
            self.strangers.insert(*account);
        }
    }

    /// Parks a request until the account has authenticated. An account that has already authenticated does it again: there are
    /// relays that know only the last one of a connection.
    pub(super) fn park(&mut self, account: &PublicKey, parked: Parked) {
        self.missing_since.get_or_insert_with(Instant::now);
        let one = self.accounts.entry(*account).or_default();
        one.done = false;
        one.until.get_or_insert_with(|| Instant::now() + CHALLENGE_WAIT);
        one.parked.push(parked);
    }

    /// The `AUTH` event of an account, when it is of use now.
    /// `mask`: signs instead of the account.
    pub(super) fn sign(
        &mut self,
        account: &Account,
        relay: &str,
        mask: Option<&Keys>,
    ) -> Option<String> {
        let challenge = self.challenge.clone()?;
        let one = self.accounts.entry(account.public_key).or_default();
        if one.pending || one.done || one.tries >= MAX_TRIES {
            return None;
        }
        one.tries += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = UnsignedEvent {
            pubkey: mask.map_or(account.public_key, Keys::public_key),
            created_at: now.as_secs(),
            kind: KIND,
            tags: vec![
                vec!["relay".to_owned(), relay.to_owned()],
                vec!["challenge".to_owned(), challenge.clone()],
            ],
            content: String::new(),
        };
        let event = match mask {
            Some(mask) => event.sign(mask),
            None => (account.sign)(event)?,
        };
        one.pending = true;
        one.until = Some(Instant::now() + WAIT);
        self.sent.insert(event.id().to_hex(), (account.public_key, challenge));
        Some(event.to_json())
    }

    /// Gives up when there is a challenge and the account does not answer it, or has done so too often.
    pub(super) fn give_up(&mut self, account: &PublicKey) -> Option<Verdict> {
        self.challenge.as_ref()?;
        let one = self.accounts.get_mut(account).filter(|one| !one.pending && !one.done)?;
        one.until = None;
        let parked = std::mem::take(&mut one.parked);
        Some(Verdict {
            account: *account,
            accepted: false,
            parked,
            end: End::Open,
            was_stranger: false,
        })
    }

    /// Takes the answer to an event, if it was an `AUTH`.
    pub(super) fn answer(
        &mut self,
        event_id: &str,
        accepted: bool,
        reason: &str,
    ) -> Option<Answer> {
        let (account, challenge) = self.sent.remove(event_id)?;
        let one = self.accounts.entry(account).or_default();
        one.pending = false;
        if !accepted && self.challenge.as_ref() != Some(&challenge) && one.tries < MAX_TRIES {
            return Some(Answer::Outdated(account));
        }
        one.done = accepted;
        if accepted {
            self.last = Some(account);
        }
        one.until = None;
        let parked = std::mem::take(&mut one.parked);
        // (`invalid:` is what it says when our clock is wrong)
        let unwanted = ["restricted:", "blocked:"].iter().any(|word| reason.starts_with(word));
        let end = if !accepted && unwanted { End::Unwanted } else { End::Open };
        let was_stranger = accepted && self.strangers.remove(&account);
        Some(Answer::Final(Verdict { account, accepted, parked, end, was_stranger }))
    }

    /// When the next wait ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.accounts.values().filter_map(One::deadline).min()
    }

    /// What waited too long.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Verdict> {
        let mut over = Vec::new();
        let unasked = if self.never_asks() { End::Unwanted } else { End::Unasked };
        for (account, one) in &mut self.accounts {
            if one.deadline().is_some_and(|at| at <= now) {
                let in_vain = self.challenge.is_none() && one.until.is_some_and(|at| at <= now);
                self.waited_in_vain |= in_vain;
                one.until = None;
                one.pending = false;
                let parked = std::mem::take(&mut one.parked);
                over.push(Verdict {
                    account: *account,
                    accepted: false,
                    parked,
                    end: if in_vain { unasked } else { End::Open },
                    was_stranger: false,
                });
            }
        }
        over
    }

    /// Forgets an account.
    pub(super) fn remove(&mut self, account: &PublicKey) -> Vec<Parked> {
        self.strangers.remove(account);
        self.sent.retain(|_, (of, _)| of != account);
        self.accounts.remove(account).map(|one| one.parked).unwrap_or_default()
    }

    /// Everything that waits, at the end of the connection.
    pub(super) fn drain(&mut self) -> Vec<Parked> {
        self.accounts.drain().flat_map(|(_, one)| one.parked).collect()
    }
}
