//! Opening: what was found, and what is done with it.

mod in_order;
pub(crate) mod plain_copy;
mod refusal;
pub(crate) mod state;
pub(crate) mod table;
mod which_key;

pub(crate) use in_order::{end_rekey, put_in_order};
pub(crate) use refusal::{error_of, explain_refusal};
pub(crate) use which_key::{existing_key, find_key, of_wrong_key};
