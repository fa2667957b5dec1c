//! KeyPackages.

use std::cmp::Reverse;

use mdk_wire::{Event, EventId, KeyPackageRef};

use crate::engine::Engine;
use crate::mls::key_packages;
use crate::mls::key_packages::{KeyPackageVerdict, select};
use crate::model::error::Result;
use crate::model::values::KeyPackageInfo;
use crate::operations::key_packages::{forget, make};
use crate::state_store::key_package_plans;

/// KeyPackages.
impl Engine {
    /// Makes a KeyPackage and its signed 30443 event for publication.
    ///
    /// # Errors
    /// [`Error::InvalidRelayUrl`], [`Error::InvalidInput`] (slot), [`Error::Store`].
    pub fn new_key_package(&mut self, relays: &[String], slot: Option<&str>) -> Result<Event> {
        self.act(|ctx| make::new_key_package(&mut ctx.work, relays, slot))
    }

    /// Our KeyPackages, newest first.
    pub fn key_packages(&mut self) -> Result<Vec<KeyPackageInfo>> {
        self.look(|ctx| forget::key_packages(ctx.work.records.tx))
    }

    /// Deletes a KeyPackage with its private keys: Welcomes to it can no longer be opened.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete_key_package(&mut self, reference: &KeyPackageRef) -> Result<()> {
        self.act(|ctx| forget::delete_key_package(&mut ctx.work.records, reference))
    }

    /// A relay has taken a KeyPackage event that `tick` handed out: it takes the place of the one before it. An event
    /// that comes back from a relay says the same. Returns false, and does nothing, for an event that is none of our
    /// KeyPackages, or not any more.
    pub fn published_key_package(&mut self, event: &EventId) -> Result<bool> {
        self.act(|ctx| {
            key_package_plans::promote_key_package(
                ctx.work.records.tx,
                ctx.work.records.call,
                event,
            )?;
            Ok(ctx.work.records.tx.key_packages()?.iter().any(|row| row.event_id == *event))
        })
    }

    /// Judges somebody's KeyPackage event (protocol/key-packages.md A2-1 to A2-11).
    ///
    /// # Errors
    /// None that depends on the event.
    pub fn check_key_package(&mut self, event: &Event) -> Result<KeyPackageVerdict> {
        Ok(key_packages::verdict(event, &self.crypto, self.clock.now()))
    }

    /// The contents of somebody's KeyPackage events, newest first; those that cannot be used are left out.
    ///
    /// # Errors
    /// None that depends on the events.
    pub fn read_key_packages(&mut self, events: &[Event]) -> Result<Vec<KeyPackageInfo>> {
        let now = self.clock.now();
        let read = events.iter().filter_map(|event| key_packages::read(event, &self.crypto, now));
        let mut read: Vec<_> = read.collect();
        read.sort_by_key(|info| (Reverse(info.created_at), info.event_id));
        Ok(read)
    }

    /// The KeyPackage to use among events of one account (A3); unusable ones are skipped.
    ///
    /// # Errors
    /// None that depends on the events.
    pub fn select_key_package(&mut self, events: &[Event]) -> Result<Option<Event>> {
        Ok(select::select(events, &self.crypto, self.clock.now()))
    }
}
