//! Who came and who went, by the events of one client.

use std::collections::BTreeSet;

use mdk_core::{EngineEvent, EventBody};
use mdk_wire::{ContentId, GroupId, PublicKey};

/// An account that came or went, and the commit that did it.
type Told = (PublicKey, Option<ContentId>);

/// What a member reports that has waited for every choice between branches before it applied anything: a change of a
/// branch that lost, and what takes it back, are both no change. The engine applies at once (E5), so that the order of
/// arrival decides what it has to take back, and G3 wants the same labels in every order.
#[derive(Debug, Default)]
pub struct Changes {
    added: Vec<Told>,
    removed: Vec<Told>,
    withdrawn: BTreeSet<ContentId>,
}

impl Changes {
    /// `me` is the client's account, `out_of` the groups that it knows it is out of.
    pub fn of(events: &[EngineEvent], me: &PublicKey, out_of: &mut BTreeSet<GroupId>) -> Self {
        let mut changes = Self::default();
        for event in events {
            let group = event.group_id.clone();
            match &event.body {
                EventBody::MembersChanged { added, removed, left, by, commit } => {
                    // What only takes back has no committer. What it committed itself it has told when that was confirmed,
                    // which waits for nothing.
                    let back = by.is_none();
                    let commit = commit.filter(|_| *by != Some(*me));
                    let Self { added: came, removed: gone, withdrawn } = &mut changes;
                    for who in added {
                        put((*who, commit), came, gone, back.then_some(&*withdrawn));
                    }
                    for who in removed.union(left) {
                        put((*who, commit), gone, came, back.then_some(&*withdrawn));
                    }
                    if removed.contains(me) || left.contains(me) {
                        out_of.extend(group);
                    } else if let Some(group) = group.filter(|_| added.contains(me)) {
                        out_of.remove(&group);
                    }
                }
                EventBody::ChangeWithdrawn { commit } => {
                    changes.withdrawn.insert(*commit);
                }
                // It comes besides the change of the members, and again with each branch that leaves us out.
                EventBody::Removed { commit, .. } => {
                    let news = group.is_some_and(|group| out_of.insert(group));
                    changes.removed.extend(news.then_some((*me, *commit)));
                }
                EventBody::Joined { group } => {
                    out_of.remove(&group.id);
                }
                _ => {}
            }
        }
        changes
    }

    pub fn added(&self) -> impl Iterator<Item = &PublicKey> {
        self.added.iter().map(|(who, _)| who)
    }

    pub fn removed(&self) -> impl Iterator<Item = &PublicKey> {
        self.removed.iter().map(|(who, _)| who)
    }
}

/// Notes what was told, unless it takes back what a withdrawn commit has done.
fn put(
    told: Told,
    list: &mut Vec<Told>,
    other: &mut Vec<Told>,
    back: Option<&BTreeSet<ContentId>>,
) {
    let undone = back.and_then(|withdrawn| {
        other.iter().position(|(who, commit)| {
            *who == told.0 && commit.is_some_and(|commit| withdrawn.contains(&commit))
        })
    });
    match undone {
        Some(place) => drop(other.remove(place)),
        None => list.push(told),
    }
}
