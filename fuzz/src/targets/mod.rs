//! The targets, one module each.

pub mod archive;
pub mod attachment;
pub mod components;
pub mod engine_foreign;
pub mod engine_state;
pub mod event_json;
pub mod event_members;
pub mod gift_wrap_inner;
pub mod gift_wrap_unwrap;
pub mod group_message;
pub mod identity_proof;
pub mod key_package_event;
pub mod payload;
pub mod push;
pub mod relay_frame;
pub mod text;
pub mod varint_reader;
pub mod welcome_for_recipient;
pub mod welcome_rumor;

/// A target with what its runners have to know.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its module here, its program in `libfuzzer`, its folder in the corpus.
    pub name: &'static str,
    /// Longest input in bytes: beyond the limits of the decoder where that is cheap, else large enough for the seeds.
    pub longest: usize,
    /// Runs it on one input. It panics if something is wrong.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident: $longest:literal,)*) => {
        &[$(Target { name: stringify!($name), longest: $longest, run: $name::run },)*]
    };
}

/// All of them.
pub const ALL: &[Target] = targets! {
    archive: 1024,
    attachment: 8192,
    components: 8192,
    engine_foreign: 1024,
    engine_state: 96,
    event_json: 16384,
    event_members: 8192,
    gift_wrap_inner: 16384,
    gift_wrap_unwrap: 32768,
    group_message: 16384,
    identity_proof: 256,
    key_package_event: 8192,
    payload: 8192,
    push: 8192,
    relay_frame: 16384,
    text: 4096,
    varint_reader: 1024,
    welcome_for_recipient: 16384,
    welcome_rumor: 16384,
};
