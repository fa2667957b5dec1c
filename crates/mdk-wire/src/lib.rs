//! The wire format: pure codecs, identifiers, limits and secret types of Marmot v2.
//!
//! No I/O and no state. Time and randomness are arguments. Every decoder is strict,
//! bounded (see [`limits`]) and free of panics for any input.

pub mod budget;
pub mod curve;
mod error;
pub mod event;
pub mod frame;
pub mod gift_wrap;
pub mod group_message;
pub mod ids;
mod json;
pub mod key_package_event;
pub mod keys;
pub mod kind;
pub mod limits;
mod locked;
pub mod mentions;
mod nip44;
pub mod payload;
pub mod profile;
pub mod push;
pub mod random;
pub mod relay_url;
pub mod secret;
mod stack;
pub mod v2;
pub mod varint;
pub mod welcome;

pub use error::{Broken, Category, WireError};
pub use event::{Event, UnsignedEvent, UnverifiedEvent};
pub use group_message::GroupMessage;
pub use ids::{ContentId, EventId, GroupId, KeyPackageRef, NostrGroupId, PublicKey, Timestamp};
pub use key_package_event::{KeyPackageEvent, KeyPackageTags};
pub use keys::Keys;
pub use locked::LockedBox;
pub use payload::Payload;
pub use random::{OsRandom, Random};
pub use secret::{Secret, SecretVec};
pub use welcome::WelcomeRumor;
