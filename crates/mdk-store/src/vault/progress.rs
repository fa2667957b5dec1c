//! The progress of a long operation.

use std::ops::ControlFlow;

use mdk_wire::secret::wipe_stack;

use super::VaultError;

/// The current work of an operation on a whole database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Deriving a key from a passphrase.
    Deriving,
    /// Reading and authenticating pages or blocks.
    Checking,
    /// Writing pages, rows or blocks.
    Writing,
    /// Comparing what was written with its source.
    Comparing,
    /// Overwriting what must not remain.
    Wiping,
}

impl Stage {
    /// A stable lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deriving => "deriving",
            Self::Checking => "checking",
            Self::Writing => "writing",
            Self::Comparing => "comparing",
            Self::Wiping => "wiping",
        }
    }
}

/// One report: `done` of `total` bytes of `stage`; [`doctor`](fn@crate::doctor) counts the parts of its report instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The current work.
    pub stage: Stage,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, 0 if unknown.
    pub total: u64,
}

/// The receiver of progress. `Break` cancels the operation as long as nothing was changed. A check of all pages is one
/// step, which SQLCipher takes at once.
pub struct Progress<'a>(Option<&'a mut dyn FnMut(Step) -> ControlFlow<()>>);

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress(..)")
    }
}

impl<'a> Progress<'a> {
    /// Tells `f`.
    pub fn new(f: &'a mut dyn FnMut(Step) -> ControlFlow<()>) -> Self {
        Self(Some(f))
    }

    /// Tells nobody.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Reports one step.
    pub(crate) fn tell(&mut self, stage: Stage, done: u64, total: u64) -> Result<(), VaultError> {
        let Some(f) = &mut self.0 else { return Ok(()) };
        // The receiver may take long. Secrets that ciphers have left on the stack do not stay there for that time.
        wipe_stack();
        match f(Step { stage, done, total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(VaultError::Cancelled),
        }
    }
}
