//! Events, and what is in them: KeyPackages, group messages, gift wraps and welcomes.

mod envelopes;
mod event;
mod key_package;
mod recorded;
mod welcome;
