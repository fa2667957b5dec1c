//! A call that may hang, on a thread of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

/// The end of a call.
pub(super) enum Outcome<T> {
    /// The call gave a result.
    Done(T),
    /// The call did not end in time, and goes on alone.
    Late,
    /// The thread of the call could not be started, or panicked.
    Broken,
}

const RUNNING: u8 = 0;
const DELIVERED: u8 = 1;
const ABANDONED: u8 = 2;

/// Runs `job` and waits up to `timeout` for it. A later result goes to `late`, on its own thread. Exactly one of the
/// two gets it.
pub(super) fn within<T: Send + 'static>(
    timeout: Duration,
    job: impl FnOnce() -> T + Send + 'static,
    late: impl FnOnce(T) + Send + 'static,
) -> Outcome<T> {
    let state = Arc::new(AtomicU8::new(RUNNING));
    let (sender, receiver) = mpsc::sync_channel(1);
    let theirs = Arc::clone(&state);
    let claim = |state: &AtomicU8, to| {
        state.compare_exchange(RUNNING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    };
    let thread = std::thread::Builder::new().name("mdk-keyring".into()).spawn(move || {
        // The system may keep the stack of a thread that has ended.
        let done = mdk_wire::secret::apart(job);
        if claim(&theirs, DELIVERED) {
            let _ = sender.send(done);
        } else {
            late(done);
        }
    });
    if thread.is_err() {
        return Outcome::Broken;
    }
    match receiver.recv_timeout(timeout) {
        Ok(done) => Outcome::Done(done),
        Err(RecvTimeoutError::Disconnected) => Outcome::Broken,
        Err(RecvTimeoutError::Timeout) if claim(&state, ABANDONED) => Outcome::Late,
        // The job has just ended and is being delivered.
        Err(RecvTimeoutError::Timeout) => receiver.recv().map_or(Outcome::Broken, Outcome::Done),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_result_goes_to_exactly_one() {
        let (tell, told) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let tell_late = tell.clone();
        let quick = within(Duration::from_secs(20), || 7, move |n: i32| tell_late.send(n).unwrap());
        assert!(matches!(quick, Outcome::Done(7)));
        let slow = within(
            Duration::from_millis(1),
            move || {
                wait.recv().unwrap();
                8
            },
            move |n| tell.send(n).unwrap(),
        );
        assert!(matches!(slow, Outcome::Late));
        go.send(()).unwrap();
        assert_eq!(told.recv(), Ok(8));
        assert!(told.recv().is_err(), "nothing came late from the quick one");
    }

    #[test]
    fn a_panic_is_not_waited_for() {
        let broken = within(Duration::from_secs(20), || panic!("on purpose"), |(): ()| ());
        assert!(matches!(broken, Outcome::Broken));
    }
}
