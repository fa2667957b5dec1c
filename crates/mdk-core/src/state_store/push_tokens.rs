//! The tokens that wake members' phones: which of two entries counts, how many are kept, and who asked for them.

use mdk_store::{PushRequestRow, PushTokenRow, Tx};
use mdk_wire::budget::member::{MAX_PUSH_TOKENS, PUSH_REQUEST_EVERY};
use mdk_wire::{GroupId, OsRandom, PublicKey, Random as _};

use crate::model::error::Result;

/// Milliseconds that an answer waits at least: somebody else may give it.
const ANSWER_AFTER: u64 = 2_000;
/// Milliseconds that it waits at most beyond that, by chance.
const ANSWER_WITHIN: u64 = 8_000;

/// Tokens and requests of all groups.
#[derive(Clone, Copy)]
pub(crate) struct PushTokens<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) now_millis: u64,
}

impl PushTokens<'_> {
    // rule: 2.11-5 of two entries about one key the one with the greater stamp counts
    // rule: 2.11-10 of one device so many are kept
    /// Keeps an entry that takes the place of another, if `proof` holds. Returns whether the entry is in order; one that
    /// changes nothing is.
    pub(crate) fn keep(&self, new: &PushTokenRow, proof: impl FnOnce() -> bool) -> Result<bool> {
        let known = self.tx.push_tokens_of(&new.group, &new.key.member, new.key.leaf)?;
        let old = known.iter().find(|row| row.key == new.key);
        if let Some(old) = old.filter(|old| old.stamp() >= new.stamp()) {
            // Who tells it again spares others an answer.
            if old.stamp() == new.stamp() && old.record == new.record {
                self.tx.put_push_token(new)?;
            }
            return Ok(true);
        }
        let full = old.is_none() && known.len() >= MAX_PUSH_TOKENS;
        let oldest = known.iter().min_by_key(|row| row.stamp()).filter(|_| full);
        if oldest.is_some_and(|oldest| oldest.stamp() >= new.stamp()) {
            return Ok(true);
        }
        if !proof() {
            return Ok(false);
        }
        if let Some(oldest) = oldest {
            self.tx.drop_push_token(&oldest.group, &oldest.key)?;
        }
        self.tx.put_push_token(new)?;
        Ok(true)
    }

    // rule: 2.11-12 a member is answered once in ten minutes
    /// A member asks for the tokens of all.
    pub(crate) fn asked(&self, group: &GroupId, requester: &PublicKey) -> Result<()> {
        let before = self.tx.push_request(group, requester)?;
        let soon = |row: &PushRequestRow| {
            row.due_at.is_some()
                || self.now_millis < row.asked_at.saturating_add(PUSH_REQUEST_EVERY)
        };
        if before.as_ref().is_some_and(soon) {
            return Ok(());
        }
        self.put_request(group, requester)
    }

    /// We are to ask for the tokens of a group that we have joined.
    pub(crate) fn ask_later(&self, group: &GroupId, me: &PublicKey) -> Result<()> {
        self.put_request(group, me)
    }

    fn put_request(&self, group: &GroupId, requester: &PublicKey) -> Result<()> {
        let mut random = [0; 8];
        OsRandom.fill(&mut random);
        let wait = ANSWER_AFTER + u64::from_be_bytes(random) % ANSWER_WITHIN;
        Ok(self.tx.put_push_request(&PushRequestRow {
            group: group.clone(),
            requester: *requester,
            asked_at: self.now_millis,
            due_at: Some(self.now_millis.saturating_add(wait)),
        })?)
    }
}
