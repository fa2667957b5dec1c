//! Where the key of a database comes from, and what can be wrong there.

#[cfg(target_os = "linux")]
mod keyring;
mod sources;
