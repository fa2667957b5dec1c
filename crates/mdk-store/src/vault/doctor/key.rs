//! The key, and the part of the report that needs it.

use std::{fs::File, io::Read, sync::mpsc, thread, time::Duration};

use mdk_wire::{Secret, secret::apart};

use super::{
    DoctorReport, Level,
    contents::{self, CUT},
    files::{Family, name},
};
use crate::{
    DatabaseKey, OpenError,
    files::{self, Place},
    keys::{
        key_metadata::{self, DatabaseStage, KeySlot, Record},
        location::{self, Presence},
    },
    recovery::existing_key,
    sqlcipher::{MAGIC, PAGE, key_fits},
};

/// The advice for opening a database without its record.
const IN_FULL: &str = "name the key in full: the service and the key id in the keyring, the path of the key file, or the \
     passphrase; where kernel keyutils hold a key that a re-key has made, the key id with what follows it there, ID#GENERATION";

const PUT_BACK: &str = "put the key back; a new one cannot open old data";

/// The time in which a key source has to answer.
const PATIENCE: Duration = Duration::from_millis(800);

pub(super) fn look(
    report: &mut DoctorReport,
    place: Option<&Place>,
    key: Option<&DatabaseKey>,
    (family, record): (&Family, Option<&Record>),
    held: bool,
) {
    let exists = family.get("").is_some();
    // A database in use is not opened. Opening it in the same process would end the locks that SQLite has on it.
    let page = match place {
        Some(place) if family.has_file("") && !held => first_page(place),
        _ => None,
    };
    let sound = database(report, family, page.as_ref().map(|page| &page[..]), held);
    let mut answered = true;
    if let (Some(place), Some(record)) = (place, record) {
        answered = recorded(report, place, record, exists, page.is_some());
        left(report, place, record, answered && key.is_none());
    } else if place.is_some() && family.has_file(".keyinfo") {
        let hint = format!("update, or move it away and {IN_FULL}");
        report.advise(Level::Error, "key", "the record of where the key is cannot be read", hint);
    } else if exists {
        let text = "there is no record of where the key is: opening needs the key itself, and makes the record anew";
        report.advise(Level::Note, "key", text, IN_FULL);
    }
    let Some(key) = key else {
        if sound {
            contents::versions_unseen(report);
        }
        return;
    };
    match (place, page) {
        _ if !exists && family.seen => no_database(report, place, key, record.is_some()),
        // The usual search for the key reads the record and would narrow its mode.
        (Some(place), Some(_)) if sound && answered && !family.would_be_narrowed(".keyinfo") => {
            if let Some(key) = given(report, place, key) {
                contents::look(report, place, family, &key);
            }
        }
        _ => report.say(Level::Note, "key", "whether the key opens the database was not tried"),
    }
}

/// The first page as the file has it. It is shorter if the file is.
fn first_page(place: &Place) -> Option<Vec<u8>> {
    let mut page = Vec::with_capacity(PAGE);
    let file = files::open(&place.path(place.name())).ok()?;
    file.take(PAGE as u64).read_to_end(&mut page).ok()?;
    Some(page)
}

/// Reports on the file without a key. Returns whether a key may open it.
fn database(report: &mut DoctorReport, family: &Family, page: Option<&[u8]>, held: bool) -> bool {
    const TOPIC: &str = "database";
    let log = family.get("-wal").map_or(0, std::fs::Metadata::len);
    let Some(meta) = family.get("") else {
        if log > 0 {
            let text = "the database file is missing, but its write-ahead log exists";
            let hint = "put the database file back; the log may hold the newest messages";
            report.advise(Level::Error, TOPIC, text, hint);
        } else if family.seen {
            report.say(Level::Note, TOPIC, "there is no database yet");
        } else {
            report.say(Level::Error, TOPIC, "whether there is a database cannot be seen");
        }
        return false;
    };
    let size = meta.len();
    let text = format!("{size} bytes, and {log} in its write-ahead log");
    if held {
        report.say(Level::Ok, TOPIC, format!("{text}; in use, so not looked into"));
    } else if size == 0 && log == 0 {
        let hint = "remove it to begin anew, or restore a backup";
        report.advise(Level::Error, TOPIC, "the database file is empty", hint);
    } else if page.is_none() {
        report.say(Level::Error, TOPIC, "the database file cannot be read");
    } else if page.is_some_and(|page| page.starts_with(MAGIC)) {
        let text = "the database file is an unencrypted SQLite database";
        report.advise(Level::Error, TOPIC, text, "encrypt it with `mdk encrypt`");
    } else if size < PAGE as u64 || (size % PAGE as u64 != 0 && log == 0) {
        let text =
            format!("the database file is truncated: {size} bytes are no whole number of pages");
        report.advise(Level::Error, TOPIC, text, CUT);
    } else {
        report.say(Level::Ok, TOPIC, text);
        return true;
    }
    false
}

/// The side record, if it can be read. It is read here, because the usual way may narrow its mode.
pub(super) fn record(place: &Place, family: &Family) -> Option<Record> {
    if !family.has_file(".keyinfo") {
        return None;
    }
    let mut text = Vec::new();
    let read = File::open(place.path(&name(place, ".keyinfo")))
        .and_then(|file| file.take(key_metadata::MAX_LEN + 1).read_to_end(&mut text));
    // The record is parsed as opening parses it. Otherwise opening could refuse what is called good here.
    read.ok().and_then(|_| key_metadata::parse(&text))
}

/// Reports on the record and on whether its key is there. Returns whether the source of the key answered.
fn recorded(
    report: &mut DoctorReport,
    place: &Place,
    record: &Record,
    exists: bool,
    readable: bool,
) -> bool {
    const TOPIC: &str = "key";
    let look = |slot| apart(|| location::present(place, slot, PATIENCE));
    let (mut slot, mut found) = (&record.key, look(&record.key));
    // Page 1 says which of two keys counts. One of them is enough.
    if let Some(other) = &record.other_key
        && !matches!(found, Ok(Presence::There) | Err(OpenError::KeyringTimeout { .. }))
        && let Ok(Presence::There) = look(other)
    {
        (slot, found) = (other, Ok(Presence::There));
    }
    let text = describe(slot);
    let mut answered = true;
    match found {
        _ if record.stage == DatabaseStage::Filling && !exists => {
            let text = "a restore, salvage or copy that was to make the database was interrupted";
            report.advise(
                Level::Warning,
                TOPIC,
                text,
                "unless it is still running, call it again: nothing is opened before",
            );
        }
        Ok(Presence::There) if !exists && !record.stage.is_begun() => {
            let hint = "put the database back; to begin anew, move the key and its record away";
            let text = format!("{text} is there, but the database is not");
            report.advise(Level::Error, TOPIC, text, hint);
        }
        Ok(Presence::There) => report.say(Level::Ok, TOPIC, format!("{text} is there")),
        Ok(Presence::Missing) if record.stage.is_begun() => {
            let text = "a first opening was interrupted before it had a key";
            report.advise(Level::Note, TOPIC, text, "open the database again");
        }
        Ok(Presence::Missing) => {
            report.advise(Level::Error, TOPIC, format!("{text} is missing"), PUT_BACK);
        }
        // Somebody has put a database back together with its key.
        Ok(Presence::Another(Some(key)))
            if readable && key_fits(place, place.name(), &key) == Ok(true) =>
        {
            let text =
                format!("{text} is there and opens the database; the record speaks of another one");
            report.advise(Level::Note, TOPIC, text, "open the database, which corrects the record");
        }
        Ok(Presence::Another(_)) => {
            let text = format!("{text} was changed or replaced: the record speaks of another one");
            report.advise(Level::Error, TOPIC, text, PUT_BACK);
        }
        Ok(Presence::Unknown) => {
            let text = format!("{text}; whether it is there can be said only when it is given");
            report.say(Level::Note, TOPIC, text);
        }
        Err(error) => {
            answered = !matches!(error, OpenError::KeyringTimeout { .. });
            report.advise(Level::Error, TOPIC, format!("{text}: {error}"), advice(&error));
        }
    }
    unfinished(report, record);
    answered
}

/// The rest of the record, beside the place of the key: a store that forgets, and a re-key that is not finished.
fn unfinished(report: &mut DoctorReport, record: &Record) {
    const TOPIC: &str = "key";
    if record.key.store.as_deref() == Some("keyutils") {
        let text = "the key store is volatile: it forgets its keys at reboot or logout";
        report.advise(
            Level::Warning,
            TOPIC,
            text,
            "move the key to another store with `mdk rekey`",
        );
    }
    if let Some(other) = &record.other_key {
        let text = "a re-key was interrupted, or one of its two keys could not be removed yet";
        let hint = match other.is_bound() {
            true => "open the database, which finishes or undoes it",
            false => {
                "open the database, which finishes or undoes it; a key of which nothing shows whose it is stays"
            }
        };
        report.advise(Level::Warning, TOPIC, text, hint);
    }
}

/// A key that opening did not remove. `ask`: there is time to ask a keyring for it.
fn left(report: &mut DoctorReport, place: &Place, record: &Record, ask: bool) {
    let Some(slot) = &record.left else { return };
    let unasked = slot.source == "keyring" && !ask;
    let gone =
        !unasked && matches!(location::present(place, slot, PATIENCE), Ok(Presence::Missing));
    if !gone {
        let text = format!(
            "{} was left where it is: it could not be reached, or nothing shows that it belongs to this database",
            describe(slot)
        );
        let hint = "if no other database has it, remove it yourself";
        report.advise(Level::Warning, "key", text, hint);
    }
}

fn describe(slot: &KeySlot) -> String {
    let of = |what: &str, value: &Option<String>| match value {
        Some(value) => format!(", {what} {value}"),
        None => String::new(),
    };
    format!(
        "the key from {}{}{}{}",
        slot.source,
        of("store", &slot.store),
        of("service", &slot.service),
        of("key id", &slot.key_id)
    )
}

fn advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::KeyringLocked => "unlock the keyring",
        OpenError::KeyringTimeout { .. } => "unlock the keyring; it may be waiting for somebody",
        OpenError::KeyringUnavailable => {
            "start a keyring, or keep the key elsewhere, for example in a file"
        }
        OpenError::KeyFileTooWide { .. } => "run `chmod 600` on the key file",
        OpenError::KeyMalformed { .. } | OpenError::KeyLength { .. } => PUT_BACK,
        _ => "look at where the key is kept",
    }
}

/// Reports on the key of a database that does not exist: whether its keyring answers.
fn no_database(report: &mut DoctorReport, place: Option<&Place>, key: &DatabaseKey, known: bool) {
    let DatabaseKey::Keyring(ring) = key else {
        report.say(Level::Note, "key", format!("the key would come from {}", key.source()));
        return;
    };
    let Some(place) = place.filter(|_| !known) else { return };
    let mut ring = ring.clone();
    ring.timeout = PATIENCE;
    let key = DatabaseKey::Keyring(ring);
    match location::locate(place, &key, None, true).and_then(|mut home| home.look()) {
        Ok(None) => report.say(Level::Ok, "key", "the keyring answers and has no key of that id"),
        Ok(Some(_)) => {
            let text = "the keyring has a key of that id, but the database is not there";
            report.advise(
                Level::Error,
                "key",
                text,
                "put the database back, or use another key id",
            );
        }
        Err(error) => report.advise(Level::Error, "key", error.to_string(), advice(&error)),
    }
}

/// The key that the caller named, if its source gives it in time.
fn given(report: &mut DoctorReport, place: &Place, key: &DatabaseKey) -> Option<Secret<32>> {
    const TOPIC: &str = "key";
    let key = match key {
        DatabaseKey::Fd(descriptor) => {
            if let Err(error) = descriptor.check() {
                let hint = "give a descriptor that is open and was not read yet";
                report.advise(Level::Error, TOPIC, error.to_string(), hint);
                return None;
            }
            let text =
                "the file descriptor of the key was not read, because it can be read only once";
            report.say(Level::Note, TOPIC, text);
            return None;
        }
        DatabaseKey::Keyring(ring) => {
            let mut ring = ring.clone();
            ring.timeout = PATIENCE;
            DatabaseKey::Keyring(ring)
        }
        other => other.clone(),
    };
    // A callback, or a file on a disk that hangs, may never answer.
    let source = key.source();
    let (place, (tell, answer)) = (place.twin(), mpsc::channel());
    thread::spawn(move || {
        // The system may keep the stack of a thread that has ended.
        let found = apart(|| existing_key(&place, &key));
        drop(key);
        let _ = tell.send(found);
    });
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(key)) => Some(key),
        Ok(Err(error)) => {
            report.advise(Level::Error, TOPIC, error.to_string(), advice(&error));
            None
        }
        Err(_) => {
            let text = format!("the key from {source} was not given in time");
            report.say(Level::Warning, TOPIC, text);
            None
        }
    }
}
