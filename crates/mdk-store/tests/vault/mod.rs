//! The file: opened, judged, moved, encrypted anew, copied, lost and saved.

mod backup;
mod bad_files;
mod begun;
mod copies;
mod crafted;
mod damaged_values;
#[cfg(target_os = "linux")]
mod descriptor;
mod doctor;
mod doctor_keys;
mod encrypt;
mod encrypt_cut;
mod files;
mod forged;
#[cfg(target_os = "linux")]
mod full_disk;
mod key_paths;
#[cfg(target_os = "linux")]
mod locks;
mod lost_lock;
mod lost_log;
mod lost_record;
mod names;
mod open;
#[cfg(target_os = "linux")]
mod passing_faults;
mod rekey;
mod restore;
mod salvage;
mod side_record;
mod verify;
