//! Pure work on many items, on as many cores as there are.
//!
//! OpenMLS walks the path of a commit with rayon. Handing a path of a few nodes to another thread and waiting for it
//! costs more than the walk, and a child that was forked waits for ever: rayon's threads are not in it. So a thread that
//! comes into the engine walks paths itself ([`work_here`]); only the path of a large group is worth threads, and those
//! end with the call ([`on_all_cores`]).

use std::cell::OnceCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rayon_core::{ThreadPool, ThreadPoolBuilder};

/// Fewer items than this per thread are not worth a thread.
const PER_THREAD: usize = 8;
/// More threads than this would crowd out the rest of the process.
const MAX_THREADS: usize = 8;

/// The number of threads that get a pool of their own: rayon keeps the data of a pool (18 kB) when its thread has
/// ended. A program with more of them works as if this were not here.
const MAX_POOLS: usize = 256;

static POOLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static HERE: OnceCell<Option<ThreadPool>> = const { OnceCell::new() };
}

/// From now on this thread does itself the work that OpenMLS gives to rayon.
pub(crate) fn work_here() {
    HERE.with(|pool| {
        pool.get_or_init(|| {
            let counted = POOLS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < MAX_POOLS).then_some(n + 1)
            });
            counted.ok()?;
            // A thread of a pool of the program's own is left as it is.
            ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().ok()
        });
    });
}

/// Runs `f` so that the work that OpenMLS gives to rayon is done on all cores. The threads are gone when it returns.
pub(crate) fn on_all_cores<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let threads = cores();
    let mut work = Some(f);
    let done = (threads > 1).then(|| {
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_scoped(|thread| thread.run(), |pool| work.take().map(|f| pool.install(f)))
    });
    match (done, work) {
        (Some(Ok(Some(result))), _) => result,
        // If no threads can be had, it takes longer.
        (_, Some(f)) => f(),
        _ => unreachable!("the work was either done or is still here"),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Maps in order. The threads are gone when it returns.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // Asking for the cores reads files of the system: not for work that one thread does anyway.
    if items.len() < 2 * PER_THREAD {
        return items.iter().map(f).collect();
    }
    let threads = cores().min(items.len() / PER_THREAD);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::*;

    /// The threads on which the two halves of a join run.
    fn halves() -> (ThreadId, ThreadId) {
        let here = || {
            // The other half waits long enough to be taken by an idle thread, if there is one.
            thread::yield_now();
            thread::current().id()
        };
        rayon_core::join(here, here)
    }

    #[test]
    fn a_thread_in_the_engine_works_by_itself() {
        thread::spawn(|| {
            assert_ne!(halves().0, thread::current().id(), "rayon has threads of its own");
            work_here();
            work_here();
            let me = thread::current().id();
            for _ in 0..100 {
                assert_eq!(halves(), (me, me));
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn large_work_has_all_cores_and_leaves_no_thread_behind() {
        work_here();
        assert_eq!(on_all_cores(rayon_core::current_num_threads), cores());
        assert_eq!(rayon_core::current_num_threads(), 1);
    }

    #[test]
    fn a_panic_of_the_work_comes_through() {
        let caught = std::panic::catch_unwind(|| on_all_cores(|| panic!("on purpose")));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
    }
}
