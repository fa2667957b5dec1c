//! What can be done with a whole database: prove it intact, encrypt it anew, move it, save it, describe it.
//!
//! Every operation can be killed at any point: what stood before still stands, or the new state does. Each takes a
//! [`Progress`] that is told how far it is and may cancel.

mod archive;
mod backup;
mod doctor;
mod encrypt;
mod error;
mod log;
mod look;
mod new_file;
pub(crate) mod pages;
mod progress;
mod rekey;
mod remembered;
mod restore;
mod rows;
mod salvage;
mod scratch;
mod verify;

pub use backup::BackupReport;
pub use doctor::{DoctorReport, Finding, Level, doctor};
pub(crate) use encrypt::recover as recover_encryption;
pub use encrypt::{EncryptReport, encrypt_existing};
pub use error::VaultError;
pub(crate) use log::{is_damaged as log_is_damaged, is_empty as log_is_empty};
pub(crate) use look::doubt;
pub(crate) use pages::{MAGIC, SALT, read_at};
pub use progress::{Progress, Stage, Step};
pub use rekey::RekeyReport;
pub(crate) use rekey::{clean_up, interrupted_key, opens, settle_interrupted};
pub use remembered::remembered;
pub use restore::{RestoreReport, restore};
pub use salvage::{SalvageReport, salvage};
pub use scratch::backup;
pub(crate) use verify::bad_pages;
pub use verify::{VerifyReport, verify};
