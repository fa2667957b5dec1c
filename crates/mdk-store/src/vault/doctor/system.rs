//! The library and the machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use super::{DoctorReport, Level, files::Family};
use crate::sqlcipher::{configure, connection::Conn};

/// 2024-01-01 and 2100-01-01 in seconds since 1970. A clock outside of them is wrong.
const EARLIEST: u64 = 1_704_067_200;
const LATEST: u64 = 4_102_444_800;
/// The most that a file may be ahead of the clock.
const SKEW: Duration = Duration::from_secs(300);

pub(super) fn look(report: &mut DoctorReport, family: &Family) {
    build(report);
    clock(report, family, SystemTime::now());
    limits(report);
}

/// The library that is linked.
fn build(report: &mut DoctorReport) {
    const TOPIC: &str = "build";
    let hint = "rebuild with the bundled SQLCipher";
    let Ok(conn) = Conn::make(Connection::open_in_memory) else {
        report.advise(Level::Error, TOPIC, "SQLite does not work", hint);
        return;
    };
    let _ = conn.execute_batch("PRAGMA cipher_log_level = NONE");
    match configure::cipher_version(&conn) {
        Ok(version) => {
            let text = format!("SQLCipher {version}, SQLite {}", rusqlite::version());
            report.say(Level::Ok, TOPIC, text);
        }
        Err(error) => report.advise(Level::Error, TOPIC, error.to_string(), hint),
    }
    let options: rusqlite::Result<Vec<String>> = conn
        .prepare("PRAGMA compile_options")
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect());
    if options.is_ok_and(|options| options.iter().any(|option| option == "TEMP_STORE=3")) {
        report.say(Level::Ok, TOPIC, "compiled to keep temporary data in memory (TEMP_STORE=3)");
    } else {
        let text = "not compiled with TEMP_STORE=3: only a setting keeps temporary data in memory";
        report.advise(Level::Warning, TOPIC, text, "rebuild with SQLITE_TEMP_STORE=3");
    }
}

/// The clock, by itself and against the files.
fn clock(report: &mut DoctorReport, family: &Family, now: SystemTime) {
    const TOPIC: &str = "clock";
    let hint = "set the clock; messages carry its time";
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let newest = family.all().filter_map(|meta| meta.modified().ok()).max();
    if !(EARLIEST..LATEST).contains(&seconds) {
        let text = format!("the clock is wrong: it says {seconds} seconds since 1970");
        report.advise(Level::Error, TOPIC, text, hint);
    } else if let Some(ahead) = newest.and_then(|newest| newest.duration_since(now).ok())
        && ahead > SKEW
    {
        let text =
            format!("a file of the database was written {} s in the future", ahead.as_secs());
        report.advise(Level::Warning, TOPIC, text, hint);
    } else {
        report.say(Level::Ok, TOPIC, "plausible");
    }
}

/// The limits of the system for memory with secrets in it.
#[cfg(unix)]
fn limits(report: &mut DoctorReport) {
    use rustix::process::{Resource, getrlimit};
    /// The bytes that keys and SQLCipher want to lock.
    const WANTED: u64 = 8 << 20;
    match getrlimit(Resource::Memlock).current {
        Some(limit) if limit < WANTED => report.advise(
            Level::Warning,
            "memory",
            format!("{limit} bytes of memory may be locked, so secrets may be swapped to disk"),
            "allow 8 MiB (`ulimit -l 8192`, LimitMEMLOCK=8M), or encrypt the swap",
        ),
        Some(limit) => {
            report.say(Level::Ok, "memory", format!("{limit} bytes of memory may be locked"));
        }
        None => report.say(Level::Ok, "memory", "memory may be locked without limit"),
    }
    match getrlimit(Resource::Core).current {
        Some(0) => report.say(Level::Ok, "core", "no core dumps"),
        _ => report.advise(
            Level::Note,
            "core",
            "core dumps are on; keys are kept out of them where the system allows it, content is not",
            "turn them off (`ulimit -c 0`, LimitCORE=0)",
        ),
    }
}

#[cfg(not(unix))]
fn limits(report: &mut DoctorReport) {
    report.say(Level::Note, "memory", "limits on locked memory are not known here");
    report.say(Level::Note, "core", "whether crashes are dumped is not known here");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_outside_of_this_century_is_an_error() {
        let level = |seconds| {
            let mut report = DoctorReport::default();
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            clock(&mut report, &Family::default(), now);
            report.worst()
        };
        assert_eq!(level(0), Level::Error);
        assert_eq!(level(EARLIEST - 1), Level::Error);
        assert_eq!(level(EARLIEST), Level::Ok);
        assert_eq!(level(LATEST - 1), Level::Ok);
        assert_eq!(level(LATEST), Level::Error);
    }
}
