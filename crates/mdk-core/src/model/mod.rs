//! Plain types and values that the floors above share.
//!
//! - what the engine hands out: values, errors, verdicts: `values`, `error`, `outcome`, `halt`
//! - what it is given: arguments, limits, time: `arguments`, `config`, `limits`, `clock`, `busy_time`, `hints`,
//!   `relay_urls`
//! - one call, its input, its effects and its follow-ups: `call`, `input`, `opened`, `effects`, `follow_up`
//! - groups: membership, invites, settings, states: `membership`, `invites`, `settings`, `state_id`
//! - commits of ours and of others: `commit_facts`, `commit_purpose`
//! - messages and events: `message_kinds`, `sending_position`, `stored_event`, `outbox`

pub(crate) mod arguments;
pub(crate) mod busy_time;
pub(crate) mod call;
pub(crate) mod clock;
pub(crate) mod commit_facts;
pub(crate) mod commit_purpose;
pub(crate) mod config;
pub(crate) mod effects;
pub(crate) mod error;
pub(crate) mod follow_up;
pub(crate) mod halt;
pub(crate) mod hints;
pub(crate) mod input;
pub(crate) mod invites;
pub(crate) mod limits;
pub(crate) mod membership;
pub(crate) mod message_kinds;
pub(crate) mod opened;
pub(crate) mod outbox;
pub(crate) mod outcome;
pub(crate) mod relay_urls;
pub(crate) mod sending_position;
pub(crate) mod settings;
pub(crate) mod state_id;
pub(crate) mod stored_event;
pub(crate) mod values;
