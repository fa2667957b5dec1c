//! Memory for secrets: pages that the system neither swaps out nor writes into core dumps, handed out in slots.
//!
//! A slot is zero before it is handed out and is wiped when it comes back. The bookkeeping is a few atomic words, so no
//! lock can be left behind by a thread that a `fork()` did not copy. A child inherits the pages, not their locking:
//! what it makes itself goes to pages of its own.
//!
//! This is the only file of this crate with `unsafe` code.

use std::ptr::{self, NonNull};
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use zeroize::Zeroize;

/// Bytes in a slot. Longer secrets lie on the heap.
const SLOT: usize = 64;
/// Bytes in a region: the largest page of the systems that we know, but for those with 64 KiB, where it is rounded up.
const REGION: usize = 16 * 1024;
const SLOTS: usize = REGION / SLOT;
const WORDS: usize = SLOTS / 64;
/// At most 1 MiB in all. When it is used up, secrets lie on the heap, where they are wiped all the same.
const REGIONS: usize = 64;

struct Region {
    /// Null until it is made; never released, for then an address could come back as somebody else's.
    base: AtomicPtr<u8>,
    /// The process that made it and in which it is locked.
    owner: AtomicU32,
    /// A bit for every slot that is handed out.
    used: [AtomicU64; WORDS],
}

static POOL: [Region; REGIONS] = [const {
    Region {
        base: AtomicPtr::new(ptr::null_mut()),
        owner: AtomicU32::new(0),
        used: [const { AtomicU64::new(0) }; WORDS],
    }
}; REGIONS];

/// Exclusive use of one slot.
pub(crate) struct Slot {
    at: NonNull<[u8; SLOT]>,
    used: &'static AtomicU64,
    bit: u64,
}

// SAFETY: a slot is plain bytes that nobody else refers to while its bit is set; it is not tied to a thread.
unsafe impl Send for Slot {}
// SAFETY: through a shared reference it can only be read.
unsafe impl Sync for Slot {}

impl Slot {
    /// An empty slot, or `None` where the system has no such memory or the pool is used up.
    pub(crate) fn take() -> Option<Self> {
        let owner = std::process::id();
        POOL.iter().find_map(|region| {
            let base = region.base(owner)?;
            region.used.iter().enumerate().find_map(|(word, used)| {
                let bit = claim(used)?;
                let index = word * 64 + bit.trailing_zeros() as usize;
                // SAFETY: `index` is below SLOTS, so the slot lies within the REGION bytes that were mapped at `base`.
                let at = unsafe { base.add(index * SLOT) }.cast();
                Some(Self { at, used, bit })
            })
        })
    }

    pub(crate) fn bytes(&self) -> &[u8; SLOT] {
        // SAFETY: mapped for ever and initialized (zero from the system, zero from `drop`), and no exclusive reference
        // exists: the bit of this slot is ours, and `bytes_mut` would need `&mut self`.
        unsafe { self.at.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; SLOT] {
        // SAFETY: as above, and `&mut self` makes it the only reference.
        unsafe { self.at.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        self.used.fetch_and(!self.bit, Ordering::Release);
    }
}

/// Sets a bit that was clear, and returns it.
fn claim(used: &AtomicU64) -> Option<u64> {
    loop {
        let free = !used.load(Ordering::Relaxed);
        if free == 0 {
            return None;
        }
        let bit = free & free.wrapping_neg();
        // Acquire: what the last user wiped must be seen as wiped.
        if used.fetch_or(bit, Ordering::Acquire) & bit == 0 {
            return Some(bit);
        }
    }
}

impl Region {
    /// Its memory, which is made now if need be; `None` if it is another process's or cannot be had.
    fn base(&self, owner: u32) -> Option<NonNull<u8>> {
        if let Some(base) = NonNull::new(self.base.load(Ordering::Acquire)) {
            return (self.owner.load(Ordering::Relaxed) == owner).then_some(base);
        }
        let made = system::map()?;
        // Before the base is published, with which it is read. Rivals in this race are threads of one process.
        self.owner.store(owner, Ordering::Relaxed);
        match self.base.compare_exchange(
            ptr::null_mut(),
            made.as_ptr(),
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => {
                if !system::protect(made) {
                    warn_once();
                }
                Some(made)
            }
            Err(theirs) => {
                system::unmap(made);
                NonNull::new(theirs)
            }
        }
    }
}

fn warn_once() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            "secrets cannot be locked in memory and may be swapped out: raise the limit of locked memory (ulimit -l)"
        );
    });
}

#[cfg(unix)]
mod system {
    use std::ptr::{self, NonNull};

    use rustix::mm::{MapFlags, ProtFlags, mlock, mmap_anonymous, munmap};

    use super::REGION;

    pub(super) fn map() -> Option<NonNull<u8>> {
        // SAFETY: a new private mapping where the system likes it touches no existing memory.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                REGION,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        NonNull::new(base.ok()?.cast())
    }

    /// Whether it is now kept in memory. Leaving it out of core dumps is tried in any case.
    pub(super) fn protect(base: NonNull<u8>) -> bool {
        #[cfg(target_os = "linux")]
        // SAFETY: the range is one whole mapping of ours; the advice changes no content.
        unsafe {
            let _ = rustix::mm::madvise(
                base.as_ptr().cast(),
                REGION,
                rustix::mm::Advice::LinuxDontDump,
            );
        }
        // SAFETY: the range is one whole mapping of ours.
        unsafe { mlock(base.as_ptr().cast(), REGION) }.is_ok()
    }

    pub(super) fn unmap(base: NonNull<u8>) {
        // SAFETY: `map` made it just now and nobody was told of it.
        let _ = unsafe { munmap(base.as_ptr().cast(), REGION) };
    }
}

#[cfg(windows)]
mod system {
    use std::ptr::{self, NonNull};

    use windows_sys::Win32::System::Memory::{
        MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
        VirtualLock,
    };

    use super::REGION;

    pub(super) fn map() -> Option<NonNull<u8>> {
        // SAFETY: new memory where the system likes it touches no existing memory.
        let base =
            unsafe { VirtualAlloc(ptr::null(), REGION, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE) };
        NonNull::new(base.cast())
    }

    /// Whether it is now kept in memory.
    pub(super) fn protect(base: NonNull<u8>) -> bool {
        // SAFETY: the range is one whole allocation of ours.
        unsafe { VirtualLock(base.as_ptr().cast(), REGION) != 0 }
    }

    pub(super) fn unmap(base: NonNull<u8>) {
        // SAFETY: `map` made it just now and nobody was told of it.
        unsafe { VirtualFree(base.as_ptr().cast(), 0, MEM_RELEASE) };
    }
}

#[cfg(not(any(unix, windows)))]
mod system {
    use std::ptr::NonNull;

    pub(super) fn map() -> Option<NonNull<u8>> {
        None
    }

    pub(super) fn protect(_base: NonNull<u8>) -> bool {
        false
    }

    pub(super) fn unmap(_base: NonNull<u8>) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_empty_exclusive_and_wiped() {
        let mut one = Slot::take().unwrap();
        let two = Slot::take().unwrap();
        assert_ne!(one.at, two.at);
        assert_eq!(one.bytes(), &[0; SLOT]);
        one.bytes_mut().fill(0xab);
        assert_eq!(two.bytes(), &[0; SLOT]);
        drop(one);
        // Whoever gets which slot next: all of them are zero.
        let slots: Vec<_> = (0..SLOTS + 1).map(|_| Slot::take().unwrap()).collect();
        assert!(slots.iter().all(|slot| slot.bytes() == &[0; SLOT]));
    }

    #[test]
    fn threads_never_share_a_slot() {
        std::thread::scope(|scope| {
            for mark in 1..=8u8 {
                scope.spawn(move || {
                    for _ in 0..200 {
                        let mut slots: Vec<_> = (0..20).map(|_| Slot::take().unwrap()).collect();
                        for slot in &mut slots {
                            assert_eq!(slot.bytes(), &[0; SLOT]);
                            slot.bytes_mut().fill(mark);
                        }
                        assert!(slots.iter().all(|slot| slot.bytes() == &[mark; SLOT]));
                    }
                });
            }
        });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn its_page_is_locked_and_not_dumped() {
        let slot = Slot::take().unwrap();
        let at = slot.at.as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            if let Some((from, to)) =
                line.split(' ').next().and_then(|range| range.split_once('-')).and_then(
                    |(from, to)| {
                        let hex = |text| usize::from_str_radix(text, 16).ok();
                        Some((hex(from)?, hex(to)?))
                    },
                )
            {
                inside = (from..to).contains(&at);
            }
            if let (true, Some(flags)) = (inside, line.strip_prefix("VmFlags:")) {
                let flags: Vec<_> = flags.split_whitespace().collect();
                assert!(flags.contains(&"lo") && flags.contains(&"dd"), "{flags:?}");
                return;
            }
        }
        panic!("the slot is in no mapping");
    }
}
