//! `mdk-core`: what Marmot messages mean.
//!
//! One [`Engine`] holds one account: it makes and judges KeyPackages, Welcomes, commits and messages, keeps
//! every group's state in an [`mdk_store::Store`], and does no I/O of its own. Every call is one database
//! transaction; whatever peers send ends as an [`Outcome`].
#![forbid(unsafe_code)]

pub(crate) mod engine;
pub(crate) mod fork_choice;
pub(crate) mod media;
pub(crate) mod mls;
pub(crate) mod model;
pub(crate) mod operations;
mod policy;
pub(crate) mod state_store;
#[doc(hidden)]
pub mod testing;

pub use crate::engine::Engine;
pub use crate::engine::batch::Incoming;
pub use crate::media::attachments::EncryptedMedia;
pub use crate::mls::key_packages::KeyPackageVerdict;
pub use crate::mls::state_keys::EXPORTER_LABEL;
pub use crate::model::clock::{Clock, ManualClock, SystemClock};
pub use crate::model::config::{Config, HistoryLimits, RatchetLimits, SettlingConfig};
pub use crate::model::error::{Error, Result};
pub use crate::model::invites::Inviters;
pub use crate::model::outbox::{
    CommitEnd, CommitState, OutboxChange, OutboxItem, OutboxPurpose, RelayResult, RelayVerdict,
};
pub use crate::model::outcome::{DeferredReason, Outcome, RejectCode, Rejection, Verdict};
pub use crate::model::values::{
    Delivery, EngineEvent, EventBody, GroupInfo, GroupProfile, GroupState, GroupUpdate, Interest,
    Invite, KeyPackageInfo, Member, Message, MessageFate, MessageTimes, NewGroup, NewMessage,
    Outgoing, Pending, Reaction, RemovalsHold, RequirementsUpdate, StoreInfo, Unpaged,
};
pub use mdk_store::SendState;
pub use mdk_wire::v2::Attachment;
