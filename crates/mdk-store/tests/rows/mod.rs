//! What lies in the file: rows, their bounds and their history.

mod file_keys;
mod openmls_storage;
mod outgoing;
mod repositories;
mod repositories_bounds;
mod repositories_history;
mod tx;
