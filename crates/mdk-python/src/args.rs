//! Arguments: Python objects as the engine's types, or `InvalidInput` with the field.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use mdk_wire::{Event, EventId, GroupId, KeyPackageRef, PublicKey};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyDelta, PyDeltaAccess, PyString};
use zeroize::Zeroizing;

use crate::errors::{Class, Raise};
use crate::public_key;
use crate::signed_event::SignedEvent;

/// Largest key file that is read, in bytes.
const MAX_SECRET_FILE: u64 = 4096;

pub(crate) fn group(text: &str) -> Result<GroupId, Raise> {
    GroupId::from_hex(text).map_err(|_| Raise::input("group_id", "not lower-case hex"))
}

pub(crate) fn event_id(field: &'static str, text: &str) -> Result<EventId, Raise> {
    EventId::from_hex(text).map_err(|_| Raise::input(field, "not 64 lower-case hex digits"))
}

pub(crate) fn key_package_ref(text: &str) -> Result<KeyPackageRef, Raise> {
    KeyPackageRef::from_hex(text).map_err(|_| Raise::input("ref", "not 64 lower-case hex digits"))
}

pub(crate) fn cursor(text: Option<&str>) -> Result<i64, Raise> {
    text.map_or(Ok(0), |text| text.parse().map_err(|_| Raise::input("after", "not a cursor")))
}

/// An int; beyond 64 bits it stands at the border, so that it fails the range check of [`uint`].
#[derive(Clone, Copy)]
pub(crate) struct Int(pub(crate) i64);

impl FromPyObject<'_, '_> for Int {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match value.extract() {
            Ok(number) => Ok(Self(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
                Ok(Self(if value.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

/// An int from 0 to `limit`.
pub(crate) fn uint<T: TryFrom<i64>>(
    field: &'static str,
    Int(value): Int,
    limit: u32,
) -> Result<T, Raise> {
    let refuse = || match u64::try_from(value) {
        Ok(value) => Raise::size(field, "too large", limit.into(), value),
        Err(_) => Raise::input(field, "negative"),
    };
    if !(0..=i64::from(limit)).contains(&value) {
        return Err(refuse());
    }
    T::try_from(value).map_err(|_| refuse())
}

/// A duration in whole seconds.
pub(crate) fn seconds(field: &'static str, value: &Bound<'_, PyDelta>) -> Result<u64, Raise> {
    if value.get_microseconds() != 0 {
        return Err(Raise::input(field, "not whole seconds"));
    }
    Ok(duration_millis(field, value)? / 1000)
}

pub(crate) fn duration_millis(
    field: &'static str,
    value: &Bound<'_, PyDelta>,
) -> Result<u64, Raise> {
    let seconds = i64::from(value.get_days()) * 86_400 + i64::from(value.get_seconds());
    let millis = seconds * 1000 + i64::from(value.get_microseconds() / 1000);
    u64::try_from(millis).map_err(|_| Raise::input(field, "negative"))
}

/// An aware datetime as milliseconds since the Unix epoch.
pub(crate) fn millis(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let value = value.cast::<PyDateTime>()?;
    if value.call_method0("utcoffset")?.is_none() {
        return Err(Raise::input(field, "a datetime without a time zone").into());
    }
    let seconds: f64 = value.call_method0("timestamp")?.extract()?;
    if seconds < 1.0 {
        return Err(Raise::input(field, "before 1970").into());
    }
    // Exact: milliseconds until the year 9999 need 48 bits.
    Ok((seconds * 1000.0).round() as u64)
}

/// Any iterable but a text, whose items would be its characters.
fn items<'py>(field: &'static str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if value.is_instance_of::<PyString>() {
        return Err(Raise::input(field, "one str instead of a list").into());
    }
    Ok(value.try_iter()?.into_any())
}

pub(crate) fn strings(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    items(field, value)?.try_iter()?.map(|item| item?.extract()).collect()
}

pub(crate) fn tags(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<String>>> {
    items(field, value)?.try_iter()?.map(|item| strings(field, &item?)).collect()
}

pub(crate) fn public_keys(
    field: &'static str,
    value: &Bound<'_, PyAny>,
) -> PyResult<Vec<PublicKey>> {
    items(field, value)?.try_iter()?.map(|item| public_key::argument(field, &item?)).collect()
}

pub(crate) fn events(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Event>> {
    items(field, value)?
        .try_iter()?
        .map(|item| Ok(item?.cast::<SignedEvent>().map_err(PyErr::from)?.get().0.clone()))
        .collect()
}

/// An environment variable, if it is set and text.
pub(crate) fn environment(name: &str) -> Option<Zeroizing<String>> {
    // `std::env::var` would panic on such names on some systems.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    std::env::var(name).ok().map(Zeroizing::new)
}

/// The text of a file that only its owner can access.
pub(crate) fn secret_file(path: &Path) -> Result<Zeroizing<String>, Raise> {
    let failed = |error: std::io::Error| {
        Raise::new(Class::StorageError, format!("reading the key file failed: {}", error.kind()))
    };
    // Before opening, which would wait for the writer of a FIFO.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(Raise::new(Class::InsecureFile, "the key file is not a regular file"));
    }
    let file = File::open(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = format!("the key file has mode {mode:03o}; run `chmod 600` on it");
            return Err(Raise::new(Class::InsecureFile, message));
        }
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_FILE as usize + 1));
    file.take(MAX_SECRET_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_SECRET_FILE {
        return Err(Raise::key("path", "the key file is too large"));
    }
    Ok(text)
}
