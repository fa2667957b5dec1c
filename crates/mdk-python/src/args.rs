//! Arguments: Python objects as the engine's types, or `InvalidInput` with the field.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use mdk_wire::limits::MAX_RELAY_URL_BYTES;
use mdk_wire::{Event, EventId, GroupId, KeyPackageRef, NostrGroupId, PublicKey};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDateTime, PyDelta, PyDeltaAccess, PyIterator, PyString,
};
use zeroize::Zeroizing;

use crate::errors::{self, Class, Detail, Raise};
use crate::public_key;
use crate::signed_event::SignedEvent;
use crate::text::Text;

/// Largest key file that is read, in bytes.
const MAX_SECRET_FILE: u64 = 4096;

pub(crate) fn group(text: &Text) -> Result<GroupId, Raise> {
    GroupId::from_hex(text.get("group_id")?)
        .map_err(|_| Raise::input("group_id", "not lower-case hex: use the id of a GroupInfo"))
}

pub(crate) fn route(field: &'static str, text: &Text) -> Result<NostrGroupId, Raise> {
    NostrGroupId::from_hex(text.get(field)?)
        .map_err(|_| Raise::input(field, "not 64 lower-case hex digits: use that of a GroupInfo"))
}

pub(crate) fn event_id(field: &'static str, text: &Text) -> Result<EventId, Raise> {
    EventId::from_hex(text.get(field)?).map_err(|_| {
        Raise::input(field, "not 64 lower-case hex digits: use an id that was given to you")
    })
}

pub(crate) fn key_package_ref(text: &Text) -> Result<KeyPackageRef, Raise> {
    KeyPackageRef::from_hex(text.get("ref")?).map_err(|_| {
        Raise::input("ref", "not 64 lower-case hex digits: use the ref of key_packages()")
    })
}

/// A cursor of the event log, exactly as the log writes them; `None` is its beginning.
pub(crate) fn cursor(text: Option<&Text>) -> Result<i64, Raise> {
    let Some(text) = text else { return Ok(0) };
    let text = text.get("after")?;
    text.parse::<i64>()
        .ok()
        .filter(|cursor| *cursor >= 0 && cursor.to_string() == text)
        .ok_or_else(|| Raise::input("after", "not a cursor: use that of an event"))
}

/// An int of any size.
pub(crate) enum Int {
    Small(i64),
    /// One beyond 64 bits, for the exception that it ends in.
    Large {
        value: Py<PyAny>,
        negative: bool,
    },
}

impl FromPyObject<'_, '_> for Int {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        // (a bool is an int in Python, and never meant here)
        if value.is_instance_of::<PyBool>() {
            return Err(PyTypeError::new_err("an int, not a bool"));
        }
        match value.extract() {
            Ok(number) => Ok(Self::Small(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
                let value = value.call_method0("__index__")?;
                Ok(Self::Large { negative: value.lt(0)?, value: value.unbind() })
            }
            Err(error) => Err(error),
        }
    }
}

/// An int from `low` to `high`.
pub(crate) fn range<T: TryFrom<i64>>(
    field: &'static str,
    value: Int,
    low: u32,
    high: u32,
) -> Result<T, Raise> {
    let (low, high) = (i64::from(low), i64::from(high));
    let (below, got, text) = match value {
        Int::Small(number) => {
            if (low..=high).contains(&number)
                && let Ok(number) = T::try_from(number)
            {
                return Ok(number);
            }
            (number < low, Detail::Signed(number), format!(", got {number}"))
        }
        // Its digits may be more than Python is willing to write.
        Int::Large { value, negative } => (negative, Detail::Object(value), String::new()),
    };
    let limit = if below { low } else { high };
    Err(Raise::input(field, &format!("must be {low} to {high}{text}"))
        .detail("limit", Detail::Signed(limit))
        .detail("value", got))
}

/// A duration in whole seconds.
pub(crate) fn seconds(field: &'static str, value: &Bound<'_, PyDelta>) -> Result<u64, Raise> {
    if value.get_microseconds() != 0 {
        return Err(Raise::input(field, "not whole seconds: leave the microseconds out"));
    }
    Ok(duration_millis(field, value)? / 1000)
}

pub(crate) fn duration_millis(
    field: &'static str,
    value: &Bound<'_, PyDelta>,
) -> Result<u64, Raise> {
    let seconds = i64::from(value.get_days()) * 86_400 + i64::from(value.get_seconds());
    let millis = seconds * 1000 + i64::from(value.get_microseconds() / 1000);
    u64::try_from(millis).map_err(|_| {
        Raise::input(field, "negative")
            .detail("limit", Detail::Signed(0))
            .detail("value", Detail::Signed(seconds))
    })
}

/// An aware datetime as milliseconds since the Unix epoch.
pub(crate) fn millis(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let value = value.cast::<PyDateTime>()?;
    if value.call_method0("utcoffset")?.is_none() {
        return Err(
            Raise::input(field, "a datetime without a time zone: use datetime.now(UTC)").into()
        );
    }
    let seconds: f64 = value.call_method0("timestamp")?.extract()?;
    if seconds < 1.0 {
        // In seconds since 1970: the first that is taken, and what was given.
        return Err(Raise::input(field, "not after the beginning of 1970")
            .detail("limit", Detail::Signed(1))
            .detail("value", Detail::Signed(seconds.floor() as i64))
            .into());
    }
    // Exact: milliseconds until the year 9999 need 48 bits.
    Ok((seconds * 1000.0).round() as u64)
}

/// Any iterable but a text, whose items would be its characters.
pub(crate) fn items<'py>(
    field: &'static str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyIterator>> {
    if value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
    {
        return Err(Raise::input(field, "one text instead of a list").into());
    }
    value.try_iter()
}

pub(crate) fn strings(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    items(field, value)?.map(|item| Ok(item?.extract::<Text>()?.get(field)?.to_owned())).collect()
}

/// Ids as MLS registers them: 16 bits.
pub(crate) fn ids(field: &'static str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<u16>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    items(field, value)?
        .map(|item| Ok(range(field, item?.extract()?, 0, u16::MAX.into())?))
        .collect()
}

/// Relay URLs: their length is judged here, where it can be told, and their form by the engine.
pub(crate) fn relays(value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let relays = strings("relays", value)?;
    match relays.iter().find(|url| url.len() > MAX_RELAY_URL_BYTES) {
        Some(url) => Err(Raise::relay_url(MAX_RELAY_URL_BYTES, url.len()).into()),
        None => Ok(relays),
    }
}

pub(crate) fn tags(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<String>>> {
    items(field, value)?.map(|item| strings(field, &item?)).collect()
}

pub(crate) fn public_keys(
    field: &'static str,
    value: &Bound<'_, PyAny>,
) -> PyResult<Vec<PublicKey>> {
    items(field, value)?.map(|item| public_key::argument(field, &item?)).collect()
}

pub(crate) fn events(field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Event>> {
    items(field, value)?
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

/// Removes an environment variable, from what Python shows of it as well.
pub(crate) fn remove_environment(py: Python<'_>, name: &str) -> PyResult<()> {
    let os = py.import("os")?;
    os.getattr("environ")?.call_method1("pop", (name, py.None()))?;
    os.call_method1("unsetenv", (name,))?;
    Ok(())
}

/// The text of a file that only its owner can access.
pub(crate) fn secret_file(path: &Path) -> Result<Zeroizing<String>, Raise> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            Raise::new(Class::FileMissing, format!("the key file does not exist: {path:?}"))
        }
        kind => Raise::new(errors::class_of(kind), format!("reading the key file failed: {kind}")),
    };
    // Before opening, which would wait for the writer of a FIFO.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(Raise::new(Class::NotARegularFile, "the key file is not a regular file"));
    }
    let file = mdk_store::open_to_read(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = format!("the key file has mode {mode:03o}; run `chmod 600` on it");
            // That of the class speaks of the key of a database.
            let hint = "Who has read it can act as this account from now on: then only a new identity helps.";
            return Err(Raise::new(Class::KeyFileTooWide, message)
                .detail("mode", Detail::Number(mode.into()))
                .text("hint", hint));
        }
        // Whoever can write there can put another account's key in its place.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mode = folder.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            let message =
                format!("others can write into the folder of the key file (mode {mode:03o})");
            return Err(Raise::new(Class::DirectoryTooWide, message)
                .detail("mode", Detail::Number(mode.into())));
        }
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_FILE as usize + 1));
    file.take(MAX_SECRET_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_SECRET_FILE {
        let size = path.metadata().map_or(text.len() as u64, |meta| meta.len());
        let problem = format!("the key file is too large (limit {MAX_SECRET_FILE}, got {size})");
        return Err(Raise::key("path", problem)
            .number("limit", Some(MAX_SECRET_FILE))
            .number("value", Some(size)));
    }
    Ok(text)
}

/// Seconds as a duration; none where they are no time.
pub(crate) fn time_of(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}
