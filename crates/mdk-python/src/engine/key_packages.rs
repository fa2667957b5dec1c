//! `mdk.Mdk`: KeyPackages and invites.

use mdk_core::Engine;
use pyo3::prelude::*;

use super::{Mdk, Object, Objects};
use crate::args;
use crate::signed_event::SignedEvent;
use crate::text::Text;
use crate::views::{self, ToPy};

#[pymethods]
impl Mdk {
    /// Makes a KeyPackage (RFC 9420, 10) as an event of kind 30443 for the caller to publish.
    ///
    /// Args:
    ///     relays: 1 to 16 relay URLs where it will be published; at most 512 bytes each.
    ///     slot: its `d` tag, 64 lower-case hex digits. The newest KeyPackage of a slot replaces the others on relays.
    ///         None: the account's own slot.
    ///
    /// Raises:
    ///     InvalidInput, InvalidRelayUrl: the arguments.
    #[pyo3(signature = (*, relays, slot=None))]
    fn new_key_package(
        &self,
        py: Python<'_>,
        relays: &Bound<'_, PyAny>,
        slot: Option<Text>,
    ) -> PyResult<SignedEvent> {
        let relays = args::relays(relays)?;
        let slot = slot.as_ref().map(|slot| slot.get("slot")).transpose()?;
        self.call(py, |e| e.new_key_package(&relays, slot)).map(SignedEvent)
    }

    /// This account's KeyPackages whose private halves are here, newest first: KeyPackage.
    fn key_packages<'py>(&self, py: Python<'py>) -> Objects<'py> {
        views::list(py, self.call(py, Engine::key_packages)?)
    }

    /// Deletes the private half of a KeyPackage: nobody can invite with it any more.
    ///
    /// Raises:
    ///     KeyPackageNotFound: there is none with this ref.
    #[pyo3(signature = (r#ref))]
    fn delete_key_package(&self, py: Python<'_>, r#ref: Text) -> PyResult<()> {
        let reference = args::key_package_ref(&r#ref)?;
        self.call(py, |e| e.delete_key_package(&reference))
    }

    /// Notes that a relay has taken a KeyPackage event that tick() handed out: it takes the place of the one before it.
    ///
    /// Processing the event when it comes back from a relay does the same. False: it is none of our KeyPackages, or not
    /// any more, and nothing happens.
    fn published_key_package(&self, py: Python<'_>, event_id: Text) -> PyResult<bool> {
        let id = args::event_id("event_id", &event_id)?;
        self.call(py, |e| e.published_key_package(&id))
    }

    /// Whether somebody's KeyPackage event can be used for an invitation: a KeyPackageVerdict (Marmot v2 state, A2).
    ///
    /// Whether it fits a particular group is judged by add_members().
    fn check_key_package<'py>(&self, py: Python<'py>, event: &SignedEvent) -> Object<'py> {
        self.call(py, |e| e.check_key_package(&event.0))?.to_py(py)
    }

    /// The best of one account's KeyPackage events (Marmot v2 state, A3); None if none is usable.
    fn select_key_package(
        &self,
        py: Python<'_>,
        events: &Bound<'_, PyAny>,
    ) -> PyResult<Option<SignedEvent>> {
        let events = args::events("events", events)?;
        Ok(self.call(py, |e| e.select_key_package(&events))?.map(SignedEvent))
    }

    /// Welcomes that were verified and wait for an answer: Invite.
    ///
    /// Several may be for one group, if their makers may not know of each other: a former admin can invite to an old copy.
    fn invites<'py>(&self, py: Python<'py>) -> Objects<'py> {
        views::list(py, self.call(py, Engine::invites)?)
    }

    /// Accepts an invite; returns the GroupInfo. Messages since the invitation have been kept. What another invite to the
    /// same group has led to is put away.
    ///
    /// Raises:
    ///     InviteNotFound: there is none with this id.
    ///     CommitPending: a commit of yours in what would be put away is unresolved.
    ///     NotAllowed: too many other invites wait.
    fn accept<'py>(&self, py: Python<'py>, invite_id: Text) -> Object<'py> {
        let invite = args::event_id("invite_id", &invite_id)?;
        self.call(py, |e| e.accept(&invite))?.to_py(py)
    }

    /// Declines an invite and forgets what came with it. With `leave` the group is told, by leaving it: returns the event to
    /// publish on the relays of the invite. None without `leave`, for an admin, and where the invite waits beside a membership.
    /// It counts in the epoch of the invite alone: if another commit has come since, the members see it until an admin
    /// removes it.
    ///
    /// Raises:
    ///     InviteNotFound: there is none with this id.
    #[pyo3(signature = (invite_id, *, leave=false))]
    fn decline(
        &self,
        py: Python<'_>,
        invite_id: Text,
        leave: bool,
    ) -> PyResult<Option<SignedEvent>> {
        let invite = args::event_id("invite_id", &invite_id)?;
        if leave {
            return Ok(self.call(py, |e| e.decline_and_leave(&invite))?.map(SignedEvent));
        }
        self.call(py, |e| e.decline(&invite)).map(|()| None)
    }
}
