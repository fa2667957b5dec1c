//! A panic in the engine: reported by place, never by text, and never past this library.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use mdk_wire::secret::apart;

use crate::errors::{Class, Raise};

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the default hook, whose message may quote content or ids. It concerns this library's code only.
pub(crate) fn install_hook() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| {
            let file = at.file().rsplit(['/', '\\']).next().unwrap_or_default();
            format!("{file}:{}", at.line())
        });
        PLACE.with_borrow_mut(|slot| *slot = place);
    }));
}

/// Runs `f`; a panic becomes `InternalError` with its place. Then what secrets `f` left on the stack is overwritten.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Raise> {
    apart(|| panic::catch_unwind(AssertUnwindSafe(f))).map_err(|payload| {
        dispose(payload);
        let place = PLACE.with_borrow_mut(Option::take).unwrap_or_default();
        Raise::new(
            Class::InternalError,
            format!("internal error: panic at {place}; the object must be opened again"),
        )
    })
}

/// Dropping a payload may panic itself.
fn dispose(payload: Box<dyn Any + Send>) {
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}
