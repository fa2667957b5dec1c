//! Facts about the events that wait. With them each event is read when something may have become of it, and not
//! whenever time passes: peers fill the store of held events. An event that no key has opened is tried once with the
//! key of each state.
//!
//! In memory only: after a restart everything is looked at once more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use mdk_store::{GroupRow, GroupStatus, HeldRow, Loss, PassRow};
use mdk_wire::{Event, EventId, GroupId, Timestamp, kind};

use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::sending_position::Place;
use crate::model::state_id::Auth;
use crate::model::{error, membership};
use crate::state_store::groups::Groups;
use crate::state_store::held_times::created_at;

/// Entries of [`Dates`], above twice the number of held events, over which they are made anew.
const SLACK: u64 = 64;

/// The reason for which an event waits after a key has opened it.
enum Wait {
    /// It claims an epoch that is still to come.
    Ahead(u64),
    /// It is too far ahead in its sender's ratchet.
    Far(Place),
}

/// The causes for which a group's held events wait.
#[derive(Default)]
pub(crate) struct Waits {
    /// The place down to which the key of a state was tried on a group's events that no key has opened, from the newest
    /// on.
    tried: HashMap<(Auth, GroupId), i64>,
    events: HashMap<EventId, Wait>,
    /// Those that are too far ahead, by the ratchet that they are in.
    far: BTreeMap<(u32, u64), Vec<EventId>>,
    /// The stamp of the group when a whole round had changed nothing.
    idle: Option<Stamp>,
}

impl Waits {
    /// Keeps, for the next round, events that need not be read again. Everything else is forgotten.
    pub(crate) fn keep(&mut self, waiting: &[EventId], highest: u64) {
        let mut before = std::mem::take(&mut self.events);
        // The first event of a ratchet tells whether the others can be read.
        let mut lowest: BTreeMap<(u32, u64), u32> = BTreeMap::new();
        for event in self.far.values().flatten() {
            let Some(Wait::Far(place)) = before.get(event) else { continue };
            let lowest = lowest.entry(place.sender()).or_insert(u32::MAX);
            *lowest = place.generation.min(*lowest);
        }
        self.far.clear();
        for event in waiting {
            match before.remove(event) {
                Some(Wait::Ahead(epoch)) if epoch > highest => self.is_ahead(*event, epoch),
                Some(Wait::Far(at)) if lowest.get(&at.sender()) != Some(&at.generation) => {
                    self.is_far(*event, at);
                }
                _ => {}
            }
        }
    }

    /// Whether there is nothing new to try on an event that is known.
    pub(crate) fn knows(&self, event: &EventId) -> bool {
        self.events.contains_key(event)
    }

    /// Only the keys of these states are of use now.
    pub(crate) fn keep_keys(&mut self, keys: &HashSet<Auth>) {
        self.tried.retain(|(key, _), _| keys.contains(key));
    }

    /// Whether a key was tried on anything that no key has opened.
    pub(crate) fn has_tried(&self, key: &Auth) -> bool {
        self.tried.keys().any(|(tried, _)| tried == key)
    }

    /// The place down to which a key was tried on this group's events.
    pub(crate) fn tried_to(&mut self, key: Auth, holder: &GroupId) -> &mut i64 {
        self.tried.entry((key, holder.clone())).or_insert(i64::MAX)
    }

    /// Whether all keys were tried on all that no key has opened.
    pub(crate) fn is_through(&self) -> bool {
        self.tried.values().all(|place| *place == i64::MIN)
    }

    /// A key has opened it: until its cause to wait is known, it is tried with all keys, should this call fail.
    pub(crate) fn is_open(&mut self, event: &EventId) {
        self.events.remove(event);
    }

    pub(crate) fn is_ahead(&mut self, event: EventId, epoch: u64) {
        self.events.insert(event, Wait::Ahead(epoch));
    }

    pub(crate) fn is_far(&mut self, event: EventId, place: Place) {
        self.far.entry(place.sender()).or_default().push(event);
        self.events.insert(event, Wait::Far(place));
    }

    /// A message of a sender was read: the messages after it may be within reach.
    pub(crate) fn heard(&mut self, of: &Place) {
        for event in self.far.remove(&of.sender()).unwrap_or_default() {
            self.events.remove(&event);
        }
    }
}

/// All facts that decide the result of a held event, except its content.
#[derive(PartialEq, Eq)]
struct Stamp {
    state: Auth,
    status: GroupStatus,
    pass: PassRow,
    publishing: bool,
    held: u64,
    /// The newest message, if one more may bring others within reach.
    heard: Option<i64>,
}

/// The times at which held events of a group were made, and the Welcomes among them. It may name some that are held no
/// longer, and misses none.
#[derive(Default)]
pub(crate) struct Dates {
    unreported: BTreeSet<(Timestamp, EventId)>,
    /// The Welcomes, each with its last vain try.
    welcomes: BTreeMap<EventId, Option<Vain>>,
}

/// A Welcome was taken up in vain.
struct Vain {
    /// In this state of the group.
    state: (Auth, PassRow),
    /// An event that was made at this time or later may change that, though it changes no state.
    wants_sign: Option<Timestamp>,
}

impl Dates {
    fn add(&mut self, event: &Event) {
        if event.kind() == kind::GROUP_MESSAGE {
            self.unreported.insert((event.created_at(), event.id()));
        } else {
            self.welcomes.entry(event.id()).or_default();
        }
    }
}

/// Facts about buffered events.
#[derive(Default)]
pub(crate) struct BufferedMemory {
    /// The causes for which held events wait: a flood of them is read once, not with every call.
    pub(crate) waits: HashMap<GroupId, Waits>,
    /// The times at which held events were made.
    pub(crate) dates: HashMap<GroupId, Dates>,
    /// The time of the last event that was refused for want of room and that no key opened: it is as much of a sign as
    /// a held one.
    pub(crate) refused: HashMap<GroupId, u64>,
    /// The time of the last search for events that a group holds for too long, and the time from which a search is
    /// worth while, Unix seconds.
    pub(crate) looked_for_old: HashMap<GroupId, Range<u64>>,
    /// Groups of which a key has opened something during the current transaction that none had: all is tried once more
    /// when it does not commit.
    pub(crate) opened: Vec<GroupId>,
    /// Groups whose dates were made or used up during the current transaction: made anew when it does not commit.
    dated: Vec<GroupId>,
}

impl BufferedMemory {
    pub(crate) fn put_dates(&mut self, id: &GroupId, dates: Dates) {
        self.dates.insert(id.clone(), dates);
    }

    /// For taking something from them.
    pub(crate) fn edit_dates(&mut self, id: &GroupId) -> Option<&mut Dates> {
        if !self.dated.contains(id) {
            self.dated.push(id.clone());
        }
        self.dates.get_mut(id)
    }

    pub(crate) fn committed(&mut self) {
        self.dated.clear();
        self.opened.clear();
    }

    pub(crate) fn rolled_back(&mut self) {
        for id in self.dated.drain(..) {
            self.dates.remove(&id);
        }
        for id in self.opened.drain(..) {
            self.waits.remove(&id);
        }
    }
}

/// Events that wait, and the facts about them.
pub(crate) struct Waiting<'a> {
    pub(crate) call: Call<'a>,
    pub(crate) groups: Groups<'a>,
    pub(crate) buffered: &'a mut BufferedMemory,
}

impl Waiting<'_> {
    /// Notes that a whole round has changed nothing. `listens`: some waiting events could be read after another
    /// message.
    pub(crate) fn note_idle(&mut self, id: &GroupId, listens: bool) -> Result<()> {
        let far = self.buffered.waits.get(id).is_some_and(|waits| !waits.far.is_empty());
        let stamp = stamp(self.groups, id, listens || far)?;
        self.buffered.waits.entry(id.clone()).or_default().idle = Some(stamp);
        Ok(())
    }

    /// The first event comes that no key opens: the keys of all states that are there were tried on it, and are tried on
    /// each that comes after it.
    pub(crate) fn note_all_tried(&mut self, id: &GroupId) -> Result<()> {
        let mut keys = vec![self.groups.current_row(id)?.authenticator];
        let states = self.groups.tx.states(id)?;
        keys.extend(states.iter().filter(|node| !node.removed).map(|node| node.authenticator));
        let waits = self.buffered.waits.entry(id.clone()).or_default();
        for key in keys {
            *waits.tried_to(key, id) = i64::MIN;
        }
        Ok(())
    }

    /// An event is held for a group from now on.
    pub(crate) fn note_held(&mut self, id: &GroupId, event: &Event) -> Result<()> {
        let most = self.groups.tx.held_count(id)?.saturating_mul(2).saturating_add(SLACK);
        let Some(dates) = self.buffered.dates.get_mut(id) else { return Ok(()) };
        dates.add(event);
        // Events that are held no longer have left too much behind.
        if (dates.unreported.len() + dates.welcomes.len()) as u64 > most {
            self.buffered.dates.remove(id);
        }
        Ok(())
    }

    /// Reads the held events of a group, unless their dates are known.
    fn dates(&mut self, id: &GroupId) -> Result<&mut Dates> {
        if !self.buffered.dates.contains_key(id) {
            let mut dates = Dates::default();
            for held in self.groups.tx.held(id)? {
                if is_gift_wrap(&held.event_json) {
                    dates.welcomes.insert(held.event_id, None);
                } else if let Some(at) = created_at(&held).filter(|_| held.loss == Loss::Possible) {
                    dates.unreported.insert((at, held.event_id));
                }
            }
            self.buffered.put_dates(id, dates);
        }
        self.buffered.edit_dates(id).ok_or(error::Error::Internal("dates were just made"))
    }

    /// Events of a group that are held, may be lost, and say that they were made in this time.
    pub(crate) fn made_between(
        &mut self,
        id: &GroupId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(HeldRow, Timestamp)>> {
        if from >= until {
            return Ok(Vec::new());
        }
        let none = EventId::from_bytes([0; 32]);
        let dates = self.dates(id)?;
        let due: Vec<_> = dates.unreported.range((from, none)..(until, none)).copied().collect();
        let mut held = Vec::new();
        for (at, event) in due {
            let row = self.groups.tx.held_event(&event)?;
            let row = row.filter(|row| row.group == *id && row.loss == Loss::Possible);
            if row.is_none() {
                self.dates(id)?.unreported.remove(&(at, event));
            }
            held.extend(row.map(|row| (row, at)));
        }
        Ok(held)
    }

    /// Welcomes that wait, the one that came first first.
    pub(crate) fn held_welcomes(&mut self, id: &GroupId) -> Result<Vec<HeldRow>> {
        let welcomes: Vec<EventId> = self.dates(id)?.welcomes.keys().copied().collect();
        let mut held = Vec::with_capacity(welcomes.len());
        for event in welcomes {
            held.extend(self.groups.tx.held_event(&event)?.filter(|row| row.group == *id));
        }
        held.sort_by_key(|row| row.received_at);
        Ok(held)
    }

    /// Whether a Welcome was taken up in vain in the very state that the group is in.
    pub(crate) fn was_woken(&mut self, row: &GroupRow, welcome: &EventId) -> Result<bool> {
        let known = self.dates(&row.id)?.welcomes.get(welcome).and_then(Option::as_ref);
        Ok(known.is_some_and(|vain| vain.state == (row.authenticator, row.pass)))
    }

    /// A Welcome was taken up in vain.
    pub(crate) fn note_woken(
        &mut self,
        row: &GroupRow,
        welcome: EventId,
        wants_sign: Option<Timestamp>,
    ) -> Result<()> {
        let state = (row.authenticator, row.pass);
        let vain = Vain { state, wants_sign };
        self.dates(&row.id)?.welcomes.insert(welcome, Some(vain));
        Ok(())
    }

    /// Something of a group came that cannot be read: a Welcome that was taken up in vain for want of it is worth another
    /// look. `refused`: there is no room to hold it.
    pub(crate) fn note_sign(&mut self, id: &GroupId, event: &Event, refused: bool) {
        if event.kind() != kind::GROUP_MESSAGE {
            return;
        }
        let made = event.created_at().min(self.call.now());
        if refused {
            let last = self.buffered.refused.entry(id.clone()).or_default();
            *last = made.max(*last);
        }
        let Some(dates) = self.buffered.dates.get_mut(id) else { return };
        for known in dates.welcomes.values_mut() {
            let wants = known.as_ref().and_then(|vain| vain.wants_sign);
            if wants.is_some_and(|since| made >= since) {
                *known = None;
            }
        }
    }

    /// Events that may be lost, that no key opens, and that say that they were made in this time.
    pub(crate) fn closed_between(
        &mut self,
        row: &GroupRow,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(HeldRow, Timestamp)>> {
        let mut held = self.made_between(&row.id, from, until)?;
        let tried = self.buffered.waits.get(&row.id).is_some_and(Waits::is_through);
        held.retain(|(held, _)| held.closed && tried);
        Ok(held)
    }

    /// Events held for a group that goes may be another's that shares its routing id.
    pub(crate) fn rehome_held(&mut self, id: &GroupId) -> Result<()> {
        let mut home = None;
        for route in self.groups.tx.routes(id)? {
            for other in self.groups.tx.route_claims(&route)? {
                let live = |row: GroupRow| row.id != *id && !membership::is_over(row.status);
                if home.is_none() && self.groups.tx.group(&other)?.is_some_and(live) {
                    home = Some(other);
                }
            }
        }
        let Some(home) = home else { return Ok(()) };
        // (it may be older than what is held there)
        self.buffered.looked_for_old.remove(&home);
        self.buffered.dates.remove(&home);
        // (its keys are not tried on it, either)
        self.buffered.waits.remove(&home);
        for held in self.groups.tx.held(id)? {
            if is_gift_wrap(&held.event_json) {
                continue;
            }
            self.groups.tx.unhold(&held.event_id)?;
            self.groups
                .tx
                .hold(&HeldRow { group: home.clone(), ..held }, self.call.config.max_held_events)?;
        }
        Ok(())
    }

    /// Nothing waits for this group any more.
    pub(crate) fn drop_held(&mut self, id: &GroupId) -> Result<()> {
        self.rehome_held(id)?;
        for held in self.groups.tx.held(id)? {
            self.groups.tx.unhold(&held.event_id)?;
        }
        self.groups.tx.drop_kept(id)?;
        Ok(())
    }
}

fn stamp(groups: Groups<'_>, id: &GroupId, listens: bool) -> Result<Stamp> {
    let row = groups.current_row(id)?;
    Ok(Stamp {
        state: row.authenticator,
        status: row.status,
        pass: row.pass,
        publishing: groups.publishing(&row)?,
        held: groups.tx.held_count(id)?,
        heard: listens.then(|| groups.tx.newest_message()).transpose()?,
    })
}

/// Whether another round would find everything as the last one left it.
pub(crate) fn is_idle(groups: Groups<'_>, buffered: &BufferedMemory, id: &GroupId) -> Result<bool> {
    let waits = buffered.waits.get(id).filter(|waits| waits.is_through());
    let idle = waits.and_then(|waits| waits.idle.as_ref());
    match idle {
        Some(idle) => Ok(*idle == stamp(groups, id, idle.heard.is_some())?),
        None => Ok(false),
    }
}

/// Whether it is time to look for events that are held for too long.
pub(crate) fn may_be_old(buffered: &BufferedMemory, now: u64, id: &GroupId) -> bool {
    !buffered.looked_for_old.get(id).is_some_and(|idle| idle.contains(&now))
}

/// Whether a held event is a Welcome that waits, and not an event of the group.
pub(crate) fn is_gift_wrap(json: &str) -> bool {
    // Most are none, which is seen without reading them.
    memchr::memmem::find(json.as_bytes(), b"\"kind\":1059").is_some()
        && Event::from_stored_json(json.as_bytes())
            .is_ok_and(|event| event.kind() == kind::GIFT_WRAP)
}
