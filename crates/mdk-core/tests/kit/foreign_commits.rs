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
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::signatures::Signer as _;
use openmls_traits::types::HashType;

use super::foreign::{Change, Context, Foreign, resigned, update};
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

fn membership_key(peer: &Foreign) -> Vec<u8> {
    let values = peer.provider.storage().values.read().unwrap();
    let stored =
        values.values().filter_map(|v| serde_json::from_slice::<serde_json::Value>(v).ok());
    stored.filter_map(|v| find_bytes(&v, "membership_key")).next().expect("stored by OpenMLS")
}

/// The byte array below the first member of this name.
fn find_bytes(value: &serde_json::Value, name: &str) -> Option<Vec<u8>> {
    match value {
        serde_json::Value::Object(members) => match members.get(name) {
            Some(found) => bytes_below(found),
            None => members.values().find_map(|v| find_bytes(v, name)),
        },
        serde_json::Value::Array(values) => values.iter().find_map(|v| find_bytes(v, name)),
        _ => None,
    }
}

fn bytes_below(value: &serde_json::Value) -> Option<Vec<u8>> {
    match value {
        serde_json::Value::Array(values) => {
            values.iter().map(|v| v.as_u64().and_then(|b| u8::try_from(b).ok())).collect()
        }
        serde_json::Value::Object(members) => members.values().find_map(bytes_below),
        _ => None,
    }
}

/// A PublicMessage made by hand, for what OpenMLS does not build.
pub struct Handmade {
    pub epoch: u64,
    pub sender: u32,
    /// 2: proposal, 3: commit.
    pub content_type: u8,
    pub body: Vec<u8>,
    pub confirmation_tag: Option<Vec<u8>>,
    pub break_signature: bool,
    pub break_tag: bool,
}

impl Handmade {
    /// A proposal by the member, right in everything but `body`.
    pub fn proposal(peer: &Foreign, body: Vec<u8>) -> Self {
        let group = peer.mls();
        Self {
            epoch: group.epoch().as_u64(),
            sender: group.own_leaf_index().u32(),
            content_type: 2,
            body,
            confirmation_tag: None,
            break_signature: false,
            break_tag: false,
        }
    }

    /// A commit that adds a KeyPackage with this lifetime: OpenMLS commits no expired one. All but the confirmation
    /// tag, which is checked last, is right.
    pub fn adding(peer: &Foreign, lifetime: (u64, u64)) -> Vec<u8> {
        let mut dave = Foreign::new();
        dave.package.lifetime = lifetime;
        let package = dave.key_package().tls_serialize_detached().unwrap();
        // RFC 9420, 12.4: proposals by value, of type add; no path.
        let proposals = [&[1, 0, 1][..], &package].concat();
        let body = [vlbytes(&proposals), vec![0]].concat();
        let confirmation_tag = Some(vec![0; 32]);
        Self { content_type: 3, confirmation_tag, ..Self::proposal(peer, body) }.bytes(peer)
    }

    /// RFC 9420, 6 and 6.2: signed and tagged with the member's keys.
    pub fn bytes(&self, peer: &Foreign) -> Vec<u8> {
        let context = peer.mls().public_group().group_context().tls_serialize_detached().unwrap();
        let mut content = vlbytes(peer.mls().group_id().as_slice());
        content.extend(self.epoch.to_be_bytes());
        content.push(1);
        content.extend(self.sender.to_be_bytes());
        content.extend([0, self.content_type]);
        content.extend(&self.body);
        let tbs = [&[0, 1, 0, 1][..], &content, &context].concat();
        let labelled = [vlbytes(b"MLS 1.0 FramedContentTBS"), vlbytes(&tbs)].concat();
        let mut signature = peer.signer.sign(&labelled).unwrap();
        signature[5] ^= u8::from(self.break_signature);
        let mut auth = vlbytes(&signature);
        if let Some(tag) = &self.confirmation_tag {
            auth.extend(vlbytes(tag));
        }
        let tbm = [&tbs[..], &auth].concat();
        let tag =
            peer.provider.crypto().hmac(HashType::Sha2_256, &membership_key(peer), &tbm).unwrap();
        let mut tag = tag.as_slice().to_vec();
        tag[3] ^= u8::from(self.break_tag);
        [&[0, 1, 0, 1][..], &content, &auth, &vlbytes(&tag)].concat()
    }
}

/// `opaque x<V>` of RFC 9420.
pub fn vlbytes(data: &[u8]) -> Vec<u8> {
    let mut out = match data.len() {
        n @ 0..64 => vec![u8::try_from(n).unwrap()],
        n => (u16::try_from(n).unwrap() | 0x4000).to_be_bytes().to_vec(),
    };
    out.extend_from_slice(data);
    out
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

/// In a group of its own an event is refused for this rule, nothing has changed, and the group goes on.
#[track_caller]
pub fn refused(rule: &'static str, code: RejectCode, make: impl FnOnce(&mut World) -> Event) {
    refused_in(World::new, rule, code, make);
}

#[track_caller]
pub fn refused_in(
    world: fn() -> World,
    rule: &'static str,
    code: RejectCode,
    make: impl FnOnce(&mut World) -> Event,
) {
    let mut world = world();
    let event = make(&mut world);
    assert_eq!(world.judges(&event), Ok((code, rule)));
    for who in [Who::Ann, Who::Ada, Who::Max] {
        world.peer(who).forgets();
    }
    // All three are still members, with their old leaves.
    world.still_follows(Who::Max);
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
