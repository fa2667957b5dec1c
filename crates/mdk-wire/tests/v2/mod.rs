//! The v2 components and the identity proof: rule by rule, at their limits, and on recorded bytes; at random, `fuzz` has them.

mod attachment;
mod group_image;
mod identity_proof;
mod limits;
mod media_type;
mod redaction;
mod rules;
mod vectors;
