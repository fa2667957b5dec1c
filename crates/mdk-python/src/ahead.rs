//! What iterators have read ahead of their callers. It holds plain text, so it goes with the engine.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What one iterator has read and not handed out.
///
/// Its lock is held for moments only, never over a call of the engine or of Python: whoever closes the account does not
/// wait for who reads.
pub(crate) struct Ahead<T>(Mutex<Items<T>>);

struct Items<T> {
    ready: VecDeque<T>,
    /// Some were taken away with the engine, so the end of those that are left is not the end of all.
    taken: bool,
}

/// The engine went before all items were handed out.
pub(crate) struct Taken;

impl<T> Ahead<T> {
    fn items(&self) -> MutexGuard<'_, Items<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next one. None: nothing is read ahead.
    pub(crate) fn pop(&self) -> Result<Option<T>, Taken> {
        let mut items = self.items();
        match items.ready.pop_front() {
            None if items.taken => Err(Taken),
            next => Ok(next),
        }
    }

    /// Puts what was read while nothing was left. To be called within the call of the engine that reads it: closing waits
    /// for that, and leaves nothing that comes later.
    pub(crate) fn put(&self, read: Vec<T>) {
        self.items().ready = read.into();
    }

    pub(crate) fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        self.items().ready.iter().any(is)
    }
}

trait TakeAway: Send + Sync {
    fn take_away(&self);
}

impl<T: Send> TakeAway for Ahead<T> {
    fn take_away(&self) {
        let mut items = self.items();
        items.taken |= !items.ready.is_empty();
        let ready = mem::take(&mut items.ready);
        drop(items);
        drop(ready);
    }
}

/// The iterators of one account.
#[derive(Default)]
pub(crate) struct Readers(Mutex<Vec<Weak<dyn TakeAway>>>);

impl Readers {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<dyn TakeAway>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For one more iterator.
    pub(crate) fn ahead<T: Send + 'static>(&self) -> Arc<Ahead<T>> {
        let items = Items { ready: VecDeque::new(), taken: false };
        let ahead = Arc::new(Ahead(Mutex::new(items)));
        let one: Arc<dyn TakeAway> = Arc::clone(&ahead) as _;
        let mut all = self.all();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&one));
        ahead
    }

    /// The engine is gone: drops what they have read ahead, which wipes it.
    pub(crate) fn take_away(&self) {
        let all = mem::take(&mut *self.all());
        for reader in all.iter().filter_map(Weak::upgrade) {
            reader.take_away();
        }
    }
}
