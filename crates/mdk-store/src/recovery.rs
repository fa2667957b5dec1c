//! Opening: the findings, and the actions that follow from them.

mod finish_rekey;
mod key_lookup;
pub(crate) mod plain_copy;
mod refusal;
pub(crate) mod state;
pub(crate) mod what_to_do;

pub(crate) use finish_rekey::{end_rekey, put_in_order};
pub(crate) use key_lookup::{existing_key, find_key, of_wrong_key};
pub(crate) use refusal::{error_of, explain_refusal};
