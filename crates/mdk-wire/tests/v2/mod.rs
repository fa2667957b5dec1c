//! The v2 components and the identity proof: rule by rule, at their limits, on recorded bytes, and at random.

mod attachment;
mod group_image;
mod identity_proof;
mod limits;
mod media_type;
mod properties;
mod redaction;
mod rules;
mod vectors;
