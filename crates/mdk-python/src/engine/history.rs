//! `mdk.Mdk`: the history, the event log, and what is due.

use mdk_core::Engine;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDelta};

use super::{Mdk, Object, Objects};
use crate::args::{self, Int};
use crate::batch::EventIterator;
use crate::errors::Raise;
use crate::text::Text;
use crate::views::{self, ToPy};

/// Most rows that one call returns.
const MAX_ROWS: u32 = 10_000;
/// Longest text to search for, in bytes, escapes included: a pattern of SQLite is at most 50,000 with two wildcards.
const MAX_QUERY: usize = 49_998;
/// Longest secret that `export_secret` derives (RFC 5869: 255 blocks of 32 bytes).
const MAX_SECRET: u32 = 8160;

#[pymethods]
impl Mdk {
    /// A page of a group's history in the order of arrival, oldest first: Message.
    ///
    /// Args:
    ///     limit: at most so many, 0 to 10,000. The newest ones; with `after` alone, those right behind it.
    ///     before: only those before this message. The page before is `before=page[0].id`.
    ///     after: only those after this message.
    ///
    /// Raises:
    ///     GroupNotFound, MessageNotFound: the ids.
    #[pyo3(signature = (group_id, *, limit=Int::Small(50), before=None, after=None))]
    #[pyo3(text_signature = "($self, group_id, *, limit=50, before=None, after=None)")]
    fn messages<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        limit: Int,
        before: Option<Text>,
        after: Option<Text>,
    ) -> Objects<'py> {
        let group = args::group(&group_id)?;
        let limit = args::range("limit", limit, 0, MAX_ROWS)?;
        let before = before.as_ref().map(|id| args::event_id("before", id)).transpose()?;
        let after = after.as_ref().map(|id| args::event_id("after", id)).transpose()?;
        let messages =
            self.call(py, |e| e.messages(&group, limit, before.as_ref(), after.as_ref()))?;
        views::list(py, messages)
    }

    /// One message of a group.
    ///
    /// Raises:
    ///     MessageNotFound: there is none with this id in this group.
    fn message<'py>(&self, py: Python<'py>, group_id: Text, message_id: Text) -> Object<'py> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        self.call(py, |e| e.message(&group, &message))?.to_py(py)
    }

    /// Messages whose text, as it is shown now, contains `query`, newest first: Message, at most `limit` (0 to 10,000).
    ///
    /// Case is ignored for the letters A to Z only. `query` has at most 49,998 bytes of UTF-8, where `%`, `_` and a
    /// backslash count twice.
    ///
    /// Raises:
    ///     GroupNotFound: there is none with this id.
    #[pyo3(signature = (query, *, group_id=None, limit=Int::Small(50)))]
    #[pyo3(text_signature = "($self, query, *, group_id=None, limit=50)")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        query: Text,
        group_id: Option<Text>,
        limit: Int,
    ) -> Objects<'py> {
        let query = query.get("query")?;
        // As the database counts: each of these is escaped by one more character.
        let escaped = query.len() + query.matches(['%', '_', '\\']).count();
        if escaped > MAX_QUERY {
            return Err(Raise::size("query", "too large", MAX_QUERY as u64, escaped as u64).into());
        }
        let group = group_id.as_ref().map(args::group).transpose()?;
        let limit = args::range("limit", limit, 0, MAX_ROWS)?;
        views::list(py, self.call(py, |e| e.search(query, group.as_ref(), limit))?)
    }

    /// Marks messages as read, up to `upto` (None: all): GroupInfo.unread_count counts those after it.
    #[pyo3(signature = (group_id, upto=None))]
    fn mark_read(&self, py: Python<'_>, group_id: Text, upto: Option<Text>) -> PyResult<()> {
        let group = args::group(&group_id)?;
        let upto = upto.as_ref().map(|id| args::event_id("upto", id)).transpose()?;
        self.call(py, |e| e.mark_read(&group, upto.as_ref()))
    }

    /// The durable log of what happened, oldest first: an iterator of Event. It ends at the present,
    /// and raises Closed when the account was closed before.
    ///
    /// Args:
    ///     after: the `cursor` of the last event that was handled; None for the beginning.
    ///     limit: most events to return; None for all.
    #[pyo3(signature = (*, after=None, limit=None))]
    fn events(
        slf: &Bound<'_, Self>,
        after: Option<Text>,
        limit: Option<Int>,
    ) -> PyResult<EventIterator> {
        let after = args::cursor(after.as_ref())?;
        let limit = limit.map(|limit| args::range("limit", limit, 0, u32::MAX)).transpose()?;
        Ok(EventIterator::new(slf, after, limit))
    }

    /// What to subscribe to, and where: Filter.
    fn interests<'py>(&self, py: Python<'py>) -> Objects<'py> {
        views::list(py, self.call(py, Engine::interests)?)
    }

    /// A secret that the members of the current epoch share (RFC 9420, 8.5), `length` bytes (1 to 8160).
    ///
    /// It needs no accept(): the Welcome of an invite brings the secrets. What Python holds cannot be wiped.
    ///
    /// Raises:
    ///     GroupNotFound, NotMember: there is none, or it is over for us.
    ///     InvalidInput: the length, or the label is "marmot", under which the protocol exports its own keys.
    fn export_secret<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        label: Text,
        context: &[u8],
        length: Int,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let group = args::group(&group_id)?;
        let length: u32 = args::range("length", length, 1, MAX_SECRET)?;
        let label = label.get("label")?;
        // The keys of messages and of files are exports of this label: they are nobody's to hand out.
        if label == mdk_core::EXPORTER_LABEL {
            return Err(Raise::input("label", "the protocol uses this one; choose another").into());
        }
        let secret = self.call(py, |e| e.export_secret(&group, label, context, length as usize))?;
        Ok(PyBytes::new(py, secret.expose()))
    }

    /// Groups where our leaf is older than `older_than` (None: Config.self_update_every), or is used by a copy (a database that
    /// was restored, salvaged or copied under another key): group ids.
    #[pyo3(signature = (*, older_than=None))]
    fn needs_self_update(
        &self,
        py: Python<'_>,
        older_than: Option<&Bound<'_, PyDelta>>,
    ) -> PyResult<Vec<String>> {
        let older_than = match older_than {
            Some(age) => args::seconds("older_than", age)?,
            None => self.self_update_every,
        };
        let groups = self.call(py, |e| e.needs_self_update(older_than))?;
        Ok(groups.iter().map(mdk_wire::GroupId::to_hex).collect())
    }
}
