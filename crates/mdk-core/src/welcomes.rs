//! Gift wraps of Welcomes: made once, and made again byte for byte.
//!
//! The wraps of one commit repeat its Welcome for every invitee, encrypted twice. What is stored instead is the
//! Welcome, once, and per invitee the seed of all randomness in the wrap.

use mdk_store::{CommitStatus, PendingRow, WelcomeRow};
use mdk_wire::{
    Event, EventId, GroupId, KeyPackageRef, Keys, PublicKey, Random, SecretVec, gift_wrap, welcome,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::group;
use crate::key_package::ValidKeyPackage;
use crate::parallel;

/// How long the Welcomes of a confirmed commit are handed out again after a restart, in seconds. Nobody tells the
/// engine that one was sent, and sending one twice does no harm.
const RESEND_FOR: u64 = 3 * 86_400;

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

impl Ctx<'_, '_> {
    /// Makes and stores the wraps for a commit's invitees.
    ///
    /// # Errors
    /// `GroupTooLarge` when one is over `Config::max_event_bytes`, or over what its recipient's relays take.
    pub(crate) fn wrap_welcomes(
        &mut self,
        pending: i64,
        mls_welcome: &[u8],
        invitees: &[ValidKeyPackage],
        relays: &[String],
    ) -> Result<Vec<Event>> {
        let created_at = self.now();
        let mut jobs = Vec::with_capacity(invitees.len());
        for invitee in invitees {
            let mut seed = [0; 32];
            self.random.fill(&mut seed);
            let recipe = Recipe {
                seed,
                reference: *invitee.reference.as_bytes(),
                key_package_event: *invitee.event_id.as_bytes(),
                created_at,
            };
            jobs.push((recipe, invitee.account));
        }
        let keys = &self.identity.keys;
        let events: Vec<Event> = parallel::map(&jobs, |(recipe, account)| {
            recipe.wrap(mls_welcome, keys, account, relays)
        })
        .into_iter()
        .collect::<Result<_>>()?;
        for (event, (recipe, account)) in events.iter().zip(&jobs) {
            self.check_invite_size(event, account)?;
            let recipe = postcard::to_stdvec(recipe).map_err(Error::bug("encoding a recipe"))?;
            self.tx.insert_welcome(&WelcomeRow {
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
    pub(crate) fn wrap_again(&self, commit: &PendingRow, row: &WelcomeRow) -> Result<Event> {
        let damaged = || Error::Unrecoverable("stored Welcome");
        let recipe: Recipe = postcard::from_bytes(row.recipe.expose()).map_err(|_| damaged())?;
        recipe
            .wrap(&commit.welcome, &self.identity.keys, &row.recipient, &commit.relays)
            .map_err(|_| damaged())
    }

    // rule: C2-8 whoever a commit of ours has added is invited when that commit becomes true, also when it had been given
    // up or had lost before: to everybody it is a member then, and nobody else has its Welcome
    /// After a change of branches: hands out the Welcomes that were kept back, of commits that are true now, for whoever
    /// is a member now. Those that a relay is known to have are not here any more; another may go out twice, which its
    /// reader sees.
    pub(crate) fn invite_again(&mut self, id: &GroupId) -> Result<()> {
        let withheld = self.tx.withheld_welcomes(id)?;
        if withheld.is_empty() {
            return Ok(());
        }
        let (members, nodes) = (self.current_row(id)?.members, self.tx.nodes(id)?);
        for welcome in withheld.iter().filter(|welcome| members.contains(&welcome.recipient)) {
            let Some(commit) = self.tx.pending(welcome.pending)? else { continue };
            let node = nodes.iter().find(|node| node.commit == Some(commit.digest));
            let is_true = match (node, commit.status) {
                (Some(node), _) => node.canonical,
                // (its state was let go, and what is beside it has parted since)
                (None, CommitStatus::Confirmed) => !self.is_withdrawn(&commit)?,
                (None, _) => false,
            };
            if is_true {
                self.tx.release_welcome(welcome.id)?;
                let event = self.wrap_again(&commit, welcome)?;
                self.post_welcome(&commit, &event, welcome.recipient)?;
                self.withdrawn.retain(|gone| *gone != event.id());
                self.reply.push(event);
            }
        }
        Ok(())
    }

    /// Forgets Welcomes that are too old to be handed out again.
    pub(crate) fn expire_welcomes(&self) -> Result<()> {
        for welcome in self.tx.sendable_welcomes()? {
            let commit = self.tx.pending(welcome.pending)?;
            if commit.as_ref().is_some_and(|c| c.created_at.saturating_add(RESEND_FOR) > self.now())
            {
                continue;
            }
            self.tx.drop_welcomes(welcome.pending)?;
            if let Some(commit) = commit {
                self.forget_last_commits(&commit.group)?;
            }
        }
        Ok(())
    }

    /// Where we are out and no state is retained any more, nothing else comes that would take finished commits away.
    fn forget_last_commits(&self, id: &GroupId) -> Result<()> {
        let over = self.tx.group(id)?.is_some_and(|row| group::is_over(row.status));
        if over && self.tx.nodes(id)?.is_empty() {
            self.tx.prune_commits(id, u64::MAX)?;
        }
        Ok(())
    }
}
