//! `mdk.SignedEvent`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyString, PyTuple};

use crate::errors::Raise;
use crate::public_key::PublicKey;
use crate::views::{self, ToPy};

/// A Nostr event whose id and signature were verified (NIP-01). Equal if id and signature are equal.
#[pyclass(frozen, eq, hash, module = "mdk")]
#[derive(Clone)]
pub(crate) struct SignedEvent(pub(crate) mdk_wire::Event);

#[pymethods]
impl SignedEvent {
    /// Reads an event from JSON, strictly: the seven members of NIP-01 and nothing else, at most 1 MiB.
    ///
    /// Raises:
    ///     InvalidEvent: it is malformed, or its id or signature does not verify.
    #[staticmethod]
    fn from_json(py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let json = Json::extract(text)?;
        py.detach(|| mdk_wire::Event::from_json(json.as_bytes()))
            .map(Self)
            .map_err(|error| Raise::event("text", &error.error).into_err(py))
    }

    /// The event as compact JSON, ready for a relay.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// Its id, 64 hex digits.
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_hex()
    }

    /// Its kind, 0 to 65535.
    #[getter]
    fn kind(&self) -> u16 {
        self.0.kind()
    }

    /// Who signed it. For kinds 445 and 1059 a key that was used once.
    #[getter]
    fn pubkey(&self) -> PublicKey {
        PublicKey(self.0.pubkey())
    }

    /// The signer's time, UTC. After the year 9999 the last second of that year.
    #[getter]
    fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        views::time(py, self.0.created_at())
    }

    /// Its tags.
    #[getter]
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        views::tags(py, self.0.tags())
    }

    /// Its content.
    #[getter]
    fn content(&self) -> &str {
        self.0.content()
    }

    fn __repr__(&self) -> String {
        format!("<SignedEvent kind={} id={}…>", self.0.kind(), &self.0.id().to_hex()[..8])
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().getattr("from_json")?, (slf.get().0.to_json(),)))
    }
}

impl PartialEq for SignedEvent {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id() && self.0.sig() == other.0.sig()
    }
}

impl std::hash::Hash for SignedEvent {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl<'py> ToPy<'py> for mdk_wire::Event {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, SignedEvent(self))?.into_any())
    }
}

/// JSON that stays where Python has it.
pub(crate) enum Json {
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl Json {
    pub(crate) fn extract(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::extract_from(value, "str, bytes or bytearray")
    }

    /// `accepted` is what the caller of the call may give.
    fn extract_from(value: &Bound<'_, PyAny>, accepted: &str) -> PyResult<Self> {
        let Ok(text) = value.cast::<PyString>() else {
            return value.extract().map(Self::Bytes).map_err(|_| wrong_type(value, accepted));
        };
        match text.extract() {
            Ok(text) => Ok(Self::Text(text)),
            // Lone surrogates are no UTF-8: for the verdict on the event, not for an exception.
            Err(_) => {
                Ok(Self::Bytes(text.call_method1("encode", ("utf-8", "surrogatepass"))?.extract()?))
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

fn wrong_type(value: &Bound<'_, PyAny>, accepted: &str) -> PyErr {
    match value.get_type().name() {
        Ok(name) => PyTypeError::new_err(format!("expected {accepted}, not {name}")),
        Err(error) => error,
    }
}

/// What `process` accepts: a verified event, or JSON to verify.
pub(crate) enum Incoming {
    Event(mdk_wire::Event),
    Json(Json),
}

impl Incoming {
    pub(crate) fn extract(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        match value.cast::<SignedEvent>() {
            Ok(event) => Ok(Self::Event(event.get().0.clone())),
            Err(_) => {
                Json::extract_from(value, "SignedEvent, str, bytes or bytearray").map(Self::Json)
            }
        }
    }

    pub(crate) fn borrow(&self) -> mdk_core::Incoming<'_> {
        match self {
            Self::Event(event) => mdk_core::Incoming::Verified(event.clone()),
            Self::Json(json) => mdk_core::Incoming::Json(json.as_bytes()),
        }
    }
}
