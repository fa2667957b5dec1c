//! The moment at which a write-ahead log is written, seen from outside (<https://sqlite.org/walformat.html>).

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: u64 = FRAME_HEADER as u64 + 4096;

/// What stands where the log will be written next. Its size says nothing: the log is given room in advance.
pub struct Mark {
    path: PathBuf,
    at: u64,
    header: Option<[u8; HEADER]>,
    frame: Option<[u8; FRAME_HEADER]>,
}

fn read<const N: usize>(path: &Path, at: u64) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut out).ok()?;
    Some(out)
}

impl Mark {
    /// Behind the last frame of the log as it is now.
    pub fn of(path: PathBuf) -> Self {
        let header: Option<[u8; HEADER]> = read(&path, 0);
        let mut at = HEADER as u64;
        let frame = loop {
            let frame: Option<[u8; FRAME_HEADER]> = read(&path, at);
            // The salts of a frame that belongs to this log are those of its header.
            match (&frame, &header) {
                (Some(frame), Some(header)) if frame[8..16] == header[16..24] => at += FRAME,
                _ => break frame,
            }
        };
        Self { path, at, header, frame }
    }

    /// Whether anything was written since, or the log has begun anew.
    pub fn is_passed(&self) -> bool {
        read(&self.path, self.at) != self.frame || read(&self.path, 0) != self.header
    }
}
