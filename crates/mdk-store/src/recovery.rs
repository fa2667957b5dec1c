//! Opening: what was found, and what is done with it.

pub(crate) mod plain_copy;
mod refusal;
pub(crate) mod rekeyed;
pub(crate) mod state;
pub(crate) mod table;

pub(crate) use refusal::{error_of, explain_refusal};
