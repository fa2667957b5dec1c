//! The stack on which a thread handles signals, where it has one of its own (Python's `faulthandler` gives it one). The system
//! saves all registers there when a signal comes, in the middle of a cipher, too.

use std::{hint::black_box, mem::MaybeUninit, ptr};

use libc::{SS_DISABLE, SS_ONSTACK, sigaltstack, stack_t};

/// Overwrites it, if the thread has one and is not on it.
pub(crate) fn wipe() {
    let mut found = MaybeUninit::<stack_t>::uninit();
    // SAFETY: it is only asked for, and the pointer is valid for writing.
    if unsafe { sigaltstack(ptr::null(), found.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: the system has filled it in.
    let stack = unsafe { found.assume_init() };
    if stack.ss_flags & (SS_DISABLE | SS_ONSTACK) != 0 {
        return;
    }
    // SAFETY: whoever made it keeps this memory for handlers of this thread. None runs now, and one that comes meanwhile has
    // ended when this goes on: what lies here is nobody's.
    unsafe { ptr::write_bytes(stack.ss_sp.cast::<u8>(), 0, stack.ss_size) };
    // Opaque, because nobody reads it.
    black_box(stack.ss_sp);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own, which may have got a stack from the runtime: that is put back.
    #[test]
    fn what_a_handler_has_left_is_overwritten() {
        let mut own = vec![0xa5u8; 64 * 1024];
        let new = stack_t { ss_sp: own.as_mut_ptr().cast(), ss_flags: 0, ss_size: own.len() };
        let mut old = MaybeUninit::<stack_t>::uninit();
        // SAFETY: the memory lives until the old stack is back, and no handler runs on it.
        assert_eq!(unsafe { sigaltstack(&raw const new, old.as_mut_ptr()) }, 0);
        wipe();
        // SAFETY: filled in by the call before.
        assert_eq!(unsafe { sigaltstack(old.as_ptr(), ptr::null_mut()) }, 0);
        assert!(own.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn without_one_nothing_happens() {
        let none = stack_t { ss_sp: ptr::null_mut(), ss_flags: SS_DISABLE, ss_size: 0 };
        let mut old = MaybeUninit::<stack_t>::uninit();
        // SAFETY: as above.
        assert_eq!(unsafe { sigaltstack(&raw const none, old.as_mut_ptr()) }, 0);
        wipe();
        // SAFETY: as above.
        assert_eq!(unsafe { sigaltstack(old.as_ptr(), ptr::null_mut()) }, 0);
    }
}
