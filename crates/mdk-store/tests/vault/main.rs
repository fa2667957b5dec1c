//! The file: opened, judged, moved, encrypted anew, copied, lost and saved.
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(unix)]
mod backup;
#[cfg(unix)]
mod backup_kit;
#[cfg(unix)]
mod begun;
#[cfg(unix)]
mod copies;
#[cfg(unix)]
mod cut;
#[cfg(target_os = "linux")]
mod descriptor;
#[cfg(unix)]
mod doctor;
#[cfg(unix)]
mod doctor_keys;
mod encrypt;
#[cfg(unix)]
mod encrypt_cut;
#[cfg(unix)]
mod forged;
mod key_paths;
#[cfg(unix)]
#[path = "../keys_kit/mod.rs"]
mod keys_kit;
#[cfg(target_os = "linux")]
mod locks;
#[cfg(unix)]
mod lost_lock;
mod lost_log;
mod lost_pages;
#[cfg(unix)]
mod lost_record;
mod names;
#[cfg(unix)]
mod open;
#[cfg(target_os = "linux")]
mod passing_faults;
#[cfg(unix)]
mod rekey;
#[path = "../repositories_kit/mod.rs"]
mod repositories_kit;
#[cfg(unix)]
mod restore;
mod salvage;
#[cfg(unix)]
mod side_record;
mod vault_kit;
mod verify;
