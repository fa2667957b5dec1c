//! Joining from a Welcome (protocol/welcomes.md B3, B4).
//!
//! The MLS join happens when the Welcome arrives, so that no epoch is missed while the user thinks about it.

pub(crate) mod competing_invite;
pub(crate) mod evidence;
pub(crate) mod inviters;
pub(crate) mod other_branch;
pub(crate) mod retry_welcomes;

use std::collections::BTreeSet;
use std::sync::Arc;

use mdk_store::{GroupRow, GroupStatus, NodeRow, PassRow, Seen};
use mdk_wire::{ContentId, Event, EventId, GroupId, WelcomeRumor, gift_wrap, kind, welcome};
use openmls::group::StagedWelcome;

use crate::ctx::Ctx;
use crate::mls::enter_epoch::apply_settings;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::state_keys::{authenticator, event_key};
use crate::mls::welcome::{encoding, welcome_error, welcome_of};
use crate::mls::{capabilities, settings, views};
use crate::model::commit_facts::Step;
use crate::model::error::Result;
use crate::model::halt::{Halt, reject};
use crate::model::invites::{Earlier, Offer};
use crate::model::membership;
use crate::model::membership::{UNROUTED, is_invited};
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::operations::join::evidence::Behind;
use crate::policy;
use crate::policy::invite::{is_bygone, may_rival};
use crate::state_store::branch_messages;
use crate::state_store::competing_invites;
use crate::state_store::log_entry::Stored;
use crate::state_store::memberships;
use crate::state_store::pending_welcomes;
use crate::state_store::previous_memberships::earlier;
use crate::state_store::removals_of_us;

/// What became of a Welcome.
pub(crate) enum Joined {
    /// A group, waiting for the user's answer, and what it was to us before, unless that was an invitation without an answer.
    Invited(Box<GroupRow>, Option<Box<Earlier>>),
    /// Our membership in this group has not ended yet.
    Wait(GroupId),
    /// A state of a group that we are in already, on another branch.
    Rival(Box<NodeRow>),
}

impl Ctx<'_> {
    /// A gift wrap: verified, unwrapped, judged, joined; or refused without a trace.
    pub(crate) fn process_gift_wrap(&mut self, event: &Event) -> Result<Verdict, Halt> {
        // rule: B4-1 an event, and a Welcome, counts once
        if self.tx.seen(event.id().as_bytes())?.is_some() {
            return Ok(Verdict::Duplicate);
        }
        // rule: B3-1
        let addressed = event.tags().iter().filter(|t| t.first().is_some_and(|n| n == "p")).count()
            == 1
            && event.tags().iter().any(|t| {
                t.first().is_some_and(|n| n == "p")
                    && t.get(1).is_some_and(|k| *k == self.me().to_hex())
            });
        if !addressed {
            return Err(reject(
                RejectCode::WrongRecipient,
                "B3-1",
                "the gift wrap is not addressed to us",
            ));
        }
        let unwrapped = gift_wrap::unwrap(event, &self.identity.keys)?;
        // rule: B3-8 the rumor is of kind 444.
        if unwrapped.rumor.kind != kind::WELCOME {
            return Err(reject(
                RejectCode::TransportRejected,
                "B3-8",
                "the rumor is not a Welcome",
            ));
        }
        // B3-5 to B3-7 are the reader's. What is wrong inside the encryption is no fault of the transport.
        let rumor = welcome::parse(unwrapped).map_err(|broken| Rejection {
            code: RejectCode::InvalidEncoding,
            ..Rejection::from(broken)
        })?;
        // (by what nobody can change in it)
        let content_id = welcome::content_id(&rumor.mls_message).map_err(encoding)?;
        if self.tx.seen(content_id.as_bytes())?.is_some() {
            return Ok(Verdict::Duplicate);
        }
        if !self.may_invite(&rumor.sender)? {
            // (one that was held stays so)
            self.kept_raw = true;
            return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
        }
        let (row, before) = match self.join(event.id(), &rumor)? {
            Joined::Invited(row, before) => (row, before),
            Joined::Wait(id) => {
                if !self.may_wait(&id, event.id(), &rumor)? {
                    return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
                }
                let verdict = self.hold_welcome(&id, event)?;
                if verdict == Verdict::Deferred(DeferredReason::FutureEpoch) {
                    self.ask_beside(&id, event.id(), &rumor)?;
                }
                return Ok(verdict);
            }
            Joined::Rival(node) => {
                self.tx.mark_seen(event.id().as_bytes(), Seen::Done)?;
                self.tx.mark_seen(content_id.as_bytes(), Seen::Done)?;
                self.tx.unhold(&event.id())?;
                let (id, epoch) = (node.group.clone(), node.epoch);
                // What is said there from that epoch on is for us. (The time of joining stays: what was made before the
                // first Welcome came of either branch cannot be told from what was lost.)
                self.edit_row(&id, |row| {
                    row.join_epoch = row.join_epoch.min(epoch);
                    row.pass.floor = row.pass.floor.min(epoch);
                })?;
                let verdict = self.add_rival(*node)?;
                self.close_due(&id)?;
                pending_welcomes::keep_until_answered(self.groups(), self.now(), &id, event)?;
                return Ok(verdict);
            }
        };
        self.tx.mark_seen(event.id().as_bytes(), Seen::Done)?;
        self.tx.mark_seen(content_id.as_bytes(), Seen::Done)?;
        self.tx.unhold(&event.id())?;
        let welcome = *event.id().as_bytes();
        let invited = if row.status == GroupStatus::Reinvited {
            Stored::Reinvited { welcome, after: self.tx.newest_of(&row.id)? }
        } else {
            Stored::Invited { welcome }
        };
        self.log().emit(&row.id, &welcome, &invited)?;
        if let Some(before) = before {
            self.log().emit(&row.id, &welcome, &Stored::Earlier(before))?;
        }
        self.tx.drop_kept(&row.id)?;
        pending_welcomes::keep_until_answered(self.groups(), self.now(), &row.id, event)?;
        // rule: B4-13 what had waited for another branch may be of the new membership
        self.retry_held(&row.id)?;
        Ok(Verdict::Applied)
    }

    // rule: 2.6-8
    /// B4 steps 2 to 12. The caller's savepoint makes a refusal leave the KeyPackage as it was.
    fn join(&mut self, invite: EventId, rumor: &WelcomeRumor) -> Result<Joined, Halt> {
        let mls_welcome = welcome_of(&rumor.mls_message)?;
        // rule: B4-3 it is for a KeyPackage of ours whose private part we have
        let reference = self.own_reference(&rumor.mls_message)?;
        let bundle = self.tx.mls_key_package_bytes(&reference)?.ok_or(reject(
            RejectCode::WrongRecipient,
            "B4-3",
            "no private KeyPackage for it",
        ))?;

        let provider = self.provider();
        let config = capabilities::join_config(self.call.config);
        let mut builder = StagedWelcome::build_from_welcome(&provider, &config, mls_welcome)
            .map_err(|e| welcome_error(&e))?;
        // rule: B4-4 a known or disbanded group is not joined again; the id, yet unverified, may refuse but never admit
        let info = builder.processed_welcome().unverified_group_info();
        let (claimed, epoch) = (info.group_id().as_slice().to_vec(), info.epoch().as_u64());
        let id = GroupId::from_bytes(&claimed).map_err(|_| {
            reject(RejectCode::InvalidEncoding, "B4-4", "group id of unacceptable length")
        })?;
        let mut known = self.tx.group(&id)?;
        let offer = Offer { invite, epoch, made: rumor.created_at };
        if let Some(row) = known.clone()
            && competing_invites::ended_unanswered(self.tx, &row)?
            && (row.status == GroupStatus::Disbanded || is_bygone(&row, epoch, offer.made))
        {
            // (another branch may have kept us)
            if row.pass.opened != 0 {
                self.tx.mls_put_key_package_bytes(&reference, bundle.expose())?;
                return Ok(Joined::Wait(id));
            }
            self.memberships().forget_unanswered(row)?;
            known = self.tx.group(&id)?;
        }
        if let Some(row) = known.as_ref() {
            // (a copy that was given up is replaced, B4-5; and who has asked to leave is asked again, if it is plain that the
            // others are there)
            let replaced = match row.status {
                GroupStatus::Unrecoverable => true,
                GroupStatus::Leaving => self.is_left_behind(row, &offer)?.is_some(),
                _ => false,
            };
            let after = match replaced {
                true => None,
                false => {
                    removals_of_us::removal_before(self.tx, row, epoch)?.map(|(removal, _)| removal)
                }
            };
            let later = after.is_none() && self.may_rival_later(row, &offer)?;
            if after.is_some() || later || may_rival(row, epoch) {
                self.tx.mls_put_key_package_bytes(&reference, bundle.expose())?;
                let joined = self.join_rival(row, &reference, rumor, after);
                // Nobody knows yet who else will be an admin by then.
                let early = later && epoch > row.epoch || self.is_early(row, &offer)?;
                return match joined {
                    Err(Halt::Rejected(no))
                        if no.code == RejectCode::AlreadyApplied
                            && (early || self.is_question(row, invite, rumor)?) =>
                    {
                        Ok(Joined::Wait(id))
                    }
                    joined => joined,
                };
            }
            // rule: B4-19 while branches compete, who is out waits for their pass: what was said on the loser is marked then
            if membership::is_over(row.status) && row.pass.opened != 0 && row.pass.contested != 0 {
                self.tx.mls_put_key_package_bytes(&reference, bundle.expose())?;
                return Ok(Joined::Wait(id));
            }
        }
        let mut live = None;
        match known.as_ref().map(|row| row.status) {
            None => memberships::refuse_ended(self.tx, &id, epoch, offer.made)?,
            // rule: B4-20 what is older than the membership that has ended is no fresh invitation
            // (what was refused while we were in may be from a branch that has kept us, and nobody has answered it)
            Some(GroupStatus::Removed | GroupStatus::Left)
                if known.as_ref().is_some_and(|row| is_bygone(row, epoch, offer.made)) =>
            {
                let reason = "an invitation from before the membership that has ended";
                return Err(reject(RejectCode::AlreadyApplied, "B4-20", reason));
            }
            // rule: B4-5 a copy that we are no longer in, or that cannot be followed, is replaced by a fresh Welcome
            Some(GroupStatus::Removed | GroupStatus::Left | GroupStatus::Unrecoverable) => {
                // rule: D6-11 where nothing competes the choice is made: what was said before the removal is for us
                if branch_messages::is_to_choose(self.groups(), &id)? {
                    self.branch_messages().sort_messages(&id)?;
                }
                self.memberships().clear_state(&id)?;
            }
            Some(GroupStatus::Disbanded) => {
                let asked = match known.as_ref() {
                    Some(row) => competing_invites::is_asked_after_a_strangers(
                        self.tx, row, epoch, offer.made,
                    )?,
                    None => false,
                };
                if !asked {
                    let reason = "the group was disbanded";
                    return Err(reject(RejectCode::AlreadyApplied, "B4-4", reason));
                }
                self.memberships().clear_state(&id)?;
            }
            // What begins after our membership began may be another membership.
            Some(status)
                if status != GroupStatus::Founding
                    && known.as_ref().is_some_and(|row| epoch > row.join_epoch) =>
            {
                live = known.clone();
                builder = builder.replace_old_group();
            }
            Some(_) => {
                if let Some(row) = known.as_ref() {
                    self.tx.mls_put_key_package_bytes(&reference, bundle.expose())?;
                    if self.is_question(row, invite, rumor)? {
                        return Ok(Joined::Wait(id));
                    }
                }
                return Err(reject(
                    RejectCode::AlreadyApplied,
                    "B4-4",
                    "the group is known already",
                ));
            }
        }
        // rule: B4-6 the group opens and verifies; lifetimes of others' leaves (RFC 9420: recommended) are no condition
        let staged = builder.skip_lifetime_validation().build().map_err(|e| welcome_error(&e))?;
        if let Some(row) = live {
            let vouched = self.vouched(&row, &staged)?;
            let before = vouched || self.vouched_before(&row, &staged)?;
            let behind = self.is_left_behind(&row, &offer)?.filter(|_| vouched);
            let Some(behind) = behind else {
                // OpenMLS has dropped the bundle; the Welcome needs it when its time comes.
                self.tx.mls_put_key_package_bytes(&reference, bundle.expose())?;
                // rule: B4-37 (whom we do not know as an admin any more leads nobody away, and is compared)
                if before && !vouched && self.may_compare(&row, &offer)? {
                    return self.join_rival(&row, &reference, rumor, None);
                }
                // Nobody knows yet who else will be an admin by then.
                let early = epoch > row.epoch || self.is_early(&row, &offer)?;
                if before || early || self.is_question(&row, invite, rumor)? {
                    return Ok(Joined::Wait(id));
                }
                let reason = "the group is known already";
                return Err(reject(RejectCode::AlreadyApplied, "B4-4", reason));
            };
            match behind {
                Behind::Lost(from) => {
                    self.give_up(&id, "joined_on_a_lost_branch")?;
                    self.branch_messages().lose_branch(&id, from)?;
                }
                // What was said before is true for all.
                Behind::Away => {
                    self.give_up(&id, "left_behind")?;
                    self.gaps().report_left_behind(&row, &invite, rumor.created_at)?;
                }
            }
            self.memberships().clear_state(&id)?;
        }
        // rule: B4-34 (an invitation that was not answered was no membership)
        let before = match known.as_ref() {
            Some(row)
                if is_invited(row.status) || competing_invites::ended_unanswered(self.tx, row)? =>
            {
                earlier(self.tx, row)?.map(Box::new)
            }
            Some(row) => Some(Box::new(Earlier::of(earlier(self.tx, row)?, row))),
            None => None,
        };
        let status = match known.as_ref() {
            Some(row) if row.status != GroupStatus::Invited => {
                match memberships::standing_before(self.tx, row)? {
                    GroupStatus::Invited => GroupStatus::Invited,
                    _ => GroupStatus::Reinvited,
                }
            }
            _ => GroupStatus::Invited,
        };
        let signer = staged.welcome_sender_index().u32();
        // rule: B4-11 the configuration is given again, since it sizes the store of past epochs
        let mls = staged.into_group(&provider).map_err(|e| welcome_error(&e))?;
        // rule: B4-8 the invariants hold and we support all that is required
        // rule: B4-10 every admin has a leaf
        let view = views::view_of_joined(&mls);
        policy::judge_welcome(&view, signer)?;
        let settings = settings::settings(mls.public_group().group_context())?;
        let welcomer = view.leaves.get(&signer).and_then(|leaf| leaf.account);
        // OpenMLS drops the bundle before it checks anything; a last-resort KeyPackage must serve again.
        let last_resort = self.tx.key_package(&reference)?.is_some_and(|kp| kp.last_resort);
        if last_resort {
            self.tx.mls_put_key_package_bytes(&reference, bundle.expose())?;
        }
        self.tx.mark_key_package_used(&reference)?;
        let now = self.now();
        let epoch = mls.epoch().as_u64();
        let mut row = GroupRow {
            id,
            profile: capabilities::GENERATION,
            status,
            epoch,
            join_epoch: epoch,
            authenticator: authenticator(&mls)?,
            event_key: event_key(&mls, self.crypto)?,
            nostr_group_id: UNROUTED,
            name: String::new(),
            description: String::new(),
            relays: Vec::new(),
            admins: Vec::new(),
            members: view.accounts().into_iter().collect(),
            retention: 0,
            has_image: false,
            welcomer,
            created_at: now,
            // rule: B4-12 a self-update is due: it drops the lifetime of our leaf and the shared init key
            self_updated_at: 0,
            last_read: known.as_ref().map_or(0, |row| row.last_read),
            welcome: Some(invite),
            pass: PassRow {
                floor: epoch,
                joined_at: rumor.created_at.min(now),
                ..PassRow::default()
            },
        };
        apply_settings(&mut row, &settings);
        // A leaf of our own making, whatever a backup brought back.
        self.tx.clear_must_update_after_restore(&row.id)?;
        if known.is_some() {
            self.tx.forgo_held(&row.id)?;
            self.memory.buffered.dates.remove(&row.id);
            self.tx.update_group(&row)?;
        } else {
            self.tx.insert_group(&row)?;
        }
        // Who invites commits, and has to be an admin. What its commit was nobody tells who comes.
        let step = Step {
            digest: ContentId::of(&rumor.mls_message),
            committer: welcomer,
            privileged: true,
            left: BTreeSet::new(),
            sent_at: row.pass.joined_at,
        };
        self.states().put_tip(&row, None, Some(&step))?;
        let mut group = LoadedGroup::new(mls, row.clone());
        group.set_view(Arc::new(view));
        self.put(group);
        Ok(Joined::Invited(Box::new(row), before))
    }
}
