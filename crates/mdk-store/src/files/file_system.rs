//! The file systems on which a database may be.
//!
//! SQLite's write-ahead log is coordinated through a memory-mapped file, which two machines do not share. Every promise
//! about modes is empty where the file system has none. Such places are refused. Where the promises hold only under
//! conditions that cannot be seen from here, there is one warning per kind and process.
//!
//! Numbers: `linux/magic.h` and the `f_type` list of statfs(2).

use std::sync::{Mutex, PoisonError};

use crate::{FileRole, OpenError};

/// The verdict on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A local file system with modes, or one that we do not know.
    Good,
    /// It works under conditions; `why` names them.
    Warn {
        /// The name of the file system.
        kind: &'static str,
        /// A subordinate clause that begins with a verb.
        why: &'static str,
    },
    /// It cannot hold a database.
    Refuse {
        /// The name of the file system.
        kind: &'static str,
        /// A subordinate clause that begins with a verb.
        why: &'static str,
    },
}

const SHARED: &str = "is shared between machines, where SQLite's write-ahead log does not hold";
pub(crate) const NO_MODES: &str = "has no owners and modes, so that files cannot be private";
const VOLATILE: &str = "is lost when the machine or its container restarts";
const LAYERED: &str = "is lost with its container unless the directory is a volume";
const FUSE: &str = "is as durable and as private as the program that serves it";

const fn shared(kind: &'static str) -> Verdict {
    Verdict::Refuse { kind, why: SHARED }
}

const fn modeless(kind: &'static str) -> Verdict {
    Verdict::Refuse { kind, why: NO_MODES }
}

/// The verdict on a file system of Linux by its magic number (`f_type` of statfs, as 32 bits).
#[cfg(any(target_os = "linux", target_os = "android", test))]
pub(crate) const fn fs_kind(magic: u32) -> Verdict {
    match magic {
        0x6969 => shared("NFS"),
        0x517b => shared("SMB"),
        0xff53_4d42 => shared("CIFS"),
        0xfe53_4d42 => shared("SMB2"),
        0x0102_1997 => shared("9p"),
        0x564c => shared("NCP"),
        0x5346_414f | 0x6b41_4653 => shared("AFS"),
        0x7375_7245 => shared("Coda"),
        0x00c3_6400 => shared("Ceph"),
        0x0bd0_0bd0 => shared("Lustre"),
        0x0116_1970 => shared("GFS2"),
        0x7461_636f => shared("OCFS2"),
        0x4750_4653 => shared("GPFS"),
        0x1983_0326 => shared("BeeGFS"),
        0x2003_0528 => shared("OrangeFS"),
        0x786f_4256 => shared("vboxsf"),
        0x4d44 => modeless("FAT"),
        0x2011_bab0 => modeless("exFAT"),
        0x5346_544e | 0x7366_746e => modeless("NTFS"),
        0x4244 => modeless("HFS"),
        0xf995_e849 => modeless("HPFS"),
        0x6573_5546 => Verdict::Warn { kind: "FUSE", why: FUSE },
        0x794c_7630 => Verdict::Warn { kind: "overlayfs", why: LAYERED },
        0x6175_6673 => Verdict::Warn { kind: "aufs", why: LAYERED },
        0x0102_1994 => Verdict::Warn { kind: "tmpfs", why: VOLATILE },
        0x8584_58f6 => Verdict::Warn { kind: "ramfs", why: VOLATILE },
        _ => Verdict::Good,
    }
}

/// The verdict on a file system of macOS by the name that statfs gives it (`f_fstypename`).
#[cfg(any(target_vendor = "apple", test))]
pub(crate) fn fs_kind_named(name: &[u8]) -> Verdict {
    match name {
        b"nfs" => shared("NFS"),
        b"smbfs" => shared("SMB"),
        b"afpfs" => shared("AFP"),
        b"webdav" => shared("WebDAV"),
        b"msdos" => modeless("FAT"),
        b"exfat" => modeless("exFAT"),
        b"ntfs" => modeless("NTFS"),
        b"macfuse" | b"osxfuse" | b"fusefs" => Verdict::Warn { kind: "FUSE", why: FUSE },
        b"tmpfs" => Verdict::Warn { kind: "tmpfs", why: VOLATILE },
        _ => Verdict::Good,
    }
}

/// Acts on a verdict: an error, a warning the first time in this process, or nothing.
pub(crate) fn enforce(verdict: Verdict, role: FileRole) -> Result<(), OpenError> {
    static WARNED: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    match verdict {
        Verdict::Good => {}
        Verdict::Refuse { kind, why } => {
            return Err(OpenError::UnsuitableFileSystem { role, kind, why });
        }
        Verdict::Warn { kind, why } => {
            let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
            if !warned.contains(&kind) {
                warned.push(kind);
                tracing::warn!("the directory of the {role} is on {kind}, which {why}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
