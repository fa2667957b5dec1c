//! The tokens that wake members' phones, and who asked for them.

use mdk_wire::push::{Fingerprint, Platform, TokenKey, TokenRecord};
use mdk_wire::{GroupId, PublicKey};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, U64, guarded_debug};
use crate::{Result, Tx};

/// The last word of a device about one key.
#[derive(Clone, PartialEq, Eq)]
pub struct PushTokenRow {
    /// MLS group id.
    pub group: GroupId,
    /// What it is about.
    pub key: TokenKey,
    /// When the owner signed, in milliseconds since 1970.
    pub owner_ts: u64,
    /// Decides between two entries of one time.
    pub digest: [u8; 32],
    /// When a member last told it to the group, Unix milliseconds.
    pub told_at: u64,
    /// The record; `None` once its owner has removed it.
    pub record: Option<TokenRecord>,
}
guarded_debug!(PushTokenRow { owner_ts, told_at });

impl PushTokenRow {
    /// Of two rows about one key, the greater stamp counts.
    #[must_use]
    pub fn stamp(&self) -> (u64, [u8; 32]) {
        (self.owner_ts, self.digest)
    }
}

/// Who asked for the tokens of a group, and when the answer is due.
#[derive(Clone, PartialEq, Eq)]
pub struct PushRequestRow {
    /// MLS group id.
    pub group: GroupId,
    /// The account that asks; ours, if our request is still to be sent.
    pub requester: PublicKey,
    /// When it asked, Unix milliseconds.
    pub asked_at: u64,
    /// When the answer is due, Unix milliseconds; `None` once it was given.
    pub due_at: Option<u64>,
}
guarded_debug!(PushRequestRow { asked_at, due_at });

fn token_key(c: &mut Columns<'_>) -> Result<TokenKey> {
    Ok(TokenKey {
        member: c.public_key()?,
        leaf: c.u32()?,
        platform: c.variant(Platform::numbered)?,
        server: c.public_key()?,
    })
}

fn token_row(row: &Row<'_>) -> Result<PushTokenRow> {
    let mut c = Columns::new(row, "push_tokens");
    let group = c.group_id()?;
    let key = token_key(&mut c)?;
    let (owner_ts, digest, told_at) = (c.u64()?, c.array()?, c.u64()?);
    let record = c.opt(|c| {
        Ok(TokenRecord {
            key,
            owner_ts,
            fingerprint: Fingerprint(c.array()?),
            signature: c.array()?,
            relay_hint: c.text()?,
            token: c.encrypted_token()?,
        })
    })?;
    Ok(PushTokenRow { group, key, owner_ts, digest, told_at, record })
}

fn request_row(row: &Row<'_>) -> Result<PushRequestRow> {
    let mut c = Columns::new(row, "push_requests");
    Ok(PushRequestRow {
        group: c.group_id()?,
        requester: c.public_key()?,
        asked_at: c.u64()?,
        due_at: c.opt(Columns::u64)?,
    })
}

macro_rules! tokens {
    () => {
        "SELECT group_id, member, leaf, platform, server, owner_ts, digest, told_at, fingerprint, signature, \
         relay_hint, token FROM push_tokens WHERE group_id = ?1"
    };
}

impl Tx<'_> {
    /// All that is known of a group's tokens, by account, leaf, platform and server.
    pub fn push_tokens(&self, group: &GroupId) -> Result<Vec<PushTokenRow>> {
        self.all(tokens!(), [group.as_bytes()], token_row)
    }

    /// What the tokens of a group are about.
    pub fn push_token_keys(&self, group: &GroupId) -> Result<Vec<TokenKey>> {
        self.all(
            "SELECT member, leaf, platform, server FROM push_tokens WHERE group_id = ?1",
            [group.as_bytes()],
            |row| token_key(&mut Columns::new(row, "push_tokens")),
        )
    }

    /// As [`Tx::push_tokens`], of one device.
    pub fn push_tokens_of(
        &self,
        group: &GroupId,
        member: &PublicKey,
        leaf: u32,
    ) -> Result<Vec<PushTokenRow>> {
        self.all(
            concat!(tokens!(), " AND member = ?2 AND leaf = ?3"),
            params![group.as_bytes(), member.as_bytes(), leaf],
            token_row,
        )
    }

    /// Adds a row, or replaces the one with the same key.
    pub fn put_push_token(&self, row: &PushTokenRow) -> Result<()> {
        let record = row.record.as_ref();
        self.exec(
            "INSERT OR REPLACE INTO push_tokens (group_id, member, leaf, platform, server, owner_ts, digest, told_at, \
             fingerprint, signature, relay_hint, token) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                row.group.as_bytes(),
                row.key.member.as_bytes(),
                row.key.leaf,
                row.key.platform as u8,
                row.key.server.as_bytes(),
                U64(row.owner_ts),
                &row.digest[..],
                U64(row.told_at),
                record.map(|record| &record.fingerprint.0[..]),
                record.map(|record| &record.signature[..]),
                record.map(|record| record.relay_hint.as_str()),
                record.map(|record| record.token.as_bytes()),
            ],
        )?;
        Ok(())
    }

    /// Forgets a row, if it is there.
    pub fn drop_push_token(&self, group: &GroupId, key: &TokenKey) -> Result<()> {
        self.exec(
            "DELETE FROM push_tokens WHERE group_id = ?1 AND member = ?2 AND leaf = ?3 AND platform = ?4 AND \
             server = ?5",
            params![
                group.as_bytes(),
                key.member.as_bytes(),
                key.leaf,
                key.platform as u8,
                key.server.as_bytes(),
            ],
        )?;
        Ok(())
    }

    /// Forgets all tokens and requests of a group.
    pub fn drop_push_rows(&self, group: &GroupId) -> Result<()> {
        self.exec("DELETE FROM push_tokens WHERE group_id = ?1", [group.as_bytes()])?;
        self.exec("DELETE FROM push_requests WHERE group_id = ?1", [group.as_bytes()])?;
        Ok(())
    }

    /// The request of an account, also when it was answered.
    pub fn push_request(
        &self,
        group: &GroupId,
        requester: &PublicKey,
    ) -> Result<Option<PushRequestRow>> {
        self.one(
            "SELECT group_id, requester, asked_at, due_at FROM push_requests WHERE group_id = ?1 AND requester = ?2",
            params![group.as_bytes(), requester.as_bytes()],
            request_row,
        )
    }

    /// The requests of all groups that no answer was given to.
    pub fn open_push_requests(&self) -> Result<Vec<PushRequestRow>> {
        self.all(
            "SELECT group_id, requester, asked_at, due_at FROM push_requests WHERE due_at IS NOT NULL",
            [],
            request_row,
        )
    }

    /// Adds a request, or replaces the one of the same account.
    pub fn put_push_request(&self, row: &PushRequestRow) -> Result<()> {
        self.exec(
            "INSERT OR REPLACE INTO push_requests (group_id, requester, asked_at, due_at) VALUES (?1, ?2, ?3, ?4)",
            params![
                row.group.as_bytes(),
                row.requester.as_bytes(),
                U64(row.asked_at),
                row.due_at.map(U64),
            ],
        )?;
        Ok(())
    }

    /// The accounts that have asked for a group's tokens.
    pub fn push_requesters(&self, group: &GroupId) -> Result<Vec<PublicKey>> {
        self.all(
            "SELECT requester FROM push_requests WHERE group_id = ?1",
            [group.as_bytes()],
            |row| Columns::new(row, "push_requests").public_key(),
        )
    }

    /// Forgets the request of an account, if there is one.
    pub fn drop_push_request(&self, group: &GroupId, requester: &PublicKey) -> Result<()> {
        self.exec(
            "DELETE FROM push_requests WHERE group_id = ?1 AND requester = ?2",
            params![group.as_bytes(), requester.as_bytes()],
        )?;
        Ok(())
    }
}
