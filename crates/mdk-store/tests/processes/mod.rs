//! Processes that open one database, that are killed, and whose calls to the system fail or are counted. The children are
//! this program, started again.

mod first_open;
#[cfg(target_os = "linux")]
mod fsync;
mod lock;
