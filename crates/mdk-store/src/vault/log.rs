//! The write-ahead log of a database, read without SQLite and without changing it
//! (<https://sqlite.org/fileformat2.html#walformat>).

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use super::{
    VaultError,
    pages::{self, PAGE},
};
use crate::{
    FileRole, OpenError, StoreError,
    files::{self, Place},
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// What a log holds.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Where the newest committed version of each page stands in the log.
    pub(crate) pages: BTreeMap<u32, u64>,
    /// Pages that the database has after the last commit; 0 without one.
    pub(crate) database_pages: u32,
    /// Frames up to the last commit.
    pub(crate) frames: u64,
    /// Frames that SQLite will not read although more of the same log follow them: the log is damaged there.
    pub(crate) lost_frames: u64,
    /// Among them is a whole transaction that others follow. Its write was finished before theirs began, so this is not
    /// what a loss of power leaves: somebody was told that it is stored.
    pub(crate) lost_acknowledged: bool,
}

/// Whether a log has lost what was acknowledged. SQLite would open the database as it was before that, write over the
/// rest, and nobody would know.
pub(crate) fn is_damaged(place: &Place) -> Result<bool, OpenError> {
    let log = files::with_suffix(place.name(), "-wal");
    let Some(found) = place.inspect(&log, FileRole::Database)? else { return Ok(false) };
    match Log::read(Some(&found.file)) {
        Ok(log) => Ok(log.lost_acknowledged),
        Err(VaultError::Open(error)) => Err(error),
        Err(_) => Err(StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ }.into()),
    }
}

impl Log {
    /// Reads the log; a missing or an empty one holds nothing.
    pub(crate) fn read(file: Option<&File>) -> Result<Self, VaultError> {
        let Some(mut file) = file else { return Ok(Self::default()) };
        let failed = |e: std::io::Error| pages::io("reading the log of", &e);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        let mut header = [0u8; HEADER];
        if !fill(&mut input, &mut header).map_err(failed)? {
            return Ok(Self::default());
        }
        let magic = word(&header, 0);
        let big_endian = magic & 1 == 1;
        let stored = [word(&header, 24), word(&header, 28)];
        let sum = checksum([0, 0], &header[..24], big_endian);
        let sound = magic & !1 == MAGIC && word(&header, 8) as usize == PAGE && sum == stored;
        let mut scan = Scan {
            log: Self::default(),
            big_endian,
            sums: vec![stored, sum],
            valid: sound,
            sound,
            lost_commit: false,
        };
        let mut frame = vec![0u8; FRAME_HEADER + PAGE];
        let mut at = HEADER as u64;
        let mut pending = Vec::new();
        while fill(&mut input, &mut frame).map_err(failed)? {
            scan.frame(&frame, &header, at + FRAME_HEADER as u64, &mut pending);
            at += frame.len() as u64;
        }
        Ok(scan.log)
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

struct Scan {
    log: Log,
    big_endian: bool,
    /// Checksums that the next frame may continue: the one that stands in this frame and, should that be what is
    /// damaged, those that it should have.
    sums: Vec<[u32; 2]>,
    /// Everything so far is what SQLite reads too.
    valid: bool,
    /// The header is whole.
    sound: bool,
    /// A transaction ended where SQLite no longer reads.
    lost_commit: bool,
}

impl Scan {
    fn frame(&mut self, frame: &[u8], header: &[u8], data_at: u64, pending: &mut Vec<(u32, u64)>) {
        let (number, after_commit) = (word(frame, 0), word(frame, 4));
        let stored = [word(frame, 16), word(frame, 20)];
        let follow = |base: &[u32; 2]| {
            let header = checksum(*base, &frame[..8], self.big_endian);
            checksum(header, &frame[FRAME_HEADER..], self.big_endian)
        };
        let bases = if self.valid { &self.sums[..1] } else { &self.sums[..] };
        let computed: Vec<[u32; 2]> = bases.iter().map(follow).collect();
        let continues = computed.contains(&stored);
        let same_log = frame[8..16] == header[16..24];
        if self.valid && continues && same_log && number != 0 {
            pending.push((number, data_at));
            if after_commit != 0 {
                self.log.frames += pending.len() as u64;
                self.log.database_pages = after_commit;
                self.log.pages.extend(pending.drain(..));
            }
        } else {
            // What an interrupted write left at the end looks like damage too. The difference: nothing that follows
            // continues its checksum. Frames of the log before this one, with another salt, are no loss.
            self.valid = false;
            if continues && (same_log || !self.sound) {
                self.log.lost_frames += 1;
                // Under a header that is not whole nothing says that these frames are not in the file already.
                self.log.lost_acknowledged |= self.lost_commit && self.sound;
            }
            self.lost_commit |= same_log && after_commit != 0;
        }
        self.sums.clear();
        self.sums.push(stored);
        // One right value is enough to go on from; more would only grow.
        self.sums.extend(computed.into_iter().filter(|sum| *sum != stored).take(2));
    }
}

/// Fills `buf`; `false` at the end of the input.
fn fill(input: &mut impl Read, buf: &mut [u8]) -> std::io::Result<bool> {
    match input.read_exact(buf) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
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
