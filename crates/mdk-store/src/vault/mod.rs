//! Operations on a whole database: prove it intact, encrypt it anew, move it, save it, describe it.
//!
//! Every operation can be killed at any point: either the old state or the new one is there. Each takes a [`Progress`]
//! that is told how far it is and may cancel.

mod archive;
mod backup;
mod doctor;
mod encrypt;
mod error;
mod look;
mod new_file;
mod progress;
mod rekey;
mod remembered;
mod restore;
mod rows;
mod salvage;
mod scratch;
mod verify;

pub use backup::{BackupReport, backup};
pub use doctor::{DoctorReport, Finding, Level, doctor};
pub use encrypt::{EncryptReport, encrypt_existing};
pub use error::VaultError;
pub use progress::{Progress, Stage, Step};
pub use rekey::RekeyReport;
pub use remembered::remembered;
pub use restore::{RestoreReport, restore};
pub use salvage::{SalvageReport, salvage};
pub use verify::{VerifyReport, verify};
