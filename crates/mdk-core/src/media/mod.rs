//! Files and pictures.

pub(crate) mod attachments;
pub(crate) mod clean;
pub(crate) mod file_type;
pub(crate) mod group_image;
pub(crate) mod picture;
pub(crate) mod recent_files;
