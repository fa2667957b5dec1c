//! What the buffers of the backup's module lie in, which `targets::archive` includes. In what memory is nothing that an
//! input decides.

use std::ops::{Deref, DerefMut};

pub(crate) struct Undumped(Vec<u8>);

#[allow(dead_code)]
impl Undumped {
    pub(crate) fn zeros(length: usize) -> Self {
        Self(vec![0; length])
    }

    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }
}

impl Deref for Undumped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Undumped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}
