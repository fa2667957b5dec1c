//! A group that three members on plain OpenMLS share with one engine: they commit, propose and say what our own
//! engine never would.

use ::base64::Engine as _;
use mdk_core::{RejectCode, Verdict};
use mdk_wire::v2::component_id as id;
use mdk_wire::v2::components::{AdminPolicy, Profile};
use mdk_wire::{Event, GroupId, Keys, PublicKey, UnsignedEvent};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{Extension, Extensions, GroupContext, Proposal};
use openmls_traits::OpenMlsProvider as _;

use super::foreign::{Change, Context, Foreign, resigned, update};
pub use super::foreign::{Handmade, vlbytes};
use super::{Member, received};

pub fn profile(name: &str) -> Vec<u8> {
    Profile { name: name.into(), description: String::new() }.encode().unwrap()
}

pub fn rename(name: &str) -> Proposal {
    update(id::PROFILE, &profile(name))
}

pub fn admins(keys: &[PublicKey]) -> Vec<u8> {
    AdminPolicy::new(keys.iter().copied()).encode().unwrap()
}

/// A commit of these proposals by value.
pub fn by_value(proposals: Vec<Proposal>) -> Change {
    Change { proposals, path: true, ..Change::default() }
}

/// Path and nothing else.
pub fn self_update() -> Change {
    by_value(Vec::new())
}

/// A commit with GroupContextExtensions by value.
pub fn commits_context(
    peer: &mut Foreign,
    context: Extensions<GroupContext>,
) -> Result<Vec<u8>, String> {
    let Foreign { group, provider, signer, .. } = peer;
    let bundle = group
        .as_mut()
        .unwrap()
        .commit_builder()
        .propose_group_context_extensions(context)
        .map_err(|e| format!("{e:?}"))?
        .load_psks(provider.storage())
        .map_err(|e| format!("{e:?}"))?
        .create_group_info(false)
        .build(provider.rand(), provider.crypto(), signer, |_| true)
        .map_err(|e| format!("{e:?}"))?
        .stage_commit(provider)
        .map_err(|e| format!("{e:?}"))?;
    Ok(bundle.commit().tls_serialize_detached().unwrap())
}

/// The group's extensions after `change`.
pub fn context_with(
    peer: &Foreign,
    change: impl FnOnce(&mut Vec<Extension>),
) -> Extensions<GroupContext> {
    let mut all: Vec<Extension> = peer.mls().extensions().iter().cloned().collect();
    change(&mut all);
    Extensions::from_vec(all).unwrap()
}

/// ann (leaf 0) and ada (leaf 1) are admins, max (leaf 2) is none, nor are we (leaf 3).
pub struct World {
    pub ann: Foreign,
    pub ada: Foreign,
    pub max: Foreign,
    pub us: Member,
    pub id: GroupId,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(|_, _| ())
    }

    /// A group whose founder changed the usual context.
    pub fn with(change: impl FnOnce(&mut Context, PublicKey)) -> Self {
        Self::of(Member::new("us"), change)
    }

    pub fn of(mut us: Member, change: impl FnOnce(&mut Context, PublicKey)) -> Self {
        let (mut ann, mut ada, mut max) = (Foreign::new(), Foreign::new(), Foreign::new());
        let mut context = ann.context();
        context.set_admins(&[ann.key(), ada.key()]);
        change(&mut context, us.key());
        ann.founds(&context);
        let events = [ada.key_package_event(), max.key_package_event(), us.key_package()];
        let welcome = ann.invites(&events.each_ref());
        ada.joins(&ann.wraps(&welcome, &events[0]));
        max.joins(&ann.wraps(&welcome, &events[1]));
        us.joins(&[ann.wraps(&welcome, &events[2])]);
        // What joining reported is not part of what the first event does.
        us.engine.tick().unwrap();
        Self { ann, ada, max, us, id: GroupId::from_bytes(&context.id).unwrap() }
    }

    pub fn epoch(&mut self) -> u64 {
        self.us.info(&self.id).epoch
    }

    /// We read what somebody says.
    #[track_caller]
    pub fn hears(&mut self, who: Who, text: &str) {
        let said = self.peer(who).says(text);
        assert_eq!(received(&self.us.applies(&said)), [text]);
    }

    /// A commit that we apply, and that its maker follows.
    pub fn commits(&mut self, who: Who, change: Change) -> Event {
        let event = self.peer(who).commit_event(change);
        self.us.applies(&event);
        self.peer(who).merges();
        event
    }

    /// The event is refused for this reason and nothing at all has changed.
    pub fn refuses(&mut self, event: &Event) -> (RejectCode, &'static str) {
        self.judges(event).unwrap_or_else(|verdict| panic!("not rejected: {verdict:?}"))
    }

    /// As `refuses`; `Err` for every other verdict.
    pub fn judges(&mut self, event: &Event) -> Result<(RejectCode, &'static str), Verdict> {
        let before = self.us.engine.digest().unwrap();
        let outcome = self.us.takes(event);
        let Verdict::Rejected(rejection) = outcome.verdict else { return Err(outcome.verdict) };
        assert!(outcome.events.is_empty() && outcome.reply.is_empty());
        assert!(self.us.engine.digest().unwrap() == before, "a rejection changed something");
        Ok((rejection.code, rejection.rule))
    }

    /// What somebody makes is refused for this rule, and nothing has changed; its maker forgets it.
    #[track_caller]
    pub fn breaks(
        &mut self,
        rule: &'static str,
        code: RejectCode,
        make: impl FnOnce(&mut Self) -> Event,
    ) {
        let event = make(self);
        assert_eq!(self.judges(&event), Ok((code, rule)));
        for who in [Who::Ann, Who::Ada, Who::Max] {
            self.peer(who).forgets();
        }
    }

    /// After all that was refused: all three are still members, with their old leaves.
    #[track_caller]
    pub fn goes_on(&mut self) {
        self.still_follows(Who::Max);
    }

    /// The member's messages and commits still work.
    pub fn still_follows(&mut self, who: Who) {
        let epoch = self.epoch();
        let said = self.peer(who).says("still here");
        self.us.applies(&said);
        self.commits(who, self_update());
        assert_eq!(self.epoch(), epoch + 1);
    }

    pub fn peer(&mut self, who: Who) -> &mut Foreign {
        match who {
            Who::Ann => &mut self.ann,
            Who::Ada => &mut self.ada,
            Who::Max => &mut self.max,
        }
    }
}

/// A group that somebody else has founded, with us as an admin and these others.
pub fn founded_by(
    ann: &mut Foreign,
    us: &mut Member,
    others: &[&Foreign],
    change: impl FnOnce(&mut Context),
) -> GroupId {
    let mut context = ann.context();
    context.set_admins(&[ann.key(), us.key()]);
    change(&mut context);
    ann.founds(&context);
    let mut events = vec![us.key_package()];
    events.extend(others.iter().map(|other| other.key_package_event()));
    let welcome = ann.invites(&events.iter().collect::<Vec<_>>());
    us.joins(&[ann.wraps(&welcome, &events[0])]);
    GroupId::from_bytes(&context.id).unwrap()
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    Ann,
    Ada,
    Max,
}

impl Foreign {
    /// A sealed commit.
    pub fn commit_event(&mut self, change: Change) -> Event {
        let made = self.commits(change);
        self.seals(&made.commit)
    }

    /// Any plaintext, encrypted and sealed.
    pub fn sends(&mut self, plaintext: &[u8]) -> Event {
        let bytes = self.encrypts(plaintext);
        self.seals(&bytes)
    }

    /// The payload after a change, encrypted and sealed; the id is right.
    pub fn sends_payload(&mut self, change: impl FnOnce(&mut UnsignedEvent)) -> Event {
        let mut payload = self.payload("payload");
        change(&mut payload);
        self.sends(payload.to_json().as_bytes())
    }
}

/// The same event changed, signed by a fresh key.
pub fn reenveloped(event: &Event, change: impl FnOnce(&mut UnsignedEvent)) -> Event {
    resigned(event, &Keys::generate(), change)
}

/// Standard base64 with padding.
pub fn base64(data: &[u8]) -> String {
    ::base64::engine::general_purpose::STANDARD.encode(data)
}
