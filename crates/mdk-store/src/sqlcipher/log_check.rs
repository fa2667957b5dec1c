//! The write-ahead log of a database, read without SQLite and without changing it
//! (<https://sqlite.org/fileformat2.html#walformat>).
//!
//! SQLite reads up to the first frame that is not whole, and reports nothing about the rest. The rest may be a
//! transaction that a loss of power has cut off: nobody was told that it is stored. A transaction with another one
//! behind it was stored, because no frame is written before all earlier ones are durable. If SQLite does not read such
//! a transaction, the log is damaged.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use super::{PAGE, read_at};
use crate::{
    FileRole, OpenError,
    files::{self, Place},
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// The content of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    /// The place of the newest committed version of each page in the log.
    pub(crate) pages: BTreeMap<u32, u64>,
    /// Pages of the database after the last commit; 0 without one.
    pub(crate) database_pages: u32,
    /// Frames of stored transactions that SQLite does not read.
    pub(crate) lost_frames: u64,
    /// Frames behind the last commit, if none is lost. Their transaction was never finished, or it was finished and is
    /// damaged.
    pub(crate) doubtful_frames: u64,
    /// The log belongs to another database. SQLite would read it as this one's, or refuse it.
    pub(crate) foreign: bool,
}

/// Whether a log has lost acknowledged content, or belongs to another database. SQLite would open the database in an
/// earlier state, write over the rest or remove it, and nobody would know. So this is asked before SQLite sees the
/// files.
pub(crate) fn is_damaged(place: &Place) -> Result<bool, OpenError> {
    Ok(Log::beside(place)?.is_some_and(|log| log.is_damaged()))
}

/// Whether a log, damaged or not, has nothing that was ever stored.
pub(crate) fn is_empty(place: &Place) -> bool {
    let empty = |log: Log| log.pages.is_empty() && log.doubtful_frames == 0 && !log.is_damaged();
    Log::beside(place).is_ok_and(|log| log.is_some_and(empty))
}

impl Log {
    /// The log of the database at `place`, if there is one.
    fn beside(place: &Place) -> Result<Option<Self>, OpenError> {
        let log = place.inspect(&files::with_suffix(place.name(), "-wal"), FileRole::Database)?;
        let Some(database) = place.inspect(place.name(), FileRole::Database)? else {
            return Ok(None);
        };
        Self::read(log.as_ref().map(|log| &*log.file), &database.file).map(Some)
    }

    /// Reads the log of the database in `database`. A missing or an empty one holds nothing.
    pub(crate) fn read(log: Option<&File>, database: &File) -> Result<Self, OpenError> {
        let Some(log) = log else { return Ok(Self::default()) };
        let frames = Frames::read(log).map_err(|e| io("reading the log of", &e))?;
        let (committed, (stored, ended)) = (frames.committed(), frames.stored());
        let moved =
            committed == 0 && stored > 0 && is_moved(&Self::up_to(&frames, ended), log, database)?;
        let lost = if moved { 0 } else { stored.saturating_sub(committed) };
        let behind = frames.all[committed..].iter().filter(|frame| frame.ours).count();
        let doubtful = if frames.header && lost == 0 && !moved { behind } else { 0 };
        Ok(Self {
            lost_frames: lost as u64,
            doubtful_frames: doubtful as u64,
            foreign: frames.foreign,
            ..Self::up_to(&frames, committed)
        })
    }

    /// Whether acknowledged content is lost, or the log belongs to another database.
    pub(crate) fn is_damaged(&self) -> bool {
        self.lost_frames > 0 || self.foreign
    }

    /// The newest versions in the first `count` frames.
    fn up_to(frames: &Frames, count: usize) -> Self {
        let ours = frames.all[..count].iter().enumerate().filter(|(_, frame)| frame.ours);
        Self {
            pages: ours.map(|(n, frame)| (frame.number, page_at(n))).collect(),
            database_pages: frames.all[..count].last().map_or(0, |frame| frame.after_commit),
            ..Self::default()
        }
    }
}

fn io(action: &'static str, error: &io::Error) -> OpenError {
    files::io_error(action, FileRole::Database, error)
}

/// Whether the file has everything that the log holds up to its last commit. SQLite reads nothing of this log.
///
/// Its header, or its first transaction, cannot be read. That may be damage, and SQLite would remove the log with all
/// its content. Or the log was moved into the file, and a crash came while the next one was begun in its place. The
/// bytes of the log do not tell these apart, but the file does. A log that was moved has each of its pages in the file
/// as its newest frame has it, for the file is made durable before the next log is begun. If any page differs, the log
/// was damaged.
///
/// With our settings no frame is written before the header is durable. The exception is the frame that primes a new log
/// (see `store/checkpoint.rs`): it holds only page 1 and changes nothing.
fn is_moved(held: &Log, log: &File, database: &File) -> Result<bool, OpenError> {
    if held.pages.keys().all(|number| *number == 1) {
        return Ok(true);
    }
    // Pages beyond the end of the database are not moved. A log of ours does not end with such pages alone.
    let mut held_still = held.pages.range(..=held.database_pages).peekable();
    if held_still.peek().is_none() {
        return Ok(false);
    }
    let (mut there, mut page) = ([0u8; PAGE], [0u8; PAGE]);
    for (&number, &at) in held_still {
        read_at(log, &mut page, at).map_err(|e| io("reading the log of", &e))?;
        match read_at(database, &mut there, u64::from(number - 1) * PAGE as u64) {
            Ok(()) if there == page => {}
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => return Err(io("reading", &e)),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The fields of a frame, and how it fits the log.
struct Frame {
    /// The page in the frame.
    number: u32,
    /// Pages of the database after the transaction that ends here; 0 inside of one.
    after_commit: u32,
    /// The frame is of this log, and is no leftover of an earlier one.
    ours: bool,
    /// SQLite would read the frame behind the one before it: it has the salts of the log, and continues its checksums.
    whole: bool,
    /// The frame continues the checksums. The salts are in no checksum.
    continues: bool,
}

/// The frames of a file.
#[derive(Default)]
struct Frames {
    /// The header is whole, but SQLite would not write such a header here: somebody has put the log there.
    foreign: bool,
    /// The header is whole.
    header: bool,
    all: Vec<Frame>,
}

impl Frames {
    /// Reads all frames. A file without a header has none.
    fn read(mut file: &File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        let mut head = [0u8; HEADER];
        if !fill(&mut input, &mut head)? {
            return Ok(Self::default());
        }
        let order = word(&head, 0) ^ MAGIC;
        let big_endian = if order < 2 { order == 1 } else { cfg!(target_endian = "big") };
        let stored = [word(&head, 24), word(&head, 28)];
        let sum = checksum([0, 0], &head[..24], big_endian);
        let whole = order < 2 && sum == stored;
        // A damaged bit in a header of ours fails its checksum.
        let foreign = whole && (word(&head, 4) != VERSION || word(&head, 8) as usize != PAGE);
        let header = whole && !foreign;
        // Without a header the salts are those of the first frame with a page number.
        let mut salts = header.then(|| head[16..24].to_owned());
        // A frame may continue two checksums: the stored one of the frame before it or, should that be damaged, the
        // right one.
        let mut before = [stored, sum];
        let mut all: Vec<Frame> = Vec::new();
        let mut frame = vec![0u8; FRAME_HEADER + PAGE];
        while fill(&mut input, &mut frame)? {
            let go_on = |base| {
                checksum(
                    checksum(base, &frame[..8], big_endian),
                    &frame[FRAME_HEADER..],
                    big_endian,
                )
            };
            let stored = [word(&frame, 16), word(&frame, 20)];
            let sum = go_on(before[0]);
            // (zeros continue zeros, and no page has that number)
            let number = word(&frame, 0);
            let continues = number != 0 && (sum == stored || go_on(before[1]) == stored);
            before = [stored, sum];
            if number != 0 && salts.is_none() {
                salts = Some(frame[8..16].to_owned());
            }
            let named = number != 0 && salts.as_deref() == Some(&frame[8..16]);
            let ours = named || (continues && all.last().is_some_and(|last| last.ours));
            let (whole, after_commit) = (named && continues, word(&frame, 4));
            all.push(Frame { number, after_commit, ours, whole, continues });
        }
        Ok(Self { foreign, header, all })
    }

    /// The number of frames up to the last commit that SQLite reads.
    fn committed(&self) -> usize {
        let read = self.all.iter().take_while(|frame| self.header && frame.whole).count();
        self.all[..read].iter().rposition(|f| f.after_commit != 0).map_or(0, |last| last + 1)
    }

    /// The number of frames up to the last commit of a stored transaction, which has a frame behind it, and up to the
    /// last commit of any. All frames of a log without a whole header count.
    fn stored(&self) -> (usize, usize) {
        let (mut stored, mut ended) = (0, 0);
        for (n, frame) in self.all.iter().enumerate().filter(|(_, frame)| frame.ours) {
            if frame.continues {
                stored = ended;
            }
            if frame.after_commit != 0 {
                ended = n + 1;
            }
        }
        (if self.header { stored } else { ended }, ended)
    }
}

/// The offset of the page of a frame.
fn page_at(frame: usize) -> u64 {
    (HEADER + FRAME_HEADER) as u64 + frame as u64 * (FRAME_HEADER + PAGE) as u64
}

/// Fills `buf`; `false` at the end of the input.
fn fill(input: &mut impl Read, buf: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buf) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum(mut sum: [u32; 2], bytes: &[u8], big_endian: bool) -> [u32; 2] {
    let word = |b: &[u8]| {
        let b = [b[0], b[1], b[2], b[3]];
        if big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
    };
    for pair in bytes.chunks_exact(8) {
        sum[0] = sum[0].wrapping_add(word(pair)).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(word(&pair[4..])).wrapping_add(sum[0]);
    }
    sum
}
