//! What a stranger can send to a group, and what a member can who makes its commits by hand.

use mdk_core::{EventBody, Outcome};
use mdk_wire::v2::component_id;
use mdk_wire::{Event, GroupMessage, NostrGroupId, OsRandom, Random as _, Secret, group_message};

use super::Member;
use super::foreign::{Foreign, Handmade, vlbytes};

/// What anybody can send who knows a group's routing id: so many bytes, made at this time.
pub fn noise(route: &NostrGroupId, size: usize, at: u64) -> Event {
    let (mut key, mut body) = ([0; 32], vec![0; size.max(64)]);
    OsRandom.fill(&mut key);
    OsRandom.fill(&mut body[..64]);
    group_message::seal(&body, &Secret::new(key), route, at, None, &mut OsRandom).unwrap()
}

/// The routing id that an event of a group shows to everybody.
pub fn route(event: &Event) -> NostrGroupId {
    GroupMessage::parse(event.clone()).unwrap().group
}

impl Handmade {
    /// A commit of these proposals without a path; all but the confirmation tag is right.
    pub fn commit(peer: &Foreign, proposals: &[u8]) -> Self {
        let body = [vlbytes(proposals), vec![0]].concat();
        let confirmation_tag = Some(vec![0; 32]);
        Self { content_type: 3, confirmation_tag, ..Self::proposal(peer, body) }
    }

    /// As [`Handmade::commit`], of one AppDataUpdate by value (RFC 9420, 12.4): this profile.
    pub fn profile(peer: &Foreign, data: &[u8]) -> Self {
        let id = component_id::PROFILE.to_be_bytes();
        Self::commit(peer, &[&[1, 0, 8][..], &id, &[1], &vlbytes(data)].concat())
    }
}

/// Of every gap that is told how many events it has, and when the first and the last of them were made.
pub fn gaps_in<'a>(told: impl IntoIterator<Item = &'a EventBody>) -> Vec<(u64, u64, u64)> {
    let gap = |body: &EventBody| match body {
        EventBody::HistoryGap { count, first, last } => Some((*count, *first, *last)),
        _ => None,
    };
    told.into_iter().filter_map(gap).collect()
}

/// How many events each gap has that an outcome tells of.
pub fn lost(told: &Outcome) -> Vec<u64> {
    gaps_in(told.events.iter().map(|event| &event.body)).into_iter().map(|gap| gap.0).collect()
}

/// As [`lost`], of everything that a member was ever told.
pub fn gaps(member: &mut Member) -> Vec<u64> {
    let all = member.engine.events(0, 100_000).unwrap();
    gaps_in(all.iter().map(|event| &event.body)).into_iter().map(|gap| gap.0).collect()
}
