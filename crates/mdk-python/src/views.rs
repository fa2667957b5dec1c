//! Values of the engine as the frozen dataclasses of `mdk.values`. A time after the year 9999, which `datetime` does
//! not know, is its last second.

use std::sync::{Mutex, PoisonError};

use mdk_core::{
    Attachment, Delivery, EncryptedMedia, GroupInfo, GroupState, Interest, Invite, KeyPackageInfo,
    KeyPackageVerdict, Member, Message, Outgoing, Reaction, StoreInfo,
};
use mdk_wire::{ContentId, EventId, GroupId, KeyPackageRef, NostrGroupId, PublicKey};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDelta, PyFrozenSet, PyString, PyTuple, PyTzInfo};

use crate::errors::Raise;

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;
/// Most days in a `timedelta`.
const MAX_DAYS: u64 = 999_999_999;

/// A value that Python can see.
pub(crate) trait ToPy<'py>: Sized {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

/// An attribute of a Python module, looked up once.
macro_rules! imported {
    ($py:expr, $module:literal, $name:literal) => {{
        static ATTRIBUTE: ::pyo3::sync::PyOnceLock<::pyo3::Py<::pyo3::PyAny>> =
            ::pyo3::sync::PyOnceLock::new();
        ATTRIBUTE.import($py, $module, $name)
    }};
}

/// Calls a class of Python with positional arguments, each converted by [`ToPy`].
macro_rules! build {
    ($py:expr, $module:literal, $class:literal, $($value:expr),* $(,)?) => {{
        let arguments = [$($crate::views::ToPy::to_py($value, $py)?),*];
        let class = $crate::views::imported!($py, $module, $class)?;
        ::pyo3::types::PyAnyMethods::call1(class, ::pyo3::types::PyTuple::new($py, arguments)?)
    }};
}
pub(crate) use {build, imported};

macro_rules! plain {
    ($($type:ty),*) => { $(
        impl<'py> ToPy<'py> for $type {
            fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                pyo3::IntoPyObjectExt::into_bound_py_any(self, py)
            }
        }
    )* };
}
plain!(bool, i64, u16, u32, u64, usize, &str, String);

macro_rules! hex {
    ($($type:ty),*) => { $(
        impl<'py> ToPy<'py> for $type {
            fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(PyString::new(py, &self.to_hex()).into_any())
            }
        }
    )* };
}
hex!(GroupId, NostrGroupId, EventId, ContentId, KeyPackageRef);

impl<'py> ToPy<'py> for Bound<'py, PyAny> {
    fn to_py(self, _py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self)
    }
}

impl<'py, T: ToPy<'py>> ToPy<'py> for Option<T> {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.map_or_else(|| Ok(py.None().into_bound(py)), |value| value.to_py(py))
    }
}

/// A list of the engine is a tuple of Python: frozen, like what contains it.
impl<'py, T: ToPy<'py>> ToPy<'py> for Vec<T> {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyTuple::new(py, list(py, self)?)?.into_any())
    }
}

impl<'py, T: ToPy<'py>> ToPy<'py> for Box<T> {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (*self).to_py(py)
    }
}

impl<'py> ToPy<'py> for PublicKey {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, crate::public_key::PublicKey(self))?.into_any())
    }
}

/// Each converted, for a `list` of Python.
pub(crate) fn list<'py, T: ToPy<'py>>(
    py: Python<'py>,
    values: Vec<T>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    values.into_iter().map(|value| value.to_py(py)).collect()
}

pub(crate) fn set<'py, T: ToPy<'py>>(
    py: Python<'py>,
    values: impl IntoIterator<Item = T>,
) -> PyResult<Bound<'py, PyAny>> {
    let values: PyResult<Vec<_>> = values.into_iter().map(|value| value.to_py(py)).collect();
    Ok(PyFrozenSet::new(py, values?)?.into_any())
}

pub(crate) fn tags<'py>(py: Python<'py>, tags: &[Vec<String>]) -> PyResult<Bound<'py, PyTuple>> {
    let tags: PyResult<Vec<_>> = tags.iter().map(|tag| PyTuple::new(py, tag)).collect();
    PyTuple::new(py, tags?)
}

/// Unix seconds as an aware datetime, UTC.
pub(crate) fn time(py: Python<'_>, seconds: u64) -> PyResult<Bound<'_, PyAny>> {
    static FROM_TIMESTAMP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    /// The last one that was made: times that are shown together are mostly of the same second.
    static LAST: Mutex<Option<(u64, Py<PyAny>)>> = Mutex::new(None);
    let lock = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((second, time)) = &*lock()
        && *second == seconds
    {
        return Ok(time.bind(py).clone());
    }
    let from_timestamp = FROM_TIMESTAMP.get_or_try_init(py, || {
        PyResult::Ok(py.import("datetime")?.getattr("datetime")?.getattr("fromtimestamp")?.unbind())
    })?;
    let time = from_timestamp.bind(py).call1((seconds.min(LAST_SECOND), PyTzInfo::utc(py)?))?;
    // The one before is dropped after the lock: no code of Python runs under it.
    let before = lock().replace((seconds, time.clone().unbind()));
    drop(before);
    Ok(time)
}

/// Seconds as a timedelta.
fn duration(py: Python<'_>, seconds: Option<u64>) -> PyResult<Bound<'_, PyAny>> {
    let Some(seconds) = seconds else {
        return Ok(py.None().into_bound(py));
    };
    let days = (seconds / 86_400).min(MAX_DAYS) as i32;
    Ok(PyDelta::new(py, days, (seconds % 86_400) as i32, 0, false)?.into_any())
}

impl<'py> ToPy<'py> for GroupState {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let name = match self {
            Self::Active => "ACTIVE",
            Self::Pending => "PENDING",
            Self::Leaving => "LEAVING",
            Self::Left => "LEFT",
            Self::Removed => "REMOVED",
            Self::Disbanded => "DISBANDED",
            // The enum may grow; a state that we cannot name is one that we cannot use.
            _ => "UNRECOVERABLE",
        };
        imported!(py, "mdk.values", "GroupState")?.getattr(name)
    }
}

/// `GroupState` as an argument.
pub(crate) fn group_state(value: &Bound<'_, PyAny>) -> PyResult<GroupState> {
    if !value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("state: not a GroupState"));
    }
    let state = imported!(value.py(), "mdk.values", "GroupState")?
        .call1((value,))
        .map_err(|_| Raise::input("state", "none of the values of GroupState"))?;
    Ok(match state.getattr("name")?.extract::<&str>()? {
        "ACTIVE" => GroupState::Active,
        "PENDING" => GroupState::Pending,
        "LEAVING" => GroupState::Leaving,
        "LEFT" => GroupState::Left,
        "REMOVED" => GroupState::Removed,
        "DISBANDED" => GroupState::Disbanded,
        _ => GroupState::Unrecoverable,
    })
}

impl<'py> ToPy<'py> for Delivery {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // Each kept, because looking a member up in its enum runs code of Python.
        static MEMBERS: [PyOnceLock<Py<PyAny>>; 3] = [const { PyOnceLock::new() }; 3];
        let (at, name) = match self {
            Self::Queued => (0, "QUEUED"),
            Self::Accepted => (1, "ACCEPTED"),
            Self::Failed => (2, "FAILED"),
        };
        let member = MEMBERS[at].get_or_try_init(py, || {
            imported!(py, "mdk.values", "Delivery")?.getattr(name).map(Bound::unbind)
        })?;
        Ok(member.bind(py).clone())
    }
}

impl<'py> ToPy<'py> for Member {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Self { public_key, is_admin, is_me, leaf_indexes } = self;
        build!(py, "mdk.values", "Member", public_key, is_admin, is_me, leaf_indexes)
    }
}

impl<'py> ToPy<'py> for Reaction {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.values", "Reaction", self.message_id, self.sender, self.emoji)
    }
}

impl<'py> ToPy<'py> for Attachment {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(
            py,
            "mdk.values",
            "Attachment",
            self.filename,
            self.mime_type,
            self.size,
            hex::encode(self.sha256),
            hex::encode(self.ciphertext_sha256),
            hex::encode(self.nonce),
            PyTuple::new(py, self.locators)?.into_any(),
            self.dimensions
                .map(|(w, h)| (w, h).into_pyobject(py))
                .transpose()?
                .map(Bound::into_any),
            self.thumbhash,
        )
    }
}

impl<'py> ToPy<'py> for EncryptedMedia {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Self { data, attachment, epoch, .. } = self;
        build!(
            py,
            "mdk.values",
            "EncryptedMedia",
            PyBytes::new(py, &data).into_any(),
            attachment,
            epoch,
        )
    }
}

impl<'py> ToPy<'py> for Message {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(
            py,
            "mdk.values",
            "Message",
            self.id,
            self.group_id,
            self.sender,
            self.kind,
            self.text,
            time(py, self.times.created_at)?,
            time(py, self.times.received_at)?,
            self.times.epoch,
            self.reply_to,
            self.attachments,
            self.reactions,
            self.fate.edited,
            self.fate.deleted,
            self.fate.invalidated,
            self.is_mine,
            self.fate.delivery,
            tags(py, &self.tags)?.into_any(),
        )
    }
}

impl<'py> ToPy<'py> for GroupInfo {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(
            py,
            "mdk.values",
            "GroupInfo",
            self.id,
            self.nostr_group_id,
            self.profile.name,
            self.profile.description,
            self.relays,
            set(py, self.admins)?,
            self.member_count,
            self.epoch,
            self.state,
            duration(py, self.retention)?,
            self.profile.has_image,
            self.unread_count,
            self.last_message,
            self.removals.sealing,
            self.removals.contested,
        )
    }
}

impl<'py> ToPy<'py> for KeyPackageInfo {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(
            py,
            "mdk.values",
            "KeyPackage",
            self.reference,
            self.event_id,
            self.slot,
            time(py, self.created_at)?,
            time(py, self.expires_at)?,
            self.relays,
            self.last_resort,
            self.used,
        )
    }
}

impl<'py> ToPy<'py> for KeyPackageVerdict {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (usable, code, rule, reason) = match self {
            Self::Usable => (true, None, None, None),
            Self::Unusable { rule, code, reason } => {
                (false, Some(code.as_str()), Some(rule), Some(reason))
            }
        };
        build!(py, "mdk.values", "KeyPackageVerdict", usable, code, rule, reason)
    }
}

impl<'py> ToPy<'py> for Invite {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(
            py,
            "mdk.values",
            "Invite",
            self.id,
            self.group_id,
            self.group_name,
            self.description,
            self.inviter,
            self.member_count,
            set(py, self.admins)?,
            self.relays,
            time(py, self.received_at)?,
        )
    }
}

impl<'py> ToPy<'py> for Outgoing {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.values", "Outgoing", self.event, self.message, self.relays)
    }
}

impl<'py> ToPy<'py> for Interest {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.values", "Filter", self.filter, self.relays)
    }
}

impl<'py> ToPy<'py> for StoreInfo {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let path = match self.path {
            Some(path) => path.into_os_string().into_pyobject(py)?.into_any(),
            None => py.None().into_bound(py),
        };
        build!(
            py,
            "mdk.values",
            "StoreInfo",
            path,
            self.schema_version,
            self.sqlcipher_version,
            self.size_bytes,
            if self.key_source == "none" { "memory" } else { self.key_source },
            self.rekeyed_at.map(|at| time(py, at)).transpose()?,
        )
    }
}
