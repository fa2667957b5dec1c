//! SQLCipher's documented interface for a whole file: whether a key fits, whether every page is authentic, a connection
//! that changes nothing, a copy under another key.

pub(crate) mod configure;
pub(crate) mod connection;
pub(crate) mod errors;
mod export;
mod format;
mod integrity;
mod key_fits;
mod log_check;
mod lookaside;
pub(crate) mod raw_key;
mod read_only;
pub(crate) mod undumped;
mod unused_space;

pub use configure::APPLICATION_ID;
pub(crate) use export::export;
pub(crate) use format::{MAGIC, PAGE, SALT, USABLE, read_at};
pub(crate) use integrity::{bad_pages, is_cut, is_sound};
pub(crate) use key_fits::key_fits;
pub(crate) use log_check::{Log, is_damaged as log_is_damaged, is_empty as log_is_empty};
pub(crate) use read_only::{ReadOnly, open_read_only};
pub(crate) use unused_space::install;
