//! Random keys and ids.

use mdk_wire::Secret;

use crate::{FileRole, OpenError, files};

/// A fresh random key.
pub(crate) fn fresh() -> Result<Secret<32>, OpenError> {
    let mut made = Ok(());
    let key = Secret::init(|out| made = getrandom::fill(out));
    made.map(|()| key).map_err(no_random)
}

pub(super) fn random_id() -> Result<String, OpenError> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    Ok(hex::encode(bytes))
}

pub(super) fn no_random(_: getrandom::Error) -> OpenError {
    files::io_error("getting random bytes for", FileRole::Key, &std::io::ErrorKind::Other.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The keys are made as for databases, by first openings and re-keys.
    #[test]
    fn ten_thousand_keys_are_unlike_and_their_bytes_even() {
        const KEYS: usize = 10_000;
        let (mut seen, mut counts) = (HashSet::new(), [0u32; 256]);
        for _ in 0..KEYS {
            let key = *fresh().unwrap().expose();
            key.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
            assert!(seen.insert(key));
        }
        let expected = (KEYS * 32) as f64 / 256.0;
        let chi: f64 = counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        // The 255 degrees of freedom give a mean of 255 and a deviation of 22.6. A value six deviations away occurs
        // once in a thousand million.
        assert!(chi < 255.0 + 6.0 * 22.6, "{chi}");
        assert!(chi > 255.0 - 6.0 * 22.6, "more even than chance: {chi}");
    }
}
