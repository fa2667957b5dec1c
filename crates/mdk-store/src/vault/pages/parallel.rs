//! Work on a file of pages in chunks, on every core, with one thread that reports.

use std::{
    fs::File,
    io,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use mdk_wire::secret::apart;

use super::{PAGE, Progress, Stage, VaultError};
use crate::undumped::Undumped;

/// Pages that are read, worked on and written in one go.
const CHUNK: u64 = 256;
/// More threads than this gain nothing: the disk is busy by then.
const MAX_THREADS: usize = 8;

/// Reads the first `pages` pages of `from` in chunks, lets `work` have each with the number of its first page, and
/// writes what it left to the same place of `to`. `collect` gets the results, in no order.
///
/// The first failure of `work` or of the disk, or a callback that cancels, ends all of it.
pub(crate) fn run<T: Send>(
    from: &File,
    to: Option<&File>,
    pages: u64,
    stage: Stage,
    progress: &mut Progress<'_>,
    work: impl Fn(u32, &mut [u8]) -> Result<T, VaultError> + Sync,
    mut collect: impl FnMut(T),
) -> Result<(), VaultError> {
    let total = pages * PAGE as u64;
    let chunks = pages.div_ceil(CHUNK);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    // While somebody is told of it nobody works: a core dump has the stacks and registers of every thread.
    let at_work = RwLock::new(());
    let one = |chunk: u64, buf: &mut [u8]| {
        let first = chunk * CHUNK;
        let count = CHUNK.min(pages - first) as usize;
        let buf = &mut buf[..count * PAGE];
        read_at(from, buf, first * PAGE as u64).map_err(|e| super::io("reading", &e))?;
        let number = u32::try_from(first + 1).map_err(|_| VaultError::Damaged)?;
        let value = work(number, buf)?;
        if let Some(to) = to {
            write_at(to, buf, first * PAGE as u64).map_err(|e| super::io("writing", &e))?;
        }
        Ok((value, buf.len() as u64))
    };
    let (send, receive) = mpsc::sync_channel(MAX_THREADS * 2);
    let worker = |send: mpsc::SyncSender<Result<(T, u64), VaultError>>| {
        let mut buf = Undumped::zeros(CHUNK.min(pages) as usize * PAGE);
        while !stop.load(Ordering::Relaxed) {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                break;
            }
            let working = at_work.read().unwrap_or_else(PoisonError::into_inner);
            // Whoever is told of it may look, and the system may keep the stack of a thread that has ended.
            let result = apart(|| one(chunk, &mut buf));
            drop(working);
            if send.send(result).is_err() {
                break;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    progress.tell(stage, 0, total)?;
    std::thread::scope(|scope| {
        // A small file is not worth more than one thread.
        for _ in 0..threads.min(chunks as usize) {
            let send = send.clone();
            scope.spawn(|| worker(send));
        }
        drop(send);
        let mut done = 0;
        let mut outcome = Ok(());
        for result in receive {
            if outcome.is_err() {
                continue;
            }
            outcome = result.and_then(|(value, bytes)| {
                done += bytes;
                collect(value);
                let _quiet = at_work.write().unwrap_or_else(PoisonError::into_inner);
                progress.tell(stage, done, total)
            });
            if outcome.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        }
        outcome
    })
}

/// Fills `buf` from `offset` on, without moving a shared position.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

#[cfg(unix)]
pub(crate) fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, buf, offset)
}

/// Fills `buf` from `offset` on. It moves the position of the file, which nobody here relies on.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(windows)]
pub(crate) fn write_at(file: &File, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, buf, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                buf = &buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
