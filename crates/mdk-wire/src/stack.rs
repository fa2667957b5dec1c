//! The remains of returned calls on the stack.

use std::hint::black_box;

/// Runs `f` below a frame of its own, and overwrites what `f` has left on the stack. A plain call of `f` may be made a
/// part of its caller, whose frame is out of reach of [`wipe_stack`] until that returns, too.
pub fn apart<T>(f: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn call<T>(f: impl FnOnce() -> T) -> T {
        f()
    }
    let value = call(f);
    wipe_stack();
    value
}

/// Bytes of the stack that [`wipe_stack`] overwrites: more than any operation leaves. Frames of a build for development are
/// several times as large as those of an optimized one.
const STACK: usize = if cfg!(debug_assertions) { 384 * 1024 } else { 96 * 1024 };

/// Overwrites the part of this thread's stack that returned calls have used: ciphers, hashes and moved values leave
/// copies of secrets there which no destructor reaches. Takes about 2 µs. See [`apart`] for the end of a whole
/// operation.
#[inline(never)]
pub fn wipe_stack() {
    // Words, because they are written faster than bytes; opaque, because nobody reads them.
    let mut below = [0u64; STACK / size_of::<u64>()];
    black_box(&mut below);
}
