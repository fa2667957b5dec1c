//! `mdk.PublicKey`.

use pyo3::prelude::*;

use crate::errors::Raise;
use crate::text::Text;

/// A Nostr public key (NIP-01, x-only secp256k1). Hashable and ordered; `str()` is the npub.
#[pyclass(frozen, eq, ord, hash, module = "mdk")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PublicKey(pub(crate) mdk_wire::PublicKey);

#[pymethods]
impl PublicKey {
    /// Parses an npub or an nprofile (NIP-19), also as a `nostr:` link (NIP-21), or 64 hex digits.
    ///
    /// Raises:
    ///     InvalidKey: it is none of these, or no point on the curve.
    #[staticmethod]
    fn parse(value: Text) -> PyResult<Self> {
        Ok(Self(parse("value", &value)?))
    }

    /// The relays that an nprofile names for its account. Private: nobody has checked them.
    #[staticmethod]
    fn _relays_in(value: Text) -> PyResult<Vec<String>> {
        Ok(mdk_wire::PublicKey::relays_in(value.key("value")?))
    }

    /// The accounts that a message with this text and these tags mentions.
    #[staticmethod]
    fn _mentioned(text: Text, tags: Vec<Vec<String>>) -> PyResult<Vec<Self>> {
        let keys = mdk_wire::mentions::in_message(text.get("text")?, &tags);
        Ok(keys.into_iter().map(Self).collect())
    }

    /// 64 lower-case hex digits.
    #[getter]
    fn hex(&self) -> String {
        self.0.to_hex()
    }

    /// The npub (NIP-19).
    #[getter]
    fn npub(&self) -> String {
        self.0.to_npub()
    }

    fn __str__(&self) -> String {
        self.0.to_npub()
    }

    fn __repr__(&self) -> String {
        format!("PublicKey.parse('{}')", self.0.to_npub())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().getattr("parse")?, (slf.get().0.to_hex(),)))
    }
}

fn parse(field: &'static str, text: &Text) -> Result<mdk_wire::PublicKey, Raise> {
    mdk_wire::PublicKey::parse(text.key(field)?).map_err(|error| Raise::key(field, error))
}

/// An argument that is a `PublicKey` or its text.
pub(crate) fn argument(
    field: &'static str,
    value: &Bound<'_, PyAny>,
) -> PyResult<mdk_wire::PublicKey> {
    if let Ok(key) = value.cast::<PublicKey>() {
        return Ok(key.get().0);
    }
    Ok(parse(field, &value.extract::<Text>()?)?)
}
