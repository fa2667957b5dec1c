//! `mdk.Keys`.

use mdk_wire::WireError;
use mdk_wire::secret::apart;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::args;
use crate::errors::{Class, Raise};
use crate::public_key::PublicKey;
use crate::text::{PathText, Text};

/// A Nostr key pair. The secret lives in Rust memory that is wiped; `repr()` shows the npub, pickling raises TypeError.
///
/// The `str` or environment variable that a secret comes from is Python's: it cannot be wiped.
#[pyclass(frozen, module = "mdk")]
pub(crate) struct Keys(pub(crate) mdk_wire::Keys);

#[pymethods]
impl Keys {
    /// A new random key pair.
    #[staticmethod]
    fn generate() -> Self {
        Self(apart(mdk_wire::Keys::generate))
    }

    /// Parses an nsec (NIP-19), 64 hex digits, or, with a password, an ncryptsec (NIP-49).
    ///
    /// Decrypting an ncryptsec takes time on purpose (scrypt).
    ///
    /// Raises:
    ///     InvalidKey: it does not parse, or the password is missing.
    ///     WrongPassword: the password does not open the ncryptsec; a CryptoError, and an InvalidKey.
    #[staticmethod]
    #[pyo3(signature = (secret, password=None))]
    fn parse(py: Python<'_>, secret: Text, password: Option<Text>) -> PyResult<Self> {
        let secret = secret.key("secret")?;
        let password = password.as_ref().map(|text| text.key("password")).transpose()?;
        py.detach(|| parse("secret", secret, password)).map_err(|raise| raise.into_err(py))
    }

    /// The key pair in an environment variable, as `parse()` reads it.
    ///
    /// Args:
    ///     name: the name of the variable.
    ///     remove: remove it when it was read, so that programs that this one starts do not get it. The system shows the
    ///         environment that this program was started with (/proc/PID/environ) as long as it runs.
    ///
    /// Raises:
    ///     InvalidKey: the variable is not set or does not parse.
    #[staticmethod]
    #[pyo3(
        signature = (name=Text::Fixed("MDK_NSEC"), *, remove=false),
        text_signature = "(name='MDK_NSEC', *, remove=False)"
    )]
    fn from_env(py: Python<'_>, name: Text, remove: bool) -> PyResult<Self> {
        let missing = || Raise::key("name", "the environment variable is not set");
        let name = name.key("name")?;
        let text = args::environment(name).ok_or_else(missing)?;
        let keys = parse("name", text.trim(), None)?;
        if remove {
            args::remove_environment(py, name)?;
        }
        Ok(keys)
    }

    /// The key pair in a text file, as `parse()` reads it; white space around it is ignored.
    ///
    /// Raises:
    ///     FileMissing: there is no such file.
    ///     InsecureFile: others may read or write the file, or write into its folder.
    ///     StorageError: it cannot be read.
    ///     InvalidKey: it does not parse, or is an ncryptsec: that needs `parse()` and its password.
    #[staticmethod]
    fn from_file(path: PathText) -> PyResult<Self> {
        Ok(parse("path", args::secret_file(&path.get()?)?.trim(), None)?)
    }

    /// The public half.
    #[getter]
    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key())
    }

    /// The secret as an nsec: the one explicit way out. What Python holds cannot be wiped.
    fn reveal_nsec(&self) -> String {
        apart(|| self.0.reveal_nsec().to_string())
    }

    fn __repr__(&self) -> String {
        format!("<Keys {}>", self.0.public_key().to_npub())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("Keys cannot be pickled or copied: they hold a secret"))
    }
}

fn parse(field: &'static str, text: &str, password: Option<&str>) -> Result<Keys, Raise> {
    // Parsing and decrypting leave the secret on the stack.
    let keys = if text.starts_with("ncryptsec1") {
        let password = password.ok_or_else(|| {
            Raise::key(field, "an ncryptsec needs its password")
                .text("hint", "Read the text and give both: Keys.parse(text, password).")
        })?;
        apart(|| mdk_wire::Keys::decrypt(text, password))
    } else {
        apart(|| mdk_wire::Keys::parse(text))
    };
    keys.map(Keys).map_err(|error| match error {
        WireError::WrongPassword => {
            Raise::new(Class::WrongPassword, error).text("field", "password")
        }
        error => Raise::key(field, error),
    })
}
