//! Every state that any member was ever seen in, by its authenticator.

use std::collections::{BTreeMap, BTreeSet};

use mdk_core::testing::Place;
use mdk_wire::ContentId;

pub type Auth = [u8; 32];

#[derive(Default)]
pub struct Tree {
    states: BTreeMap<Auth, (u64, Option<Auth>)>,
    /// The commits that led to them.
    commits: BTreeMap<Auth, ContentId>,
    /// Who has a leaf in a state.
    members: BTreeMap<Auth, BTreeSet<usize>>,
    /// States that somebody was invited to, with the removal after which it placed them.
    returns: BTreeMap<Auth, BTreeSet<ContentId>>,
}

impl Tree {
    pub fn learn(&mut self, whole: &[Place], asleep: &[Place]) {
        let places = [whole, asleep].concat();
        // (a state that the member is not in has a name of its own only)
        for place in places.iter().filter(|place| !place.removed) {
            let known = self.states.entry(place.authenticator).or_insert((place.epoch, None));
            // Who joined in a state does not know its parent, or the removal before it at most.
            let removal = |state| places.iter().find(|p| p.removed && p.authenticator == state);
            let after = place.parent.and_then(removal);
            if let Some(commit) = after.and_then(|removal| removal.commit) {
                self.returns.entry(place.authenticator).or_default().insert(commit);
            }
            let parent = place.parent.filter(|_| after.is_none());
            known.1 = known.1.or(parent);
            if let (Some(_), Some(commit)) = (parent, place.commit) {
                self.commits.insert(place.authenticator, commit);
            }
        }
    }

    /// A state that somebody placed after a removal that is on another branch, or not before it.
    pub fn misplaced(&self) -> Option<(Auth, ContentId)> {
        let known: BTreeSet<ContentId> = self.commits.values().copied().collect();
        let returns = self.returns.iter().flat_map(|(state, c)| c.iter().map(|c| (*state, *c)));
        returns.filter(|(_, removal)| known.contains(removal)).find(|(state, removal)| {
            let chain = self.chain(state);
            !chain.iter().skip(1).any(|s| self.commit(s) == Some(*removal))
        })
    }

    pub fn knows_members(&self, state: &Auth) -> bool {
        self.members.contains_key(state)
    }

    pub fn set_members(&mut self, state: Auth, members: BTreeSet<usize>) {
        self.members.insert(state, members);
    }

    pub fn is_member(&self, state: &Auth, who: usize) -> bool {
        self.members.get(state).is_some_and(|m| m.contains(&who))
    }

    pub fn commit(&self, state: &Auth) -> Option<ContentId> {
        self.commits.get(state).copied()
    }

    pub fn epoch(&self, state: &Auth) -> u64 {
        self.states.get(state).map_or(0, |s| s.0)
    }

    /// A state and all before it, newest first.
    pub fn chain(&self, tip: &Auth) -> Vec<Auth> {
        let mut chain = vec![*tip];
        while let Some(parent) = self.states.get(&chain[chain.len() - 1]).and_then(|s| s.1) {
            if chain.contains(&parent) {
                break;
            }
            chain.push(parent);
        }
        chain
    }

    pub fn descends(&self, tip: &Auth, from: &Auth) -> bool {
        self.chain(tip).contains(from)
    }

    /// How many commits lie above the last state that all branches share, if the owner of `mover` adds one.
    pub fn spread(&self, tips: &[(Auth, u64)], mover: usize) -> u64 {
        let lengths: Vec<u64> = tips
            .iter()
            .enumerate()
            .map(|(i, (tip, pending))| self.epoch(tip) + pending + u64::from(i == mover))
            .collect();
        let mut forked: Vec<usize> = Vec::new();
        for (i, (tip, pending)) in tips.iter().enumerate() {
            let moves = *pending > 0 || i == mover;
            let behind = !moves
                && tips.iter().enumerate().any(|(j, (other, _))| {
                    j != i && (other != tip || j < i) && self.descends(other, tip)
                });
            if !behind {
                forked.push(i);
            }
        }
        let Some(first) = forked.first() else { return 1 };
        let mut shared: Vec<Auth> = self.chain(&tips[*first].0);
        for i in &forked {
            let chain = self.chain(&tips[*i].0);
            shared.retain(|state| chain.contains(state));
        }
        let fork = shared.first().map_or(0, |state| self.epoch(state));
        lengths.iter().max().map_or(0, |longest| longest.saturating_sub(fork))
    }

    /// All states, for the story.
    pub fn lines(&self) -> Vec<String> {
        let mut states: Vec<_> = self.states.iter().collect();
        states.sort_by_key(|(state, (epoch, _))| (*epoch, **state));
        let short =
            |name: &[u8]| -> String { name[..3].iter().map(|b| format!("{b:02x}")).collect() };
        let line = |(state, (epoch, parent)): (&Auth, &(u64, Option<Auth>))| {
            format!(
                "{epoch}.{} on {} by {}: {:?}",
                short(state),
                parent.as_ref().map_or("nothing".into(), |p| short(p)),
                self.commit(state).map_or("nothing".into(), |c| short(c.as_bytes())),
                self.members.get(state),
            )
        };
        states.into_iter().map(line).collect()
    }
}
