//! Secret bytes: kept in locked memory, wiped on drop, compared in constant time, never printed.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::locked::Slot;

pub use crate::stack::{apart, wipe_stack};

/// `N` secret bytes.
///
/// Up to 64 bytes lie in pages that the system does not swap out and leaves out of core dumps. If the system cannot be
/// told so, one warning per process says that. Moving the value moves no byte of the secret.
pub struct Secret<const N: usize>(Memory<N>);

enum Memory<const N: usize> {
    Locked(Slot),
    Heap(Box<[u8; N]>),
}

impl<const N: usize> Secret<N> {
    /// Takes the bytes. Wipe the original yourself if it is kept.
    #[must_use]
    pub fn new(mut bytes: [u8; N]) -> Self {
        let secret = Self::init(|own| own.copy_from_slice(&bytes));
        bytes.zeroize();
        secret
    }

    /// Lets `write` make the secret where it will stay, so that there is never a second copy of it. It starts as zeros.
    #[must_use]
    pub fn init(write: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(match Slot::take() {
            Some(slot) if N <= slot.bytes().len() => Memory::Locked(slot),
            _ => Memory::Heap(Box::new([0; N])),
        });
        write(secret.bytes_mut());
        secret
    }

    /// A copy of `bytes`, or `None` if there are not `N`.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == N).then(|| Self::init(|own| own.copy_from_slice(bytes)))
    }

    /// Reads the secret.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        match &self.0 {
            Memory::Locked(slot) => slot.bytes().first_chunk().expect("init compares the lengths"),
            Memory::Heap(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8; N] {
        match &mut self.0 {
            Memory::Locked(slot) => {
                slot.bytes_mut().first_chunk_mut().expect("init compares the lengths")
            }
            Memory::Heap(bytes) => bytes,
        }
    }
}

impl<const N: usize> Clone for Secret<N> {
    fn clone(&self) -> Self {
        Self::init(|own| own.copy_from_slice(self.expose()))
    }
}

impl<const N: usize> Zeroize for Secret<N> {
    fn zeroize(&mut self) {
        self.bytes_mut().zeroize();
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_slice().ct_eq(other.expose().as_slice()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Secret bytes of variable length.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretVec(Vec<u8>);

impl SecretVec {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Reads the secret.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Clone for SecretVec {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl PartialEq for SecretVec {
    /// Constant time for equal lengths; the length itself is not secret.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretVec {}

impl fmt::Debug for SecretVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretVec(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_redacted_and_equality_is_by_value() {
        let secret = Secret::new([0xab; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret, Secret::new([0xab; 32]));
        assert_ne!(secret, Secret::new([0xac; 32]));
        let bytes = SecretVec::new(vec![0xab; 5]);
        assert_eq!(format!("{bytes:#?}"), "SecretVec(..)");
        assert_eq!(bytes, SecretVec::new(vec![0xab; 5]));
        assert_ne!(bytes, SecretVec::new(vec![0xab; 6]));
    }

    #[test]
    fn every_length_keeps_its_bytes() {
        fn holds<const N: usize>() {
            let mut secret = Secret::new([0x5a; N]);
            assert_eq!(secret.expose(), &[0x5a; N]);
            assert_eq!(Secret::from_slice(&[0x5a; N]), Some(secret.clone()));
            assert_eq!(Secret::<N>::from_slice(&vec![0; N + 1]), None);
            secret.zeroize();
            assert_eq!(secret.expose(), &[0; N]);
        }
        holds::<0>();
        holds::<1>();
        holds::<32>();
        holds::<64>();
        holds::<65>();
        holds::<5000>();
    }
}
