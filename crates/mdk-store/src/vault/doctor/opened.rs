//! What can be seen of the database with its key.

use mdk_wire::Secret;
use zeroize::Zeroizing;

use super::{
    DoctorReport, Level,
    files::{Family, name},
};
use crate::{
    APPLICATION_ID, OpenError,
    files::{self, Place},
    migrate,
    vault::{
        log::Log,
        pages::{PAGE, PageKey},
    },
};

/// What to do about a file that is too short.
pub(super) const CUT: &str = "restore a complete copy, or save what is left with `mdk salvage`";

/// The first page, decrypted, if the key opens it.
pub(super) fn first_page(
    report: &mut DoctorReport,
    key: &Secret<32>,
    page: Vec<u8>,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut page = Zeroizing::new(page);
    if page.len() != PAGE || !PageKey::of_page_1(key, &page).decrypt(1, &mut page) {
        const HINT: &str = "give the key that belongs to this file; if it does, save what is left with `mdk salvage`";
        let text = "the key does not open the database file, or its first page is damaged";
        report.advise(Level::Error, "key", text, HINT);
        return None;
    }
    report.say(Level::Ok, "key", "the key that was given opens the database");
    Some(page)
}

/// A field of the header of an SQLite database (sqlite.org/fileformat2.html, 1.3).
fn field(page: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(page[at..at + 4].try_into().expect("four bytes of a whole page"))
}

/// Whether the file has all the pages that it says it has, apart from those that stand in its log still. Opening refuses it
/// otherwise, or what is asked of it later.
pub(super) fn length(report: &mut DoctorReport, place: &Place, family: &Family, page: &[u8]) {
    let size = family.get("").map_or(0, std::fs::Metadata::len);
    let log = match family.has_file("-wal") {
        true => files::open(&place.path(&name(place, "-wal"))).ok(),
        false => None,
    };
    // A log that cannot be read may have any page.
    let Ok(database) = files::open(&place.path(place.name())) else { return };
    let Ok(log) = Log::read(log.as_deref(), &database) else { return };
    // Which is said, and opening gets no further.
    if log.lost_acknowledged || log.foreign {
        return;
    }
    let pages = match log.database_pages {
        0 => field(page, 28),
        pages => pages,
    };
    let there = size / PAGE as u64;
    let missing =
        (1..=pages).filter(|n| u64::from(*n) > there && !log.pages.contains_key(n)).count();
    if missing > 0 {
        let error = OpenError::Truncated { size };
        let text = format!("{error}; {missing} of its {pages} pages are missing");
        report.correct(Level::Error, "database", text, CUT);
    }
}

/// The versions of the library; that of the file needs its key.
pub(super) fn versions_unseen(report: &mut DoctorReport) {
    let supported = migrate::SUPPORTED;
    let text = format!("schemas up to {supported} are read; that of the file needs its key");
    report.say(Level::Ok, "versions", text);
}

/// The versions of the library and of the file.
pub(super) fn versions(report: &mut DoctorReport, page: &[u8]) {
    const TOPIC: &str = "versions";
    let supported = migrate::SUPPORTED;
    let (schema, application) = (migrate::in_header(field(page, 60)), field(page, 68));
    if application != APPLICATION_ID as u32 {
        let text = format!("the file belongs to another application (id {application:#010x})");
        report.advise(Level::Error, TOPIC, text, "use another path");
    } else if schema > supported {
        let text = format!("the file has schema {schema}; this version reads up to {supported}");
        report.advise(Level::Error, TOPIC, text, "update this software");
    } else if schema == 0 {
        report.say(Level::Error, TOPIC, "the file has no schema");
    } else {
        let text = format!("schema {schema} of {supported}, application id {application:#010x}");
        report.say(Level::Ok, TOPIC, text);
    }
}
