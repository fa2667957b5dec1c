//! What members say and send each other.

mod crowding;
mod deletions;
mod lifetimes;
mod limits;
mod media;
mod media_files;
mod order;
mod pace;
mod talk;
mod words;
