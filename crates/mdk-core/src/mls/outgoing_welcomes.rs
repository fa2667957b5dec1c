//! Gift wraps of Welcomes: made once, and made again byte for byte.
//!
//! The wraps of one commit repeat its Welcome for every invitee, encrypted twice. Instead, two things are stored: the
//! Welcome, once, and per invitee the seed of all randomness in the wrap.

use mdk_store::{PendingRow, Tx, WelcomeRow};
use mdk_wire::{
    Event, EventId, KeyPackageRef, Keys, OsRandom, PublicKey, Random, SecretVec, gift_wrap, welcome,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::mls::identity::Identity;
use crate::mls::key_packages::check::ValidKeyPackage;
use crate::mls::{event_size, parallel};
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::state_store::records::Records;

/// The time for which the Welcomes of a confirmed commit are handed out again after a restart, in seconds. The engine
/// is not told that one was sent, and sending one twice does no harm.
pub(crate) const RESEND_FOR: u64 = 3 * 86_400;

/// All that a wrap is made from, beside the commit's Welcome and relays.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Recipe {
    seed: [u8; 32],
    reference: [u8; 32],
    key_package_event: [u8; 32],
    created_at: u64,
}

struct Seeded(ChaCha20Rng);

impl Random for Seeded {
    fn fill(&mut self, buf: &mut [u8]) {
        self.0.fill_bytes(buf);
    }
}

impl Recipe {
    /// The wrap, with only the invitee's own entry of `secrets` (RFC 9420, 12.4.3.1).
    fn wrap(
        &self,
        mls_welcome: &[u8],
        sender: &Keys,
        recipient: &PublicKey,
        relays: &[String],
    ) -> Result<Event> {
        let reference = KeyPackageRef::from_bytes(self.reference);
        let own = welcome::for_recipient(mls_welcome, &reference)
            .map_err(Error::bug("splitting a Welcome"))?;
        let package = EventId::from_bytes(self.key_package_event);
        let rumor = welcome::rumor(sender.public_key(), &own, &package, relays, self.created_at)
            .map_err(Error::bug("building a Welcome rumor"))?;
        let mut random = Seeded(ChaCha20Rng::from_seed(self.seed));
        gift_wrap::wrap(rumor, sender, recipient, self.created_at, &mut random)
            .map_err(Error::bug("wrapping a Welcome"))
    }
}

/// Makes and stores the wraps for a commit's invitees.
///
/// # Errors
/// `GroupTooLarge` when one is over `Config::max_event_bytes`, or over the limit of its recipient's relays.
pub(crate) fn wrap_welcomes(
    tx: &Tx<'_>,
    call: Call<'_>,
    identity: &Identity,
    pending: i64,
    mls_welcome: &[u8],
    invitees: &[ValidKeyPackage],
    relays: &[String],
) -> Result<Vec<Event>> {
    let created_at = call.now();
    let mut jobs = Vec::with_capacity(invitees.len());
    for invitee in invitees {
        let mut seed = [0; 32];
        OsRandom.fill(&mut seed);
        let recipe = Recipe {
            seed,
            reference: *invitee.reference.as_bytes(),
            key_package_event: *invitee.event_id.as_bytes(),
            created_at,
        };
        jobs.push((recipe, invitee.account));
    }
    let keys = &identity.keys;
    let events: Vec<Event> =
        parallel::map(&jobs, |(recipe, account)| recipe.wrap(mls_welcome, keys, account, relays))
            .into_iter()
            .collect::<Result<_>>()?;
    for (event, (recipe, account)) in events.iter().zip(&jobs) {
        event_size::check_invite_size(call, event, account)?;
        let recipe = postcard::to_stdvec(recipe).map_err(Error::bug("encoding a recipe"))?;
        tx.insert_welcome(&WelcomeRow {
            id: 0,
            pending,
            recipient: *account,
            event_id: event.id(),
            recipe: SecretVec::new(recipe),
            sendable: false,
        })?;
    }
    Ok(events)
}

/// The very wrap that was made before.
pub(crate) fn wrap_again(
    identity: &Identity,
    commit: &PendingRow,
    row: &WelcomeRow,
) -> Result<Event> {
    let damaged = || Error::Unrecoverable("stored Welcome");
    let recipe: Recipe = postcard::from_bytes(row.recipe.expose()).map_err(|_| damaged())?;
    recipe
        .wrap(&commit.welcome, &identity.keys, &row.recipient, &commit.relays)
        .map_err(|_| damaged())
}

// rule: OB-4 a Welcome is put in when its commit is confirmed, never before
/// Puts the Welcomes of a commit in, which has just been confirmed.
pub(crate) fn post_welcomes(
    records: &mut Records<'_>,
    identity: &Identity,
    commit: &PendingRow,
) -> Result<()> {
    if !records.call.outbox {
        return Ok(());
    }
    for welcome in records.tx.welcomes_of(commit.id)? {
        let event = wrap_again(identity, commit, &welcome)?;
        records.outbox().post_welcome(commit, &event, welcome.recipient)?;
    }
    Ok(())
}
