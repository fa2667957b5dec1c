//! Reads and writes, for `mdk.Client`, of an account's database: the outbox, what is remembered, invites that are declined.

use std::sync::Arc;

use mdk_client::{push, remembered};
use mdk_core::{Engine, Inviters};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::args;
use crate::engine::Mdk;
use crate::engine_guard::Guard;
use crate::text::Text;
use crate::views::{self, ToPy};

/// The database of an account, as the client uses it beside the methods of Mdk. Every call blocks.
#[pyclass(frozen, name = "_AccountStore", module = "mdk._mdk")]
pub(crate) struct AccountStore(Arc<Guard>);

#[pymethods]
impl AccountStore {
    #[new]
    fn new(mdk: &Mdk) -> Self {
        Self(mdk.guard.clone())
    }

    /// Leaves the account's keys in the database.
    fn keep_keys(&self, py: Python<'_>) -> PyResult<()> {
        self.0.call(py, Engine::keep_keys)
    }

    // The outbox.

    /// Whether nothing at the place `start` or behind it waits for a first relay, of all groups or of one. Invites that every
    /// relay refused do not count: they may go on for days. Returns the place of the first that waits, or None.
    #[pyo3(signature = (start = 0, group_id = None))]
    fn next_waiting(
        &self,
        py: Python<'_>,
        start: i64,
        group_id: Option<Text>,
    ) -> PyResult<Option<i64>> {
        let group = group_id.as_ref().map(args::group).transpose()?;
        self.0.call(py, |e| e.outbox_next(start, group.as_ref()))
    }

    /// The last place of the outbox that is taken: what is put in from now on stands behind it.
    fn outbox_end(&self, py: Python<'_>) -> PyResult<i64> {
        self.0.call(py, Engine::outbox_end)
    }

    /// Messages that no relay has accepted yet: Message.
    fn waiting_messages<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        views::list(py, self.0.call(py, Engine::outbox_messages)?)
    }

    fn retry<'py>(&self, py: Python<'py>, message_id: Text) -> PyResult<Bound<'py, PyAny>> {
        let id = args::event_id("message_id", &message_id)?;
        self.0.call(py, |e| e.outbox_retry(&id))?.to_py(py)
    }

    fn cancel(&self, py: Python<'_>, message_id: Text) -> PyResult<bool> {
        let id = args::event_id("message_id", &message_id)?;
        self.0.call(py, |e| e.outbox_cancel(&id))
    }

    /// How far a message, reaction, edit or deletion of ours got: a Delivery.
    fn delivery<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        message_id: Text,
    ) -> PyResult<Bound<'py, PyAny>> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        self.0.call(py, |e| e.delivery(&group, &message))?.to_py(py)
    }

    /// What relays said against a message, by URL.
    fn delivery_errors<'py>(
        &self,
        py: Python<'py>,
        message_id: Text,
    ) -> PyResult<Bound<'py, PyDict>> {
        let id = args::event_id("message_id", &message_id)?;
        let errors = PyDict::new(py);
        for (relay, reason) in self.0.call(py, |e| e.delivery_errors(&id))? {
            errors.set_item(relay, reason)?;
        }
        Ok(errors)
    }

    // History.

    /// Our reactions to a message: pairs of id and emoji, oldest first.
    fn own_reactions<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        message_id: Text,
    ) -> PyResult<Vec<(Bound<'py, PyAny>, String)>> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        let found = self.0.call(py, |e| e.own_reactions(&group, &message))?;
        found.into_iter().map(|(id, emoji)| Ok((id.to_py(py)?, emoji))).collect()
    }

    /// A page of the history from its beginning, or from behind `after`: Message.
    fn messages_oldest<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        after: Option<Text>,
        limit: u32,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let group = args::group(&group_id)?;
        let after = after.as_ref().map(|id| args::event_id("after", id)).transpose()?;
        views::list(py, self.0.call(py, |e| e.messages_oldest(&group, after.as_ref(), limit))?)
    }

    /// The cursor of the newest event of the log; 0 when there is none.
    fn last_cursor(&self, py: Python<'_>) -> PyResult<i64> {
        self.0.call(py, Engine::last_cursor)
    }

    // What is remembered.

    /// The relays that the account was last opened with.
    fn relays(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.0.call(py, remembered::relays)
    }

    fn set_relays(&self, py: Python<'_>, relays: Vec<String>) -> PyResult<()> {
        self.0.call(py, |e| remembered::set_relays(e, &relays))
    }

    /// The file servers that were named last.
    fn file_servers(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.0.call(py, remembered::file_servers)
    }

    fn set_file_servers(&self, py: Python<'_>, servers: Vec<String>) -> PyResult<()> {
        self.0.call(py, |e| remembered::set_file_servers(e, &servers))
    }

    /// Marks a message of ours that waits for a relay: it wakes no phone.
    fn keep_quiet(&self, py: Python<'_>, message_id: Text) -> PyResult<()> {
        let message = args::event_id("message_id", &message_id)?;
        self.0.call(py, |e| push::keep_quiet(e, &message))
    }

    /// The id of the KeyPackage event of ours that a relay took last.
    fn published_key_package<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let id = self.0.call(py, remembered::published_key_package)?;
        id.map(|id| id.to_py(py)).transpose()
    }

    /// Whether the account was restored, and its keys have not been renewed since.
    fn is_restored(&self, py: Python<'_>) -> PyResult<bool> {
        self.0.call(py, remembered::is_restored)
    }

    fn set_restored(&self, py: Python<'_>, restored: bool) -> PyResult<()> {
        self.0.call(py, |e| remembered::set_restored(e, restored))
    }

    /// Whether the account's own relays were once added to this group.
    fn own_relays_added(&self, py: Python<'_>, group_id: Text) -> PyResult<bool> {
        let group = args::group(&group_id)?;
        self.0.call(py, |e| remembered::own_relays_added(e, &group))
    }

    fn note_own_relays_added(&self, py: Python<'_>, group_id: Text) -> PyResult<()> {
        let group = args::group(&group_id)?;
        self.0.call(py, |e| remembered::note_own_relays_added(e, &group))
    }

    /// Where the last listener ended, of one group or of everything.
    #[pyo3(signature = (group_id))]
    fn listen_cursor(&self, py: Python<'_>, group_id: Option<Text>) -> PyResult<Option<i64>> {
        let group = group_id.as_ref().map(args::group).transpose()?;
        self.0.call(py, |e| remembered::listen_cursor(e, group.as_ref()))
    }

    #[pyo3(signature = (group_id, at))]
    fn set_listen_cursor(&self, py: Python<'_>, group_id: Option<Text>, at: i64) -> PyResult<()> {
        let group = group_id.as_ref().map(args::group).transpose()?;
        self.0.call(py, |e| remembered::set_listen_cursor(e, group.as_ref(), at))
    }

    /// How far the bot is: nothing is open up to the first cursor; the end of the log when its last run ended; the last event
    /// that was done of each group, and under None of no group.
    #[allow(clippy::type_complexity)] // of Python
    fn bot_state<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Option<i64>, Option<i64>, Bound<'py, PyDict>)> {
        let state = self.0.call(py, remembered::bot_state)?;
        let lanes = PyDict::new(py);
        for (group, at) in state.lanes {
            lanes.set_item(group.map(|group| group.to_hex()), at)?;
        }
        Ok((state.position, state.seen, lanes))
    }

    fn set_bot_position(&self, py: Python<'_>, at: i64) -> PyResult<()> {
        self.0.call(py, |e| remembered::set_bot_position(e, at))
    }

    #[pyo3(signature = (at))]
    fn set_bot_seen(&self, py: Python<'_>, at: Option<i64>) -> PyResult<()> {
        self.0.call(py, |e| remembered::set_bot_seen(e, at))
    }

    #[pyo3(signature = (group_id, at))]
    fn set_bot_lane(&self, py: Python<'_>, group_id: Option<Text>, at: i64) -> PyResult<()> {
        let group = group_id.as_ref().map(args::group).transpose()?;
        self.0.call(py, |e| remembered::set_bot_lane(e, group.as_ref(), at))
    }

    // Invites.

    fn read_key_packages<'py>(
        &self,
        py: Python<'py>,
        events: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let events = args::events("events", events)?;
        views::list(py, self.0.call(py, |e| e.read_key_packages(&events))?)
    }

    /// Whose invites are taken from now on: those of these accounts and of whom we are in a group with, and of strangers only
    /// if that is said. Others are Rejected before a group is opened for them.
    #[pyo3(signature = (known, *, strangers))]
    fn set_inviters(
        &self,
        py: Python<'_>,
        known: &Bound<'_, PyAny>,
        strangers: bool,
    ) -> PyResult<()> {
        let known = args::public_keys("known", known)?.into_iter().collect();
        self.0.call(py, |e| {
            e.set_inviters(Inviters { known, strangers });
            Ok(())
        })
    }

    /// Declines an invite whose group is to be told, see `farewell`. Neither is seen any more.
    fn decline_and_follow(&self, py: Python<'_>, invite_id: Text) -> PyResult<()> {
        let invite = args::event_id("invite_id", &invite_id)?;
        self.0.call(py, |e| e.decline_and_follow(&invite))
    }

    /// Whether a group whose invite was declined is listened to from now on: interests() has its relays then.
    #[pyo3(signature = (group_id, *, follow))]
    fn follow_declined(&self, py: Python<'_>, group_id: Text, follow: bool) -> PyResult<()> {
        let group = args::group(&group_id)?;
        self.0.call(py, |e| {
            e.follow_declined(&group, follow);
            Ok(())
        })
    }

    /// Groups that are still to be told, by id, and their routing ids.
    fn farewells<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let waiting = PyDict::new(py);
        for (group, route) in self.0.call(py, Engine::farewells)? {
            waiting.set_item(group.to_hex(), route.to_hex())?;
        }
        Ok(waiting)
    }

    /// Tells a group whose invite was declined, once all is read that its relays have under `route`; then it is deleted. False
    /// if it has another one by now.
    fn farewell(&self, py: Python<'_>, group_id: Text, route: Text) -> PyResult<bool> {
        let group = args::group(&group_id)?;
        let route = args::route("route", &route)?;
        self.0.call(py, |e| e.farewell_to(&group, &route))
    }
}
