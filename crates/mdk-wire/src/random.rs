//! Randomness as an argument.

/// A source of random bytes that is fit for keys and nonces.
pub trait Random {
    /// Fills `buf` with random bytes.
    fn fill(&mut self, buf: &mut [u8]);
}

/// The operating system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    /// Fills `buf` from the operating system.
    ///
    /// # Panics
    ///
    /// If the operating system has no random source; nothing safe can be done without one.
    fn fill(&mut self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system provides randomness");
    }
}

/// A uniform number in `0..=max`; the bias of one 64-bit draw is below 2^-40 for the ranges used here.
pub(crate) fn up_to(rng: &mut dyn Random, max: u32) -> u64 {
    let mut bytes = [0u8; 8];
    rng.fill(&mut bytes);
    let wide = u128::from(u64::from_le_bytes(bytes)) * (u128::from(max) + 1);
    (wide >> 64) as u64
}
