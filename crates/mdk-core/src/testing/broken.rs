//! A deliberate mistake: for calls made while it is switched on, one rule of the order of branches is turned around.

use std::cell::Cell;

thread_local! {
    static BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// Switches the mistake on or off for this thread.
pub fn break_order(on: bool) {
    BROKEN.with(|broken| broken.set(on));
}

/// Whether the rule that is asked is to be turned around.
pub(crate) fn breaks(rule_is_meant: bool) -> bool {
    rule_is_meant && BROKEN.with(Cell::get)
}
