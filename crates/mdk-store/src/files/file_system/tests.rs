//! Tests of each row, with the numbers written down a second time, and of the warning itself.
#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tracing::{Event, Metadata, Subscriber, field, span};

use super::*;

macro_rules! rows {
    ($($row:ident: $($magic:literal)|+ => $verdict:ident $kind:literal $why:ident;)*) => {$(
        #[test]
        fn $row() {
            for magic in [$($magic),+] {
                assert_eq!(fs_kind(magic), Verdict::$verdict { kind: $kind, why: $why }, "{magic:#x}");
            }
        }
    )*};
}

rows! {
    nfs: 0x6969 => Refuse "NFS" SHARED;
    smb: 0x517B => Refuse "SMB" SHARED;
    cifs: 0xFF534D42 => Refuse "CIFS" SHARED;
    smb2: 0xFE534D42 => Refuse "SMB2" SHARED;
    nine_p: 0x01021997 => Refuse "9p" SHARED;
    ncp: 0x564c => Refuse "NCP" SHARED;
    afs: 0x5346414F | 0x6B414653 => Refuse "AFS" SHARED;
    coda: 0x73757245 => Refuse "Coda" SHARED;
    ceph: 0x00c36400 => Refuse "Ceph" SHARED;
    lustre: 0x0BD00BD0 => Refuse "Lustre" SHARED;
    gfs2: 0x01161970 => Refuse "GFS2" SHARED;
    ocfs2: 0x7461636f => Refuse "OCFS2" SHARED;
    gpfs: 0x47504653 => Refuse "GPFS" SHARED;
    beegfs: 0x19830326 => Refuse "BeeGFS" SHARED;
    orangefs: 0x20030528 => Refuse "OrangeFS" SHARED;
    vboxsf: 0x786f4256 => Refuse "vboxsf" SHARED;
    fat: 0x4d44 => Refuse "FAT" NO_MODES;
    exfat: 0x2011BAB0 => Refuse "exFAT" NO_MODES;
    ntfs: 0x5346544e | 0x7366746e => Refuse "NTFS" NO_MODES;
    hfs: 0x4244 => Refuse "HFS" NO_MODES;
    hpfs: 0xf995e849 => Refuse "HPFS" NO_MODES;
    fuse: 0x65735546 => Warn "FUSE" FUSE;
    overlay: 0x794c7630 => Warn "overlayfs" LAYERED;
    aufs: 0x61756673 => Warn "aufs" LAYERED;
    tmpfs: 0x01021994 => Warn "tmpfs" VOLATILE;
    ramfs: 0x858458f6 => Warn "ramfs" VOLATILE;
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
        ("macfuse", Verdict::Warn { kind: "FUSE", why: FUSE }),
        ("tmpfs", Verdict::Warn { kind: "tmpfs", why: VOLATILE }),
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
