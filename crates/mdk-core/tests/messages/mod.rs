//! What members say and send each other.

mod as_said;
mod crowding;
mod deletions;
mod lifetimes;
mod limits;
mod media;
mod media_files;
mod mentions;
mod order;
mod pace;
mod push;
mod skipped;
mod talk;
mod words;
