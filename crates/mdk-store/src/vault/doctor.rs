//! One report about everything that a database depends on.
//!
//! Each part adds its findings to the report: `files`, `key` (with `contents`) and `system`. `finding` is what they
//! add: the report, its lines and their levels.

mod contents;
mod files;
mod finding;
mod key;
mod system;

use std::path::Path;

use super::{Progress, Stage, VaultError};
use crate::DatabaseKey;
pub use finding::{DoctorReport, Finding, Level};

/// Parts that the report is made of.
const PARTS: u64 = 5;

/// Looks at everything that the database at `path` depends on. Takes less than two seconds.
///
/// Nothing is created or changed. Neither the database nor its key has to exist. A database that somebody has open is
/// looked at only from outside. With a key, and the database not open, the report says whether they belong together and
/// whether the file has all its pages. A file descriptor is not read for that, because it can be read only once.
///
/// Progress counts the parts of the report (files, lock, log, key, system), not bytes. The size of a part is known only
/// after it was read.
///
/// # Errors
/// [`VaultError::Cancelled`]. Faults are reported, and are no errors.
pub fn doctor(
    path: &Path,
    key: Option<&DatabaseKey>,
    progress: &mut Progress<'_>,
) -> Result<DoctorReport, VaultError> {
    let mut report = DoctorReport::default();
    let mut tell = |parts| progress.tell(Stage::Checking, parts, PARTS);
    tell(0)?;
    let (place, seen) = match files::directory(&mut report, path) {
        Ok(place) => (place, true),
        Err(_) => (None, false),
    };
    let place = place.as_ref();
    let family = files::family(&mut report, place, seen);
    let record = place.and_then(|place| key::record(place, &family));
    files::leftovers(&mut report, &family, record.as_ref());
    tell(1)?;
    let held = files::lock(&mut report, place, &family);
    tell(2)?;
    if let Some(place) = place.filter(|_| !held) {
        files::log(&mut report, place, &family);
    }
    tell(3)?;
    key::look(&mut report, place, key, (&family, record.as_ref()), held);
    tell(4)?;
    system::look(&mut report, &family);
    tell(PARTS)?;
    Ok(report)
}
