//! `mdk-core`: what Marmot messages mean.
//!
//! One [`Engine`] holds one account: it makes and judges KeyPackages, Welcomes, commits and messages, keeps
//! every group's state in an [`mdk_store::Store`], and does no I/O of its own. Every call is one database
//! transaction; whatever peers send ends as an [`Outcome`].
#![forbid(unsafe_code)]

mod cache;
mod clock;
mod config;
mod converge;
mod ctx;
mod engine;
mod error;
mod event_log;
mod group;
mod halt;
mod history;
mod identity;
mod inbound;
mod key_package;
mod media;
mod message;
mod outbound;
mod outcome;
mod outgoing;
mod pace;
mod parallel;
mod policy;
mod profile;
mod provider;
mod relays;
mod sender_data;
mod signer;
#[doc(hidden)]
pub mod testing;
mod values;
mod vault;
mod welcomes;
mod worked;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Config;
pub use engine::Engine;
pub use error::{Error, Result};
pub use group::epoch::EXPORTER_LABEL;
pub use group::inviters::Inviters;
pub use inbound::Incoming;
pub use key_package::KeyPackageVerdict;
pub use mdk_store::SendState;
pub use mdk_wire::v2::Attachment;
pub use media::EncryptedMedia;
pub use outcome::{DeferredReason, Outcome, RejectCode, Rejection, Verdict};
pub use outgoing::{
    CommitEnd, CommitState, OutboxChange, OutboxItem, OutboxPurpose, RelayResult, RelayVerdict,
};
pub use values::{
    Delivery, EngineEvent, EventBody, GroupInfo, GroupState, GroupUpdate, Interest, Invite,
    KeyPackageInfo, Member, Message, NewGroup, NewMessage, Outgoing, Pending, Reaction,
    RequirementsUpdate, StoreInfo, Unpaged,
};
