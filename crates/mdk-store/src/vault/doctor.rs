//! One report about everything that a database depends on.

mod contents;
mod files;
mod key;
mod system;

use std::path::Path;

use super::{Progress, Stage, VaultError};
use crate::{
    DatabaseKey, FileRole, OpenError,
    files::{Place, is_missing, names},
};

/// Parts that the report is made of.
const PARTS: u64 = 5;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Works, but should be changed.
    Warning,
    /// Does not work.
    Error,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How serious.
    pub level: Level,
    /// What it is about: `directory`, `filesystem`, `space`, `files`, `database`, `leftovers`, `lock`, `key`, `versions`,
    /// `build`, `clock`, `memory` or `core`.
    pub topic: &'static str,
    /// What was found: no path, no secret; the service id and the key id may appear.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DoctorReport {
    /// The findings, in a fixed order of topics.
    pub findings: Vec<Finding>,
}

impl DoctorReport {
    /// The most serious level in it; `Ok` when there is nothing.
    #[must_use]
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn say(&mut self, level: Level, topic: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { level, topic, text: text.into(), hint: None });
    }

    /// Says something else about a topic than that all is well.
    fn correct(
        &mut self,
        level: Level,
        topic: &'static str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (text, hint) = (text.into(), Some(hint.into()));
        let well = |finding: &&mut Finding| finding.topic == topic && finding.level == Level::Ok;
        if let Some(finding) = self.findings.iter_mut().find(well) {
            *finding = Finding { level, topic, text, hint };
        }
    }

    fn advise(
        &mut self,
        level: Level,
        topic: &'static str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (text, hint) = (text.into(), Some(hint.into()));
        self.findings.push(Finding { level, topic, text, hint });
    }
}

/// Looks at everything that the database at `path` depends on. Takes less than two seconds.
///
/// Nothing is created or changed, and neither database nor key has to be there. A database that somebody has open is
/// not looked into, only at. With a key, and the database not open, it is seen whether they belong together and whether
/// the file has all its pages; a file descriptor is not read for that, because it can be read only once.
///
/// Progress counts the parts that are looked at (files, lock, log, key, system), not bytes: how much a part reads is known
/// when it has been read.
///
/// # Errors
/// [`VaultError::Cancelled`]. What is wrong is reported.
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

/// The place of a file, `None` if there is no directory for it yet. Never makes a directory.
fn place_of(path: &Path) -> Result<Option<Place>, OpenError> {
    names::check(path, FileRole::Database)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.file_name().is_some() && is_missing(parent) {
        return Ok(None);
    }
    Place::of(path, FileRole::Database).map(Some)
}
