//! The topics that the engine wants to hear of, and on which relays.

use std::collections::{BTreeMap, BTreeSet};

use mdk_core::Engine;
use mdk_wire::budget::relay::GROUP_RELAYS;
use serde_json::Value;

use crate::relay_pool::normal_url;

/// Since when a group's events concern us: when the invite that we joined by was made, at the earliest. Kept by
/// MLS group id.
pub(crate) fn join_key(group: &mdk_wire::GroupId) -> String {
    format!("joined/{}", group.to_hex())
}

/// The topics to be read, and where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Routing ids by relay, in the pool's form.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    /// The relays of each group in its order, with the routing ids.
    lists: Vec<(Vec<String>, BTreeSet<String>)>,
    /// Relays that the account left and that gift wraps may still come to.
    pub(crate) former: BTreeSet<String>,
    /// For routing ids of groups that we were invited to: what is earlier cannot be read.
    pub(crate) since: BTreeMap<String, u64>,
}

impl Wanted {
    /// Asks the engine what it wants to hear of.
    pub(crate) fn of(engine: &mut Engine) -> mdk_core::Result<Self> {
        let mut wanted = Self::default();
        let interests = engine.interests()?;
        let mut joined = BTreeMap::new();
        let states = engine.states("joined/")?;
        if !states.is_empty() {
            for group in engine.groups(None)? {
                let key = join_key(&group.id);
                if let Some((_, at)) = states.iter().find(|(name, _)| *name == key)
                    && let Ok(at) = <[u8; 8]>::try_from(at.as_slice())
                {
                    joined.insert(group.nostr_group_id.to_hex(), u64::from_be_bytes(at));
                }
            }
        }
        for interest in interests {
            let filter: Value = serde_json::from_str(&interest.filter)
                .map_err(|_| mdk_core::Error::Internal("a filter of the engine"))?;
            let Some(ids) = filter.get("#h").and_then(Value::as_array) else { continue };
            let ids: BTreeSet<String> =
                ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
            // Old and new routing ids of a group come together.
            if let Some(at) = ids.iter().find_map(|id| joined.get(id)) {
                wanted.since.extend(ids.iter().map(|id| (id.clone(), *at)));
            }
            let relays = interest.relays.iter().filter_map(|url| normal_url(url).ok()).collect();
            wanted.lists.push((relays, ids));
        }
        wanted.groups = wanted.choose(usize::MAX, |_| true, |_| false);
        Ok(wanted)
    }

    /// Leaves of each group what the owner named, and besides that as many relays as are read at one time: the first ones of
    /// the group's list, so that all members read the same, those that are not `failing` before the others.
    pub(crate) fn narrow(
        &mut self,
        owned: impl Fn(&String) -> bool,
        failing: impl Fn(&String) -> bool,
    ) {
        self.groups = self.choose(GROUP_RELAYS, owned, failing);
    }

    fn choose(
        &self,
        most: usize,
        owned: impl Fn(&String) -> bool,
        failing: impl Fn(&String) -> bool,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (relays, ids) in &self.lists {
            let (owned, others): (Vec<_>, Vec<_>) = relays.iter().partition(|url| owned(url));
            let (failing, well): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|url| failing(url));
            for relay in owned.into_iter().chain(well.into_iter().chain(failing).take(most)) {
                groups.entry(relay.clone()).or_default().extend(ids.iter().cloned());
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_group_the_first_relays_are_read_and_others_when_they_fail() {
        let name = |n: usize| format!("wss://relay{n}.example");
        let list: Vec<String> = (0..16).map(name).collect();
        let read = |owned: &[usize], failing: &[usize]| {
            let lists = vec![(list.clone(), BTreeSet::from(["id".to_owned()]))];
            let mut wanted = Wanted { lists, ..Wanted::default() };
            let is = |of: &[usize], url: &String| of.iter().any(|n| name(*n) == *url);
            wanted.narrow(|url| is(owned, url), |url| is(failing, url));
            let numbers =
                list.iter().enumerate().filter(|(_, url)| wanted.groups.contains_key(*url));
            numbers.map(|(n, _)| n).collect::<Vec<_>>()
        };
        assert_eq!(read(&[], &[]), [0, 1, 2, 3, 4]);
        assert_eq!(read(&[1, 9], &[]), [0, 1, 2, 3, 4, 5, 9]);
        assert_eq!(read(&[], &[0, 3]), [1, 2, 4, 5, 6]);
        assert_eq!(read(&[0], &[0, 1]), [0, 2, 3, 4, 5, 6]);
        // When all fail, the first are tried again.
        assert_eq!(read(&[], &(0..16).collect::<Vec<_>>()), [0, 1, 2, 3, 4]);
        assert_eq!(read(&[], &(2..16).collect::<Vec<_>>()), [0, 1, 2, 3, 4]);
    }
}
