//! KeyPackages and groups.

use mdk_wire::{Event, GroupId, PublicKey, SecretVec};

use crate::engine::Engine;
use crate::engine::follow_ups::Due;
use crate::mls::own_commit;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::values::{
    GroupInfo, GroupState, GroupUpdate, Member, NewGroup, Pending, RequirementsUpdate,
};
use crate::operations::{
    add_members, change_admins, change_requirements, confirm_commit, create_group, delete_group,
    disband_group, discard_commit, hold_removals, leave_group, list_members, remove_members,
    self_update, update_group,
};
use crate::state_store::declined_invites::declined;
use crate::state_store::{history, retained_states};

/// Groups.
impl Engine {
    /// Founds a group; it exists for its user after [`Engine::confirm`].
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::InvalidRelayUrl`], [`Error::IncompatibleMember`],
    /// [`Error::GroupTooLarge`].
    pub fn create_group(&mut self, new: NewGroup) -> Result<Pending> {
        self.act(|ctx| create_group::create_group(&mut ctx.work, new))
    }

    /// Groups, optionally in one state; by age, then id.
    pub fn groups(&mut self, state: Option<GroupState>) -> Result<Vec<GroupInfo>> {
        self.look_now(|ctx| {
            let mut rows = ctx.work.records.tx.groups()?;
            let declined = declined(ctx.work.records.tx)?;
            rows.retain(|row| !declined.contains(&row.id.to_hex()));
            rows.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            rows.iter()
                .filter(|row| {
                    membership::state(row.status)
                        .is_some_and(|s| state.is_none_or(|wanted| wanted == s))
                })
                .map(|row| {
                    history::group_info(ctx.work.records.tx, ctx.work.identity.account(), row)
                })
                .collect()
        })
    }

    /// One group.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`].
    pub fn group(&mut self, id: &GroupId) -> Result<GroupInfo> {
        self.look_now(|ctx| history::info(ctx.work.records.groups(), ctx.work.records.me(), id))
    }

    /// Member accounts, sorted by key.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`].
    pub fn members(&mut self, id: &GroupId) -> Result<Vec<Member>> {
        self.look(|ctx| list_members::members(&mut ctx.work, id))
    }

    /// Invites accounts by their KeyPackage events.
    ///
    /// # Errors
    /// [`Error::NotAdmin`], [`Error::IncompatibleMember`], [`Error::CommitPending`], [`Error::GroupTooLarge`].
    pub fn add_members(
        &mut self,
        id: &GroupId,
        events: &[Event],
        promote: bool,
    ) -> Result<Pending> {
        self.commit(id, |ctx| add_members::add_members(&mut ctx.work, id, events, promote))
    }

    /// Removes accounts.
    ///
    /// # Errors
    /// [`Error::NotAdmin`], [`Error::InvalidInput`], [`Error::LastAdmin`], [`Error::CommitPending`].
    pub fn remove_members(&mut self, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
        self.commit(id, |ctx| remove_members::remove_members(&mut ctx.work, id, accounts))
    }

    /// Changes settings.
    ///
    /// # Errors
    /// [`Error::NotAdmin`], [`Error::InvalidInput`], [`Error::LastAdmin`], [`Error::CommitPending`].
    pub fn update_group(&mut self, id: &GroupId, update: GroupUpdate) -> Result<Pending> {
        self.commit(id, |ctx| update_group::update_group(&mut ctx.work, id, update))
    }

    /// Requires more of every member's client, or gives components of the group up, in one commit. Every member has to
    /// support the new requirements already. An account that does not support them cannot be invited afterwards.
    ///
    /// Requiring 0x800c in a group that has no lifecycle gives it one, so that it can be disbanded; that takes a commit of
    /// its own. 0x0001, 0x8003, 0x8004, 0x8009 and 0x800c stay in every group. A component that goes leaves its setting as
    /// if it had never been set: without 0x8005 new messages stay for ever.
    ///
    /// # Errors
    /// [`Error::NotAdmin`], [`Error::CommitPending`]. [`Error::IncompatibleMember`]: members that do not support it, all of
    /// them by account. [`Error::InvalidInput`]: an id that is not known here, that the group does not have, or that
    /// stays; the lifecycle together with anything else; or nothing would change.
    pub fn change_requirements(
        &mut self,
        id: &GroupId,
        change: &RequirementsUpdate,
    ) -> Result<Pending> {
        self.commit(id, |ctx| change_requirements::change_requirements(&mut ctx.work, id, change))
    }

    /// Makes members admins.
    ///
    /// # Errors
    /// [`Error::NotAdmin`], [`Error::InvalidInput`], [`Error::CommitPending`].
    pub fn promote(&mut self, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
        self.commit(id, |ctx| change_admins::promote(&mut ctx.work, id, accounts))
    }

    /// Takes admin rights away.
    ///
    /// # Errors
    /// [`Error::NotAdmin`], [`Error::LastAdmin`], [`Error::CommitPending`].
    pub fn demote(&mut self, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
        self.commit(id, |ctx| change_admins::demote(&mut ctx.work, id, accounts))
    }

    /// Fresh keys for our leaf.
    ///
    /// # Errors
    /// [`Error::CommitPending`], [`Error::NotMember`].
    pub fn self_update(&mut self, id: &GroupId) -> Result<Pending> {
        self.commit(id, |ctx| self_update::self_update(&mut ctx.work, id))
    }

    /// Ends the group for everybody.
    ///
    /// # Errors
    /// [`Error::NotAdmin`], [`Error::CommitPending`].
    pub fn disband(&mut self, id: &GroupId) -> Result<Pending> {
        self.commit(id, |ctx| disband_group::disband(&mut ctx.work, id))
    }

    /// Asks to leave; another member's commit makes it true.
    ///
    /// # Errors
    /// [`Error::LastAdmin`], [`Error::NotAllowed`] for admins and for a second request.
    pub fn leave(&mut self, id: &GroupId) -> Result<Event> {
        self.act(|ctx| leave_group::leave(&mut ctx.work, id))
    }

    /// Deletes a group that is over for us, with all of its data: messages, files' keys, settings, members, its events
    /// in the log, waiting input, events that were to be published for it, and retained states. Small values go whose
    /// keys name the group, by its id or a routing id in hex, or that contain such a routing id. Nobody is told. The
    /// next [`Engine::tick`] takes the erased data out of the write-ahead log as well.
    ///
    /// Two things are kept. The ids of processed events stay, so that a used Welcome is not asked again. A hash of the
    /// group's id stays with these facts: whether the group was disbanded, the epochs in which we joined it and left
    /// it, and the time at which the Welcome was made. So a disbanded group stays disbanded. A new invitation to a
    /// group that we have left or were removed from is asked like one to an unknown group, and an invitation from
    /// before that is refused.
    ///
    /// In an unrecoverable group the others still see our leaf, until an admin removes it. A removal that loses only after
    /// the group was deleted leaves us among its members without our knowing. A commit of ours that one relay has is not
    /// carried to the others any more.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`]; [`Error::Settling`] while what has put us out may still lose, some seconds;
    /// [`Error::NotAllowed`] while we are in it, have an invite to answer, its end is not final, or an invite of ours that
    /// no relay has yet is on its way.
    pub fn delete_group(&mut self, id: &GroupId) -> Result<()> {
        let (routes, effects) = self.write(|ctx| {
            ctx.work.records.groups().listed(id)?;
            ctx.close_due(id)?;
            let routes = delete_group::delete_group(&mut ctx.work.records, id)?;
            ctx.work_off(Due::All)?;
            Ok(routes)
        })?;
        self.let_go(id, &routes);
        self.hand_on(effects);
        Ok(())
    }

    /// Commits that wait for `confirm` or `discard`, oldest first.
    pub fn pending(&mut self) -> Result<Vec<Pending>> {
        self.look(|ctx| own_commit::pending(ctx.work.records.tx, ctx.work.identity))
    }

    /// A relay has the commit: it becomes true. A second call for a commit that is true already returns the group as
    /// well.
    ///
    /// # Errors
    /// [`Error::CommitLost`]: it was discarded, or another one won; or it was confirmed so many epochs ago that nothing is
    /// known of it any more. An automatic one that gave way to another member's competes with that, since a relay has it, and
    /// may become true yet.
    pub fn confirm(&mut self, id: i64) -> Result<GroupInfo> {
        let done = self.act(|ctx| {
            let group = match confirm_commit::confirm(&mut ctx.work, id) {
                Err(Error::CommitLost) => {
                    match confirm_commit::published_after_all(ctx.work.records.tx, id)? {
                        Some((commit, event)) => {
                            // The verdict on it is no answer to an event that somebody has sent.
                            let _ = ctx.attempt(event, Due::All)?;
                            confirm_commit::is_followed(ctx.work.records.tx, &commit)?
                                .then_some(commit.group)
                        }
                        None => None,
                    }
                }
                done => Some(done?),
            };
            ctx.work_off(Due::All)?;
            group
                .map(|group| {
                    history::info(ctx.work.records.groups(), ctx.work.records.me(), &group)
                })
                .transpose()
        })?;
        done.ok_or(Error::CommitLost)
    }

    /// No relay has the commit: it is forgotten.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]: a relay has it, or it was confirmed and is true. [`Error::CommitLost`]: as for
    /// [`Engine::confirm`].
    pub fn discard(&mut self, id: i64) -> Result<()> {
        self.act(|ctx| discard_commit::discard(&mut ctx.work, id))
    }

    /// Groups whose own leaf is older than `older_than` seconds.
    pub fn needs_self_update(&mut self, older_than: u64) -> Result<Vec<GroupId>> {
        self.look(|ctx| {
            self_update::needs_self_update(ctx.work.records.tx, ctx.work.records.call, older_than)
        })
    }

    /// The time of the last change in a group, Unix milliseconds: a commit, or a message.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::Store`].
    pub fn quiet_since(&mut self, id: &GroupId) -> Result<u64> {
        self.look(|ctx| {
            let came = ctx.work.records.tx.last_came(id)?.unwrap_or(0);
            Ok(came
                .saturating_mul(1000)
                .max(retained_states::epoch_since(ctx.work.records.groups(), id)?))
        })
    }

    /// As [`Engine::remove_members`], and seals it: by [`Engine::tick`] commits follow, two seconds apart, until no other branch
    /// can bring the accounts back (five, also by others). It is resumed after a restart. [`RemovalsHold::sealing`](crate::RemovalsHold::sealing) counts down.
    ///
    /// # Errors
    /// As [`Engine::remove_members`].
    pub fn remove_and_seal(&mut self, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
        self.commit(id, |ctx| {
            let pending = remove_members::remove_members(&mut ctx.work, id, accounts)?;
            hold_removals::seal_commit(ctx.work.records.tx, pending.id)?;
            Ok(pending)
        })
    }

    /// As [`Engine::demote`], and seals it as [`Engine::remove_and_seal`] does.
    ///
    /// # Errors
    /// As [`Engine::demote`].
    pub fn demote_and_seal(&mut self, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
        self.commit(id, |ctx| {
            let pending = change_admins::demote(&mut ctx.work, id, accounts)?;
            hold_removals::seal_commit(ctx.work.records.tx, pending.id)?;
            Ok(pending)
        })
    }

    /// Says that the members and admins of a contested group are as they should be.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`].
    pub fn accept_members(&mut self, id: &GroupId) -> Result<()> {
        self.act(|ctx| hold_removals::accept_members(&mut ctx.work.records, id))
    }

    /// MLS-Exporter of the current epoch (RFC 9420, 8.5).
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::NotMember`], [`Error::InvalidInput`] (length 1 to 8160).
    pub fn export_secret(
        &mut self,
        id: &GroupId,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Result<SecretVec> {
        /// HKDF-Expand with SHA-256 gives at most 255 blocks.
        const MAX_EXPORT: usize = 255 * 32;
        if length == 0 {
            return Err(Error::empty("length", "must be 1 to 8160"));
        }
        if length > MAX_EXPORT {
            return Err(Error::too_large("length", MAX_EXPORT, length));
        }
        self.look(|ctx| {
            if membership::is_over(ctx.work.records.groups().row(id)?.status) {
                return Err(Error::NotMember("no longer in this group"));
            }
            let group = ctx.work.take(id)?;
            let secret = group
                .mls
                .export_secret(ctx.work.crypto, label, context, length)
                .map(SecretVec::new)
                .map_err(Error::bug("exporting a secret"));
            ctx.work.put(group);
            secret
        })
    }
}
