//! Components that belong to applications (ids from 0xF000).

use crate::error::WireError;
use crate::v2::codec::{limit_bytes, limit_entries};
use crate::v2::limits;

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-13", "an application-owned component has at most 4096 bytes"),
    ("2.2-14", "a group has at most 32 application-owned components"),
    ("2.2-15", "application-owned components have at most 8192 bytes together"),
];

/// First id of the range that applications own; their bytes are opaque.
pub const FIRST_APPLICATION_ID: u16 = 0xF000;

/// Checks the application-owned entries of one dictionary; entries with lower ids are skipped.
///
/// # Errors
/// One entry is too long, or there are too many, or they are too long together.
pub fn check_application_owned<'a>(
    entries: impl Iterator<Item = (u16, &'a [u8])>,
) -> Result<(), WireError> {
    let (mut count, mut total) = (0usize, 0usize);
    for (_, data) in entries.filter(|(id, _)| *id >= FIRST_APPLICATION_ID) {
        // rule: 2.2-13
        limit_bytes("application-owned component", data.len(), limits::APPLICATION_ENTRY_BYTES)?;
        count += 1;
        // rule: 2.2-14
        limit_entries("application-owned components", count, limits::APPLICATION_ENTRIES)?;
        total += data.len();
        // rule: 2.2-15
        limit_bytes(
            "application-owned components together",
            total,
            limits::APPLICATION_TOTAL_BYTES,
        )?;
    }
    Ok(())
}
