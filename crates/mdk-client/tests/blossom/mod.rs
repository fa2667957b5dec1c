//! Blobs on servers, good ones and hostile ones.

mod hostile;
mod kit;
mod transfers;
