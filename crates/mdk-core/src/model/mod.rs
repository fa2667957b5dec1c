//! Plain types and values that the floors above share.

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
