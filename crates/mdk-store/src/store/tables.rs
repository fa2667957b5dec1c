//! The tables of the engine, one by one.

pub(crate) mod about;
pub(crate) mod attachment_keys;
pub(crate) mod buffered_events;
pub(crate) mod client_state;
pub(crate) mod epoch_state_row;
pub(crate) mod epoch_states;
pub(crate) mod event_log;
pub(crate) mod groups;
pub(crate) mod key_packages;
pub(crate) mod last_timestamps;
pub(crate) mod message_expiry;
pub(crate) mod message_row;
pub(crate) mod messages;
pub(crate) mod meta;
pub(crate) mod outbox;
pub(crate) mod outgoing_welcomes;
pub(crate) mod own_commits;
pub(crate) mod past_memberships;
pub(crate) mod pending_welcomes;
pub(crate) mod processed_ids;
pub(crate) mod push_tokens;
pub(crate) mod removals;
pub(crate) mod restore_mark;
pub(crate) mod shares;
pub(crate) mod spent_messages;
pub(crate) mod unread;
