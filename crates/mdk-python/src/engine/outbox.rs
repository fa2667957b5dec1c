//! `mdk.Mdk`, private: the outbox, the small durable values, and accounts whose keys are in their database. For `mdk.Client`.

use mdk_core::{Engine, OutboxItem};
use mdk_store::OpenOptions;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::{Mdk, Object, Objects};
use crate::args;
use crate::clock::Clock;
use crate::config::Config;
use crate::database_key::{self, DatabaseKey};
use crate::keys::Keys;
use crate::text::{PathText, Text};
use crate::views::{self, ToPy};

/// Most events of the outbox that are looked at in one call.
const MAX_OUTBOX: u32 = 100_000;

#[pymethods]
impl Mdk {
    /// As open(); without `keys` the account is the one whose keys the database keeps, or a new one that it keeps from now on.
    #[staticmethod]
    #[pyo3(signature = (path, *, keys, key, config, clock))]
    fn _open_account(
        py: Python<'_>,
        path: PathText,
        keys: Option<&Keys>,
        key: Option<&DatabaseKey>,
        config: Option<Config>,
        clock: Option<&Clock>,
    ) -> PyResult<Self> {
        let path = path.get()?;
        let clock = Clock::for_engine(clock);
        let keys = keys.map(|keys| keys.0.clone());
        Self::open_with(py, config, |config| {
            let key = database_key::or_recorded(key, &path)?;
            Engine::open_account(&path, keys, &key, &OpenOptions::default(), config, clock)
        })
    }

    /// Leaves the account's keys in the database.
    fn _keep_keys(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, Engine::keep_keys)
    }

    /// How many events no relay has accepted yet: all, or those of a group, that stand behind the place `after`. Invites that
    /// every relay refused do not count: they may go on for days.
    #[pyo3(signature = (group_id = None, *, after = 0))]
    fn _outbox_waiting(
        &self,
        py: Python<'_>,
        group_id: Option<Text>,
        after: i64,
    ) -> PyResult<usize> {
        let group = group_id.as_ref().map(args::group).transpose()?;
        let items = self.call(py, |e| e.outbox(MAX_OUTBOX))?;
        let counts = |item: &&OutboxItem| {
            item.seq > after
                && group.as_ref().is_none_or(|group| item.group.as_ref() == Some(group))
                && !item.is_accepted()
                && !item.is_refused_invite()
        };
        Ok(items.iter().filter(counts).count())
    }

    /// The last place of the outbox that is taken: what is put in from now on stands behind it.
    fn _outbox_end(&self, py: Python<'_>) -> PyResult<i64> {
        let items = self.call(py, |e| e.outbox(MAX_OUTBOX))?;
        Ok(items.last().map_or(0, |item| item.seq))
    }

    /// Messages that no relay has accepted yet: Message.
    fn _outbox_messages<'py>(&self, py: Python<'py>) -> Objects<'py> {
        views::list(py, self.call(py, Engine::outbox_messages)?)
    }

    fn _outbox_retry<'py>(&self, py: Python<'py>, message_id: Text) -> Object<'py> {
        let id = args::event_id("message_id", &message_id)?;
        self.call(py, |e| e.outbox_retry(&id))?.to_py(py)
    }

    fn _outbox_cancel(&self, py: Python<'_>, message_id: Text) -> PyResult<bool> {
        let id = args::event_id("message_id", &message_id)?;
        self.call(py, |e| e.outbox_cancel(&id))
    }

    /// What relays said against a message, by URL.
    fn _delivery_errors<'py>(
        &self,
        py: Python<'py>,
        message_id: Text,
    ) -> PyResult<Bound<'py, PyDict>> {
        let id = args::event_id("message_id", &message_id)?;
        let errors = PyDict::new(py);
        for (relay, reason) in self.call(py, |e| e.delivery_errors(&id))? {
            errors.set_item(relay, reason)?;
        }
        Ok(errors)
    }

    /// Our reactions to a message: pairs of id and emoji, oldest first.
    fn _own_reactions<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        message_id: Text,
    ) -> PyResult<Vec<(Bound<'py, PyAny>, String)>> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        let found = self.call(py, |e| e.own_reactions(&group, &message))?;
        found.into_iter().map(|(id, emoji)| Ok((id.to_py(py)?, emoji))).collect()
    }

    fn _state<'py>(&self, py: Python<'py>, key: Text) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let key = key.get("key")?;
        Ok(self.call(py, |e| e.state(key))?.map(|value| PyBytes::new(py, &value)))
    }

    #[pyo3(signature = (key, value))]
    fn _set_state(&self, py: Python<'_>, key: Text, value: Option<&[u8]>) -> PyResult<()> {
        let key = key.get("key")?;
        self.call(py, |e| e.set_state(key, value))
    }

    /// The values whose keys begin with `prefix`, by key.
    fn _states<'py>(&self, py: Python<'py>, prefix: Text) -> Object<'py> {
        let prefix = prefix.get("prefix")?;
        let states = PyDict::new(py);
        for (key, value) in self.call(py, |e| e.states(prefix))? {
            states.set_item(key, PyBytes::new(py, &value))?;
        }
        Ok(states.into_any())
    }

    /// The cursor of the newest event of the log; 0 when there is none.
    fn _last_cursor(&self, py: Python<'_>) -> PyResult<i64> {
        self.call(py, Engine::last_cursor)
    }

    /// A page of the history from its beginning, or from behind `after`: Message.
    #[pyo3(signature = (group_id, after, limit))]
    fn _messages_oldest<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        after: Option<Text>,
        limit: u32,
    ) -> Objects<'py> {
        let group = args::group(&group_id)?;
        let after = after.as_ref().map(|id| args::event_id("after", id)).transpose()?;
        views::list(py, self.call(py, |e| e.messages_oldest(&group, after.as_ref(), limit))?)
    }

    /// How far a message, reaction, edit or deletion of ours got: a Delivery.
    fn _delivery<'py>(&self, py: Python<'py>, group_id: Text, message_id: Text) -> Object<'py> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        self.call(py, |e| e.delivery(&group, &message))?.to_py(py)
    }
}
