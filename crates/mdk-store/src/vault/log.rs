//! The write-ahead log of a database, read without SQLite and without changing it
//! (<https://sqlite.org/fileformat2.html#walformat>).

mod frames;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io, iter,
};

use self::frames::Frames;
use super::{
    VaultError,
    pages::{self, PAGE, PageKey},
};
use crate::{
    FileRole, OpenError, StoreError,
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
    /// For [`Self::rescued`]: the page of each frame up to the last commit of a finished transaction, where it stands, and the
    /// size of the database then.
    versions: Vec<(u32, u64)>,
    last_pages: u32,
    /// Frames up to there that are not intact.
    pub(crate) hit_frames: u64,
    /// Pages of which the newest version is not intact.
    old: BTreeSet<u32>,
    /// Where the last frame stands that is not intact and does not say any more which page it held; 0 without one.
    last_unknown: u64,
}

/// Whether a log has lost what was acknowledged, or is none of this database. SQLite would open the database as it was
/// before that, write over the rest or remove it, and nobody would know. So this is asked before SQLite sees the files.
pub(crate) fn is_damaged(place: &Place) -> Result<bool, OpenError> {
    let log = files::with_suffix(place.name(), "-wal");
    let Some(log) = place.inspect(&log, FileRole::Database)? else { return Ok(false) };
    let Some(found) = place.inspect(place.name(), FileRole::Database)? else { return Ok(false) };
    match Log::read(Some(&log.file), &found.file) {
        Ok(log) => Ok(log.lost_acknowledged || log.foreign),
        Err(VaultError::Open(error)) => Err(error),
        Err(_) => Err(StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ }.into()),
    }
}

/// Whether nothing that was ever stored stands in a log, damaged or not.
pub(crate) fn is_empty(place: &Place) -> bool {
    let read = || {
        let log = place.inspect(&files::with_suffix(place.name(), "-wal"), FileRole::Database)?;
        let Some(database) = place.inspect(place.name(), FileRole::Database)? else {
            return Ok(false);
        };
        let log = Log::read(log.as_ref().map(|log| &*log.file), &database.file)?;
        Ok::<_, VaultError>(log.pages.is_empty() && log.lost_frames == 0 && !log.foreign)
    };
    read().unwrap_or(false)
}

impl Log {
    /// Reads the log of the database in `database`; a missing or an empty one holds nothing.
    pub(crate) fn read(file: Option<&File>, database: &File) -> Result<Self, VaultError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let frames = Frames::read(file).map_err(|e| pages::io("reading the log of", &e))?;
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
        let all = &frames.all[..if lost_acknowledged { finished } else { committed }];
        Ok(Self {
            lost_frames: lost_frames as u64,
            doubtful_frames: doubtful_frames as u64,
            lost_acknowledged,
            foreign: frames.foreign,
            versions: (0..).map(frames::page_at).zip(all).map(|(at, f)| (f.number, at)).collect(),
            last_pages: all.last().map_or(0, |frame| frame.after_commit),
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

    /// The newest version of each page that stands in the log, also behind damage, whether it is intact or not.
    pub(crate) fn newest(&self) -> Self {
        let known = self.versions.iter().filter(|(number, _)| *number != 0);
        let (pages, database_pages) = (known.copied().collect(), self.last_pages);
        Self { pages, database_pages, ..self.clone() }
    }

    /// The log as `salvage` reads it: of each page the newest version that is intact, also behind damage. What ends it is the
    /// last commit of a transaction that was finished, as for opening: one that may never have been is left out.
    ///
    /// A page authenticates itself with its number, so no checksum is asked, and a flipped bit of the number is undone. Not
    /// of a number that is lost: what stands there may be left of a log before this one, and would count as the newest.
    pub(crate) fn rescued(&self, file: &File, key: &PageKey) -> Result<Self, VaultError> {
        let mut log = Self { pages: BTreeMap::new(), ..self.newest() };
        let mut page = [0u8; PAGE];
        for &(number, at) in &self.versions {
            pages::read_at(file, &mut page, at).map_err(|e| pages::io("reading the log of", &e))?;
            let flipped = (0..32).map(|bit| number ^ 1 << bit).filter(|_| number != 0);
            let mut numbers = iter::once(number).chain(flipped);
            match numbers.find(|number| *number != 0 && key.check(*number, &page)) {
                Some(number) => {
                    log.pages.insert(number, at);
                    log.old.remove(&number);
                }
                None => {
                    log.hit_frames += 1;
                    match (1..=log.database_pages).contains(&number) {
                        true => _ = log.old.insert(number),
                        false => log.last_unknown = at,
                    }
                }
            }
        }
        Ok(log)
    }

    /// Whether the newest version of a page is lost, and the one that is there an older one.
    pub(crate) fn is_old(&self, number: u32) -> bool {
        self.old.contains(&number)
    }

    /// Whether the newest version of a page may be lost: it was that of a page that is not known, and no later one is there.
    pub(crate) fn may_be_old(&self, number: u32) -> bool {
        self.is_old(number) || self.pages.get(&number).copied().unwrap_or(0) < self.last_unknown
    }

    /// How many pages there are of which the newest version is lost; `None` if it is not known which.
    pub(crate) fn old_pages(&self) -> Option<usize> {
        (self.last_unknown == 0).then_some(self.old.len())
    }

    /// Reads the newest committed version of a page, if the log has one.
    pub(crate) fn page(
        &self,
        file: &File,
        number: u32,
        buf: &mut [u8],
    ) -> Result<bool, VaultError> {
        let Some(&at) = self.pages.get(&number) else { return Ok(false) };
        pages::read_at(file, buf, at).map_err(|e| pages::io("reading the log of", &e))?;
        Ok(true)
    }
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
fn is_moved(held: &Log, log: &File, database: &File) -> Result<bool, VaultError> {
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
        match pages::read_at(database, &mut there, u64::from(number - 1) * PAGE as u64) {
            Ok(()) if there == page => {}
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(pages::io("reading", &e));
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}
