//! Recorded traffic, under the clock of its recording (scripts/recorded_clock.py).

mod key_packages;
mod orders;
mod stories;
