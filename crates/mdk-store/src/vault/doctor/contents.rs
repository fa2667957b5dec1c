//! The part of the report that needs the key of the database.

use mdk_wire::Secret;
use rusqlite::Connection;

use super::{
    DoctorReport, Level,
    files::{Family, name},
};
use crate::{
    APPLICATION_ID, OpenError,
    files::{self, Place},
    sqlcipher::{Log, PAGE, ReadOnly, is_cut, key_fits, open_read_only},
    store::schema,
};

/// The advice for a file that is too short.
pub(super) const CUT: &str = "restore a complete copy, or save what is left with `mdk salvage`";

/// Reports whether the key opens the first page, and what that page holds.
pub(super) fn look(report: &mut DoctorReport, place: &Place, family: &Family, key: &Secret<32>) {
    let opened = match key_fits(place, place.name(), key) {
        Ok(true) => {
            open_read_only(&ReadOnly { cut: true, ..ReadOnly::keyed(place, place.name(), key) })
        }
        Ok(false) => Err(OpenError::WrongKey),
        Err(error) => Err(error),
    };
    let Ok(conn) = opened else {
        const HINT: &str = "give the key that belongs to this file; if it does, save what is left with `mdk salvage`";
        let text = "the key does not open the database file, or its first page is damaged";
        report.advise(Level::Error, "key", text, HINT);
        return;
    };
    let hint = "that is known by the first page alone; `mdk verify` checks them all";
    report.advise(Level::Ok, "key", "the key that was given opens the database", hint);
    length(report, place, family, key);
    versions(report, &conn);
}

/// Whether the file has all the pages that its header counts, apart from pages that are still in its log. A file that
/// lacks some is refused when it is opened, or fails in a later query.
fn length(report: &mut DoctorReport, place: &Place, family: &Family, key: &Secret<32>) {
    let size = family.get("").map_or(0, std::fs::Metadata::len);
    let log = match family.has_file("-wal") {
        true => files::open(&place.path(&name(place, "-wal"))).ok(),
        false => None,
    };
    // Any page may be in a log that cannot be read.
    let Ok(database) = files::open(&place.path(place.name())) else { return };
    let Ok(log) = Log::read(log.as_deref(), &database) else { return };
    // The report says so already, and opening gets no further.
    if log.is_damaged() {
        return;
    }
    let there = size / PAGE as u64;
    let missing = match log.database_pages {
        0 => is_cut(|| open_read_only(&ReadOnly::keyed(place, place.name(), key))) == Ok(true),
        pages => (1..=pages).any(|n| u64::from(n) > there && !log.pages.contains_key(&n)),
    };
    if missing {
        let text = format!("{}; pages are missing at its end", OpenError::Truncated { size });
        report.correct(Level::Error, "database", text, CUT);
    }
}

/// The versions of the library. The version of the file needs its key.
pub(super) fn versions_unseen(report: &mut DoctorReport) {
    let supported = schema::SUPPORTED;
    let text = format!("schemas up to {supported} are read; that of the file needs its key");
    report.say(Level::Ok, "versions", text);
}

/// The versions of the library and of the file.
fn versions(report: &mut DoctorReport, conn: &Connection) {
    const TOPIC: &str = "versions";
    let supported = schema::SUPPORTED;
    let application = conn.query_row("PRAGMA application_id", [], |row| row.get::<_, i32>(0));
    let (Ok(schema), Ok(application)) = (schema::version(conn), application) else {
        report.say(Level::Error, TOPIC, "the header of the file cannot be read");
        return;
    };
    if application != APPLICATION_ID {
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
