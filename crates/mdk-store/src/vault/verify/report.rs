//! The report of a proof.

use crate::{files::Place, recovery::plain_copy};

/// Most bad pages that a report names.
const MAX_PAGES: usize = 1000;
/// Most sentences of one kind that a report has.
pub(super) const MAX_LINES: usize = 100;

/// The sentence about leftovers of an interrupted encryption.
const PLAIN_COPY: &str = "an unencrypted copy of the database is still beside it (its name ends in .encrypt): the \
     encryption in place was interrupted. Encrypt once more with the same key, or open the database: that removes it";

/// The result of `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Pages in the file.
    pub pages: u64,
    /// Numbers (from 1) of pages that fail their HMAC, ascending, the first 1,000. A page whose newest version is
    /// in the write-ahead log is judged by that version.
    pub bad_pages: Vec<u64>,
    /// The number of pages that fail.
    pub bad_page_count: u64,
    /// Pages whose newest version was found in the write-ahead log.
    pub log_pages: u64,
    /// The findings of SQLite's `integrity_check` and `foreign_key_check`, and faults in the length of the file and its
    /// log, without content; the first 100. A plain copy that an interrupted encryption in place has left is named
    /// here, too.
    pub structure: Vec<String>,
    /// The contradictions in groups and messages, without ids; the first 100.
    pub logic: Vec<String>,
    /// Remarks that are no fault, and may hide one: the last transaction in the write-ahead log does not count, because
    /// it is damaged or was never finished. A process that is killed while it writes leaves that. Damage to a finished
    /// transaction looks the same.
    pub remarks: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.bad_page_count == 0 && self.structure.is_empty() && self.logic.is_empty()
    }

    pub(super) fn add_pages(&mut self, bad: &[u32]) {
        self.bad_page_count = bad.len() as u64;
        self.bad_pages = bad.iter().take(MAX_PAGES).map(|&n| u64::from(n)).collect();
    }

    /// `place` is the place of the database, not of a copy of it.
    pub(super) fn finish(mut self, place: Option<&Place>) -> Self {
        if place.is_some_and(plain_copy::is_there) {
            self.structure.insert(0, PLAIN_COPY.to_owned());
        }
        self.structure.truncate(MAX_LINES);
        self.logic.truncate(MAX_LINES);
        self
    }
}
