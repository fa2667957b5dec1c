//! Tests of each row, with the numbers written down a second time, and of the warning itself.
#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tracing::{Event, Metadata, Subscriber, field, span};

use super::*;

fn warned(kind: &'static str, why: &'static str) -> Verdict {
    Verdict::Warn { kind, why }
}

#[test]
fn each_known_file_system_is_judged_by_its_number() {
    for (magic, verdict) in [
        (0x6969, shared("NFS")),
        (0x517B, shared("SMB")),
        (0xFF534D42, shared("CIFS")),
        (0xFE534D42, shared("SMB2")),
        (0x01021997, shared("9p")),
        (0x564c, shared("NCP")),
        (0x5346414F, shared("AFS")),
        (0x6B414653, shared("AFS")),
        (0x73757245, shared("Coda")),
        (0x00c36400, shared("Ceph")),
        (0x0BD00BD0, shared("Lustre")),
        (0x01161970, shared("GFS2")),
        (0x7461636f, shared("OCFS2")),
        (0x47504653, shared("GPFS")),
        (0x19830326, shared("BeeGFS")),
        (0x20030528, shared("OrangeFS")),
        (0x786f4256, shared("vboxsf")),
        (0x4d44, modeless("FAT")),
        (0x2011BAB0, modeless("exFAT")),
        (0x5346544e, modeless("NTFS")),
        (0x7366746e, modeless("NTFS")),
        (0x4244, modeless("HFS")),
        (0xf995e849, modeless("HPFS")),
        (0x65735546, warned("FUSE", FUSE)),
        (0x794c7630, warned("overlayfs", LAYERED)),
        (0x61756673, warned("aufs", LAYERED)),
        (0x01021994, warned("tmpfs", VOLATILE)),
        (0x858458f6, warned("ramfs", VOLATILE)),
    ] {
        assert_eq!(fs_kind(magic), verdict, "{magic:#x}");
    }
}

#[test]
fn ordinary_and_unknown_file_systems_are_good() {
    // ext4, xfs, btrfs, zfs, f2fs, jfs, ubifs, bcachefs, and nothing at all.
    for magic in [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0x2fc1_2fc1,
        0xf2f5_2010,
        0x3153_464a,
        0x2405_1905,
        0xca45_1a4e,
        0,
        u32::MAX,
    ] {
        assert_eq!(fs_kind(magic), Verdict::Good, "{magic:#x}");
    }
}

#[test]
fn names_of_macos() {
    for (name, verdict) in [
        ("nfs", shared("NFS")),
        ("smbfs", shared("SMB")),
        ("afpfs", shared("AFP")),
        ("webdav", shared("WebDAV")),
        ("msdos", modeless("FAT")),
        ("exfat", modeless("exFAT")),
        ("ntfs", modeless("NTFS")),
        ("macfuse", warned("FUSE", FUSE)),
        ("tmpfs", warned("tmpfs", VOLATILE)),
        ("apfs", Verdict::Good),
        ("hfs", Verdict::Good),
        ("", Verdict::Good),
    ] {
        assert_eq!(fs_kind_named(name.as_bytes()), verdict, "{name}");
    }
}

#[test]
fn a_refusal_names_the_kind_and_the_way_out() {
    let error = enforce(fs_kind(0x6969), FileRole::Database).unwrap_err();
    let text = error.to_string();
    assert_eq!(
        error,
        OpenError::UnsuitableFileSystem { role: FileRole::Database, kind: "NFS", why: SHARED }
    );
    assert!(text.contains("NFS") && text.contains("local disk"), "{text}");
}

/// Collects the messages of one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>, Arc<AtomicU64>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Text<'a>(&'a mut String);
        impl field::Visit for Text<'_> {
            fn record_debug(&mut self, _: &field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{value:?}"));
            }
        }
        let mut text = event.metadata().level().to_string() + " ";
        event.record(&mut Text(&mut text));
        self.0.lock().unwrap().push(text);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_doubtful_kind_is_warned_about_once() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        // The kind is made up: other tests of this process may meet the real ones first.
        let odd = Verdict::Warn { kind: "oddfs", why: "is only here for this test" };
        for _ in 0..3 {
            enforce(odd, FileRole::Database).unwrap();
        }
        enforce(Verdict::Good, FileRole::Database).unwrap();
    });
    assert_eq!(
        *log.0.lock().unwrap(),
        ["WARN the directory of the database file is on oddfs, which is only here for this test"]
    );
}
