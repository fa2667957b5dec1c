//! The write-ahead log of a database, read without SQLite and without changing it
//! (<https://sqlite.org/fileformat2.html#walformat>).

mod frames;

use std::{collections::BTreeMap, fs::File, io};

use self::frames::Frames;
use super::{PAGE, read_at};
use crate::{
    FileRole, OpenError,
    files::{self, Place},
};

/// What a log holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    /// Where the newest committed version of each page stands in the log.
    pub(crate) pages: BTreeMap<u32, u64>,
    /// Pages that the database has after the last commit; 0 without one.
    pub(crate) database_pages: u32,
    /// Frames that SQLite will not read although they belong to this log: it is damaged before them, or there.
    pub(crate) lost_frames: u64,
    /// Among them is a transaction that was finished: somebody was told that it is stored.
    pub(crate) lost_acknowledged: bool,
    /// Frames behind the last commit of which that is not known: a transaction that was never finished leaves the same.
    pub(crate) doubtful_frames: u64,
    /// It is none of this database. SQLite would read it as one, or refuse it.
    pub(crate) foreign: bool,
}

/// Whether a log has lost what was acknowledged, or is none of this database. SQLite would open the database as it was
/// before that, write over the rest or remove it, and nobody would know. So this is asked before SQLite sees the files.
pub(crate) fn is_damaged(place: &Place) -> Result<bool, OpenError> {
    let log = files::with_suffix(place.name(), "-wal");
    let Some(log) = place.inspect(&log, FileRole::Database)? else { return Ok(false) };
    let Some(found) = place.inspect(place.name(), FileRole::Database)? else { return Ok(false) };
    let log = Log::read(Some(&log.file), &found.file)?;
    Ok(log.lost_acknowledged || log.foreign)
}

/// Whether nothing that was ever stored stands in a log, damaged or not.
pub(crate) fn is_empty(place: &Place) -> bool {
    let read = || {
        let log = place.inspect(&files::with_suffix(place.name(), "-wal"), FileRole::Database)?;
        let Some(database) = place.inspect(place.name(), FileRole::Database)? else {
            return Ok(false);
        };
        let log = Log::read(log.as_ref().map(|log| &*log.file), &database.file)?;
        Ok::<_, OpenError>(log.pages.is_empty() && log.lost_frames == 0 && !log.foreign)
    };
    read().unwrap_or(false)
}

impl Log {
    /// Reads the log of the database in `database`; a missing or an empty one holds nothing.
    pub(crate) fn read(file: Option<&File>, database: &File) -> Result<Self, OpenError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let frames = Frames::read(file).map_err(|e| io("reading the log of", &e))?;
        let (committed, finished) = (frames.committed(), frames.finished());
        let moved = committed == 0
            && finished > 0
            && is_moved(&Self::up_to(&frames, finished), file, database)?;
        let lost_acknowledged = finished > committed && !moved;
        let lost_frames = match lost_acknowledged {
            true => finished - committed,
            false if moved || !frames.header => 0,
            // All of its transaction, which SQLite gives up.
            false if frames.hit => frames.doubtful(),
            false => frames.all[frames.read..].iter().filter(|frame| frame.whole).count(),
        };
        let doubtful_frames = match lost_frames {
            0 if !moved => frames.doubtful(),
            _ => 0,
        };
        Ok(Self {
            lost_frames: lost_frames as u64,
            doubtful_frames: doubtful_frames as u64,
            lost_acknowledged,
            foreign: frames.foreign,
            ..Self::up_to(&frames, committed)
        })
    }

    /// The newest versions in the first `count` frames.
    fn up_to(frames: &Frames, count: usize) -> Self {
        let all = frames.all[..count].iter().enumerate();
        let known = all.filter(|(_, frame)| frame.number != 0);
        Self {
            pages: known.map(|(n, frame)| (frame.number, frames::page_at(n))).collect(),
            database_pages: frames.all[..count].last().map_or(0, |frame| frame.after_commit),
            ..Self::default()
        }
    }

    /// Reads the newest committed version of a page, if the log has one.
    fn page(&self, file: &File, number: u32, buf: &mut [u8]) -> Result<bool, OpenError> {
        let Some(&at) = self.pages.get(&number) else { return Ok(false) };
        read_at(file, buf, at).map_err(|e| io("reading the log of", &e))?;
        Ok(true)
    }
}

fn io(action: &'static str, error: &io::Error) -> OpenError {
    files::io_error(action, FileRole::Database, error)
}

/// Whether all that a log of which SQLite reads nothing holds up to a last commit is in the file.
///
/// Its header, or its first transaction, cannot be read. That may be damage, and SQLite would remove the log with all that
/// is in it. Or the log was moved into the file, and its end came while the next one was begun in its place. Its own bytes
/// do not tell these apart, but those of the file do: of a log that was moved each page is there as its newest frame has
/// it, for the file is made durable before the next log is begun. If any page is not, the log was damaged.
///
/// With the settings of ours no frame is written before the header is durable. The exception is the frame that primes a
/// new log (see `ritual::prime_log`): it holds page 1 alone and changes nothing.
fn is_moved(held: &Log, log: &File, database: &File) -> Result<bool, OpenError> {
    if held.pages.keys().all(|number| *number == 1) {
        return Ok(true);
    }
    let (mut there, mut page) = ([0u8; PAGE], [0u8; PAGE]);
    // What the database no longer has at its end is not moved. A log of ours does not end with that alone.
    let held_still = held.pages.keys().filter(|number| **number <= held.database_pages);
    if held_still.clone().next().is_none() {
        return Ok(false);
    }
    for &number in held_still {
        held.page(log, number, &mut page)?;
        match read_at(database, &mut there, u64::from(number - 1) * PAGE as u64) {
            Ok(()) if there == page => {}
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(io("reading", &e));
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}
