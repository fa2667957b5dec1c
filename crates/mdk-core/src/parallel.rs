//! Pure work on many items, on as many cores as there are.

use std::thread;

/// Fewer items than this per thread are not worth a thread.
const PER_THREAD: usize = 8;
/// More threads than this would crowd out the rest of the process.
const MAX_THREADS: usize = 8;

/// Maps in order. The threads are gone when it returns.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // Asking for the cores reads files of the system: not for work that one thread does anyway.
    if items.len() < 2 * PER_THREAD {
        return items.iter().map(f).collect();
    }
    let cores = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let threads = cores.min(items.len() / PER_THREAD);
    if threads < 2 {
        return items.iter().map(f).collect();
    }
    let f = &f;
    thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(items.len().div_ceil(threads))
            .map(|part| scope.spawn(move || part.iter().map(f).collect::<Vec<R>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
