//! A key in an environment variable.

use mdk_wire::Secret;
use zeroize::Zeroizing;

use super::text_format;
use crate::OpenError;

/// Longest name of a file or of a variable.
pub(crate) const MAX_NAME: usize = 255;

/// Checks the name of a variable.
pub(crate) fn check_variable(name: &str) -> Result<(), OpenError> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(['=', '\0']) {
        return Err(OpenError::BadIdentifier { which: "variable name", limit: MAX_NAME });
    }
    Ok(())
}

/// The key that the variable holds.
pub(crate) fn variable(name: &str) -> Result<Secret<32>, OpenError> {
    check_variable(name)?;
    let text = match std::env::var(name).map(Zeroizing::new) {
        Ok(text) => text,
        Err(std::env::VarError::NotPresent) => {
            return Err(OpenError::KeyMissing { source: "env" });
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            return Err(OpenError::KeyMalformed { source: "env" });
        }
    };
    text_format::decode_any(text.as_bytes(), false, "env")
}
