//! The frames of a log, and which of them belong together.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use super::PAGE;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// What a frame says of itself.
#[derive(Debug)]
pub(super) struct Frame {
    /// The page that it holds; 0 is none.
    pub(super) number: u32,
    /// Pages that the database has after the transaction that ends here; 0 inside of one.
    pub(super) after_commit: u32,
    salts: [u8; 8],
    /// It is one of this log.
    pub(super) ours: bool,
    /// Its checksum continues that of the frame, or of the header, before it: it is whole.
    pub(super) whole: bool,
}

/// The frames of the newest log in a file. Behind them are those of logs before it, which were written over only in part.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The header is whole, but that of a log that SQLite would not write here: somebody has put it there.
    pub(super) foreign: bool,
    pub(super) all: Vec<Frame>,
    /// The header is whole.
    pub(super) header: bool,
    /// How many of them SQLite reads, those of a transaction without an end included.
    pub(super) read: usize,
    /// The frame behind those was written to its end, and a bit of what it says of itself has changed since.
    pub(super) hit: bool,
    /// Frames behind all of these that continue them under other salts: those were changed.
    beyond: usize,
}

impl Frames {
    /// Reads all frames. A file without a header has none.
    pub(super) fn read(mut file: &File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        let mut head = [0u8; HEADER];
        if !fill(&mut input, &mut head)? {
            return Ok(Self::default());
        }
        let magic = word(&head, 0);
        let order = Chain::new(&head, magic & 1 == 1);
        let whole = magic & !1 == MAGIC && order.sums.len() == 1;
        // What a damaged bit makes of a header of ours fails its checksum.
        let foreign = whole && (word(&head, 4) != VERSION || word(&head, 8) as usize != PAGE);
        let header = whole && !foreign;
        // The bit that names the byte order may be the one that is wrong.
        let mut chains = vec![order];
        if !header {
            chains.push(Chain::new(&head, magic & 1 == 0));
        }
        let mut all = Vec::new();
        let mut frame = vec![0u8; FRAME_HEADER + PAGE];
        while fill(&mut input, &mut frame)? {
            let follows: Vec<bool> = chains.iter_mut().map(|chain| chain.follow(&frame)).collect();
            let number = word(&frame, 0);
            // Zeros continue zeros, and no page has that number.
            let hit = follows.iter().position(|follows| *follows && number != 0);
            if let Some(hit) = hit {
                chains.swap(0, hit);
                chains.truncate(1);
            }
            let salts = frame[8..16].try_into().expect("8 bytes");
            let (after_commit, whole) = (word(&frame, 4), hit.is_some());
            all.push(Frame { number, after_commit, salts, ours: false, whole });
        }
        let salts = match header {
            true => Some(head[16..24].try_into().expect("8 bytes")),
            false => newest(&all),
        };
        // What is left of a log before it, where frames of this one were not written. They continue each other. The salts are
        // in no checksum: a frame that continues one of this log is of this log, whatever became of them.
        let mut ours = true;
        for frame in &mut all {
            ours = Some(frame.salts) == salts || (ours && frame.whole);
            frame.ours = ours;
            if !ours {
                (frame.number, frame.after_commit, frame.whole) = (0, 0, false);
            }
        }
        let count = all.iter().rposition(|f| Some(f.salts) == salts).map_or(0, |last| last + 1);
        let beyond = all[count..].iter().take_while(|frame| header && frame.ours).count();
        all.truncate(count);
        let read = all.iter().take_while(|f| header && f.whole && Some(f.salts) == salts).count();
        let hit = match all.get(read) {
            Some(next) if header && next.ours && !next.whole => is_hit(file, read, magic & 1 == 1)?,
            _ => beyond > 0 && read == count,
        };
        Ok(Self { all, header, read, hit, beyond, foreign })
    }

    /// Frames behind the last commit if some are whole, or the one at which SQLite stops is of this log: what a transaction
    /// left that was never finished, or was and is damaged. The bytes do not tell.
    pub(super) fn doubtful(&self) -> usize {
        let stopped = self.all.get(self.read).is_some_and(|frame| self.header && frame.ours);
        let count = self.all[self.committed()..].iter().filter(|frame| frame.ours).count();
        // (whole frames without the one that ends their transaction)
        let unended = self.read > self.committed();
        if stopped || unended || self.beyond > 0 { count + self.beyond } else { 0 }
    }

    /// Frames up to the last commit that SQLite reads.
    pub(super) fn committed(&self) -> usize {
        self.all[..self.read].iter().rposition(|f| f.after_commit != 0).map_or(0, |last| last + 1)
    }

    /// Frames up to the last commit of a transaction that was finished: it is whole, or others follow it. What a loss of
    /// power leaves of the last one looks like damage too, but nobody was told that it is stored.
    ///
    /// Under a header that is damaged, what stands before the first frame that can be checked is not held against a
    /// transaction: that it is not whole follows from the header.
    pub(super) fn finished(&self) -> usize {
        let (mut finished, mut ended, mut whole, mut checked) = (0, 0, true, self.header);
        for (n, frame) in self.all.iter().enumerate() {
            if frame.whole {
                finished = ended;
            }
            checked |= frame.whole;
            whole &= frame.whole || !checked;
            if frame.after_commit != 0 {
                ended = n + 1;
                if whole {
                    finished = ended;
                }
                whole = true;
            }
        }
        finished
    }
}

/// Whether one bit was changed in a frame that was whole: in what it says of itself, or in the last word of its page, which
/// looks the same. What a write that was cut off leaves does not come that near to its checksum.
fn is_hit(mut file: &File, frame: usize, big_endian: bool) -> io::Result<bool> {
    let mut before = [0u8; 8];
    let sum_at = match frame.checked_sub(1) {
        Some(last) => page_at(last) - before.len() as u64,
        None => (HEADER - before.len()) as u64,
    };
    file.seek(SeekFrom::Start(sum_at))?;
    file.read_exact(&mut before)?;
    let mut bytes = vec![0u8; FRAME_HEADER + PAGE];
    file.seek(SeekFrom::Start(page_at(frame) - FRAME_HEADER as u64))?;
    file.read_exact(&mut bytes)?;
    let (head, page) = bytes.split_at(FRAME_HEADER);
    let of = |head: u64| {
        let base = [word(&before, 0), word(&before, 4)];
        let base = checksum(base, &head.to_be_bytes(), big_endian);
        let [one, two] = checksum(base, page, big_endian);
        u64::from(one) << 32 | u64::from(two)
    };
    let long = |at: usize| u64::from(word(head, at)) << 32 | u64::from(word(head, at + 4));
    let (says, stored) = (long(0), long(16));
    Ok((of(says) ^ stored).is_power_of_two()
        || (0..u64::BITS).any(|bit| of(says ^ 1 << bit) == stored))
}

/// Where the page of a frame stands.
pub(super) fn page_at(frame: usize) -> u64 {
    (HEADER + FRAME_HEADER) as u64 + frame as u64 * (FRAME_HEADER + PAGE) as u64
}

/// The salts of the newest log in a file without a header that says it. It begins with the first frame. If that is damaged
/// too it is the one whose frames come first; but each log counts up the first salt of the one before it.
fn newest(all: &[Frame]) -> Option<[u8; 8]> {
    let first = all.first().filter(|frame| frame.number != 0);
    let next = all.iter().skip(1).find(|frame| frame.whole);
    match (first, next) {
        (Some(first), Some(next))
            if !first.whole
                && word(&first.salts, 0) != word(&next.salts, 0).wrapping_add(1)
                && first.salts != next.salts =>
        {
            Some(next.salts)
        }
        (Some(first), _) => Some(first.salts),
        (None, Some(next)) => Some(next.salts),
        (None, None) => all.iter().find(|frame| frame.number != 0).map(|frame| frame.salts),
    }
}

/// The checksums of a log in one byte order.
struct Chain {
    big_endian: bool,
    /// What the next frame may continue: the one that stands in the frame before it and, should that be what is damaged,
    /// those that it should have.
    sums: Vec<[u32; 2]>,
}

impl Chain {
    fn new(head: &[u8; HEADER], big_endian: bool) -> Self {
        let stored = [word(head, 24), word(head, 28)];
        let sum = checksum([0, 0], &head[..24], big_endian);
        let sums = if sum == stored { vec![stored] } else { vec![stored, sum] };
        Self { big_endian, sums }
    }

    /// Goes on by one frame. Whether it continues what stands before it.
    fn follow(&mut self, frame: &[u8]) -> bool {
        let stored = [word(frame, 16), word(frame, 20)];
        let go_on = |base: &[u32; 2]| {
            let header = checksum(*base, &frame[..8], self.big_endian);
            checksum(header, &frame[FRAME_HEADER..], self.big_endian)
        };
        let computed: Vec<[u32; 2]> = self.sums.iter().map(go_on).collect();
        let follows = computed.contains(&stored);
        self.sums.clear();
        self.sums.push(stored);
        // One right value is enough to go on from; more would only grow.
        self.sums.extend(computed.into_iter().filter(|sum| *sum != stored).take(2));
        follows
    }
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
