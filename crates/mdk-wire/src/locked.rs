//! Memory for secrets: pages that the system neither swaps out nor writes into core dumps, handed out in slots.
//!
//! A slot is zero before it is handed out and is wiped when it comes back; a larger value has several in a row. The
//! bookkeeping is a few atomic words, so no lock can be left behind by a thread that a `fork()` did not copy. A child
//! inherits the pages, but not their locking: its own values go to pages of its own.
//!
//! This file is the only one of this crate with `unsafe` code.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use zeroize::Zeroize;

use crate::stack::apart;

/// Bytes in a slot. Longer secrets lie on the heap.
const SLOT: usize = 64;
/// Bytes in a region: the largest page of the systems that we know, but for those with 64 KiB, where it is rounded up.
const REGION: usize = 16 * 1024;
const SLOTS: usize = REGION / SLOT;
const WORDS: usize = SLOTS / 64;
/// Most slots in a row: so many can be claimed at once.
const ROW: usize = 64;
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

/// Exclusive use of slots in a row.
struct Row {
    at: NonNull<u8>,
    used: &'static AtomicU64,
    bits: u64,
}

// SAFETY: these are plain bytes that nobody else refers to while their bits are set; they are not tied to a thread.
unsafe impl Send for Row {}
// SAFETY: through a shared reference they can only be read.
unsafe impl Sync for Row {}

impl Row {
    /// Empty slots, or `None` where the system has no such memory, the pool is used up or no row is that long.
    fn take(count: usize) -> Option<Self> {
        let owner = std::process::id();
        if !(1..=ROW).contains(&count) {
            return None;
        }
        let row = POOL.iter().find_map(|region| {
            let base = region.base(owner)?;
            region.used.iter().enumerate().find_map(|(word, used)| {
                let bits = claim(used, count)?;
                let index = word * 64 + bits.trailing_zeros() as usize;
                // SAFETY: `index` is below SLOTS, so the slot lies within the REGION bytes that were mapped at `base`.
                let at = unsafe { base.add(index * SLOT) };
                Some(Self { at, used, bits })
            })
        });
        if row.is_none() {
            static WARNED: Once = Once::new();
            WARNED.call_once(|| {
                tracing::warn!(
                    "more secrets are held than there is locked memory for, so some may be swapped out or dumped: close accounts and drop keys that are not used"
                );
            });
        }
        row
    }

    /// Bytes in it.
    fn size(&self) -> usize {
        self.bits.count_ones() as usize * SLOT
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        // SAFETY: `size` bytes are mapped there for ever and initialized. Their bits are ours, and no reference to them
        // is left.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.size()) }.zeroize();
        self.used.fetch_and(!self.bits, Ordering::Release);
    }
}

/// Exclusive use of one slot.
pub(crate) struct Slot(Row);

impl Slot {
    /// An empty slot, or `None` where the system has no such memory or the pool is used up.
    pub(crate) fn take() -> Option<Self> {
        Row::take(1).map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8; SLOT] {
        // SAFETY: mapped for ever and initialized (zero from the system, zero from `drop`), and no exclusive reference
        // exists: the bit of this slot is ours, and `bytes_mut` would need `&mut self`.
        unsafe { self.0.at.cast().as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; SLOT] {
        // SAFETY: as above, and `&mut self` makes it the only reference.
        unsafe { self.0.at.cast().as_mut() }
    }
}

/// A value that is made of secrets, such as a key schedule: where a [`Secret`](crate::Secret) would lie, up to 4 KiB of it,
/// and else on the heap. Dropped, it is wiped. Moving the box moves no byte of the value.
pub struct LockedBox<T>(Place<T>);

enum Place<T> {
    /// At the beginning of the row.
    Locked(Row, PhantomData<T>),
    Heap(Box<MaybeUninit<T>>),
}

// SAFETY: the box owns its value as `Box` does.
unsafe impl<T: Send> Send for LockedBox<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for LockedBox<T> {}

impl<T> LockedBox<T> {
    /// Takes the value that `make` returns. The copies that `make` leaves on the stack are overwritten.
    #[must_use]
    pub fn new(make: impl FnOnce() -> T) -> Self {
        apart(|| Self::of(make))
    }

    /// For a value that is no secret yet and becomes one where it lies. Nothing is wiped.
    pub(crate) fn blank(value: T) -> Self {
        Self::of(|| value)
    }

    fn of(make: impl FnOnce() -> T) -> Self {
        let count = size_of::<T>().div_ceil(SLOT).max(1);
        let row = Row::take(count).filter(|_| align_of::<T>() <= SLOT);
        Self(match row {
            Some(row) => {
                // SAFETY: the row is at least as large as the value, is ours, and slots are aligned to their size.
                unsafe { row.at.cast::<T>().write(make()) };
                Place::Locked(row, PhantomData)
            }
            None => Place::Heap(Box::new(MaybeUninit::new(make()))),
        })
    }
}

impl<T> Deref for LockedBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            // SAFETY: the value was written there and lives until `drop`.
            Place::Locked(row, _) => unsafe { row.at.cast::<T>().as_ref() },
            // SAFETY: as above.
            Place::Heap(value) => unsafe { value.assume_init_ref() },
        }
    }
}

impl<T> DerefMut for LockedBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            // SAFETY: as for `deref`; nobody else has the row, and `&mut self` makes it the only reference.
            Place::Locked(row, _) => unsafe { row.at.cast::<T>().as_mut() },
            // SAFETY: as above.
            Place::Heap(value) => unsafe { value.assume_init_mut() },
        }
    }
}

impl<T> Drop for LockedBox<T> {
    fn drop(&mut self) {
        match &mut self.0 {
            // SAFETY: the value is there and is not used again. The row wipes itself.
            Place::Locked(row, _) => unsafe { row.at.cast::<T>().drop_in_place() },
            Place::Heap(value) => {
                // SAFETY: as above.
                unsafe { value.assume_init_drop() };
                (**value).zeroize();
            }
        }
    }
}

impl<T> fmt::Debug for LockedBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedBox(..)")
    }
}

/// Sets bits in a row that were clear, and returns them.
fn claim(used: &AtomicU64, count: usize) -> Option<u64> {
    let mut now = used.load(Ordering::Relaxed);
    loop {
        // The first slot of a row of that length.
        let free = (1..count).fold(!now, |free, n| free & (!now >> n));
        if free == 0 {
            return None;
        }
        let bits = (u64::MAX >> (ROW - count)) << free.trailing_zeros();
        // Acquire: the last user's wipe must be visible.
        match used.compare_exchange_weak(now, now | bits, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Some(bits),
            Err(found) => now = found,
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
mod tests;
