//! The decisions of the Windows part, as functions of text and numbers, so that they are tested on every system.
//!
//! Access lists are read and written as SDDL (Security Descriptor Definition Language, `[MS-DTYP]` 2.5.1).

/// The account `SYSTEM`, under which the operating system itself runs.
const SYSTEM: [&str; 2] = ["SY", "S-1-5-18"];

/// The group of administrators. They may take any file anyway, and own the files that an elevated administrator
/// creates.
const ADMINISTRATORS: [&str; 2] = ["BA", "S-1-5-32-544"];

/// No accounts: they stand for the creator, or the owner, of the file. The owner is checked on its own.
const OWNER: [&str; 4] = ["CO", "S-1-3-0", "OW", "S-1-3-4"];

/// `FILE_ATTRIBUTE_DIRECTORY`.
const DIRECTORY: u32 = 0x10;
/// `FILE_ATTRIBUTE_REPARSE_POINT`: symbolic links, junctions, and files that another program serves.
const REPARSE_POINT: u32 = 0x400;
/// `FILE_PERSISTENT_ACLS`: the volume keeps access lists.
const PERSISTENT_ACLS: u32 = 8;
/// `DRIVE_REMOTE`.
const DRIVE_REMOTE: u32 = 4;

/// The reason why a file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Reparse,
    NotAFile,
    HardLink,
}

/// The access list of a new file: its owner and `SYSTEM`, nothing inherited. `None` if `sid` is no SID.
pub(super) fn file_sddl(sid: &str) -> Option<String> {
    is_sid(sid).then(|| format!("D:P(A;;FA;;;{sid})(A;;FA;;;SY)"))
}

/// The access list of a new directory. Files that are made in it without a list of their own inherit it; SQLite makes
/// its side-cars so.
pub(super) fn directory_sddl(sid: &str) -> Option<String> {
    is_sid(sid).then(|| format!("D:P(A;OICI;FA;;;{sid})(A;OICI;FA;;;SY)"))
}

/// Whether `text` is a SID in its string form, so that it can be put into SDDL without changing its meaning.
fn is_sid(text: &str) -> bool {
    let Some(numbers) = text.strip_prefix("S-1-") else {
        return false;
    };
    text.len() <= 184
        && numbers.split('-').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an access list lets in nobody but `sid`, `SYSTEM` and administrators. `sddl` is the `D:` part as Windows
/// writes it. A list that cannot be understood is not private. A missing list lets in everybody, and is not private
/// either.
pub(super) fn is_private(sddl: &str, sid: &str) -> bool {
    let Some(list) = sddl.strip_prefix("D:") else {
        return false;
    };
    let (flags, entries) = list.split_at(list.find('(').unwrap_or(list.len()));
    // `D:NO_ACCESS_CONTROL` is a null list: everybody may do everything.
    if !flags.bytes().all(|b| b.is_ascii_uppercase()) || flags.starts_with("NO") {
        return false;
    }
    let Some(entries) = entries.strip_prefix('(') else {
        // An empty list lets in nobody.
        return entries.is_empty();
    };
    let Some(entries) = entries.strip_suffix(')') else {
        return false;
    };
    entries.split(")(").all(|entry| {
        let fields: Vec<&str> = entry.split(';').collect();
        match fields[..] {
            // An entry that denies cannot widen.
            ["D", _, _, "", "", _] => true,
            ["A", _, _, "", "", who] => {
                who == sid
                    || SYSTEM.contains(&who)
                    || ADMINISTRATORS.contains(&who)
                    || OWNER.contains(&who)
            }
            // Conditional and object entries are not ours.
            _ => false,
        }
    })
}

/// Whether the list is protected, so that a change of the directory above does not widen it.
pub(super) fn is_protected(sddl: &str) -> bool {
    sddl.strip_prefix("D:")
        .is_some_and(|list| list[..list.find('(').unwrap_or(list.len())].contains('P'))
}

/// Whether a file of `owner` is ours.
pub(super) fn is_ours(owner: &str, sid: &str) -> bool {
    owner == sid || ADMINISTRATORS.contains(&owner)
}

/// Whether a file may be used.
pub(super) fn judge_file(attributes: u32, is_disk: bool, links: u32) -> Result<(), Refusal> {
    if attributes & REPARSE_POINT != 0 {
        return Err(Refusal::Reparse);
    }
    if attributes & DIRECTORY != 0 || !is_disk {
        return Err(Refusal::NotAFile);
    }
    if links > 1 {
        return Err(Refusal::HardLink);
    }
    Ok(())
}

/// The root to ask about the kind of a drive, `C:\` from `\\?\C:\…`; `None` for a path on a server.
pub(super) fn drive_root(path: &str) -> Option<String> {
    let path = path.strip_prefix(r"\\?\").unwrap_or(path);
    let mut chars = path.chars();
    match (chars.next(), chars.next()) {
        (Some(drive), Some(':')) if drive.is_ascii_alphabetic() => Some(format!(r"{drive}:\")),
        _ => None,
    }
}

/// The verdict on a volume, from `GetDriveTypeW` (`None` for a path on a server) and the flags of the volume.
pub(super) fn judge_volume(drive: Option<u32>, flags: u32) -> super::file_system::Verdict {
    use super::file_system::{NO_MODES, Verdict};
    match drive {
        None | Some(DRIVE_REMOTE) => Verdict::Refuse {
            kind: "a network drive",
            why: "is shared between machines, where SQLite's write-ahead log does not hold",
        },
        Some(_) if flags & PERSISTENT_ACLS == 0 => {
            Verdict::Refuse { kind: "a volume without access lists", why: NO_MODES }
        }
        Some(_) => Verdict::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::file_system::Verdict;

    const ME: &str = "S-1-5-21-1004336348-1177238915-682003330-512";
    const OTHER: &str = "S-1-5-21-1004336348-1177238915-682003330-513";

    #[test]
    fn lists_of_new_files_and_directories() {
        assert_eq!(file_sddl(ME), Some(format!("D:P(A;;FA;;;{ME})(A;;FA;;;SY)")));
        assert_eq!(directory_sddl(ME), Some(format!("D:P(A;OICI;FA;;;{ME})(A;OICI;FA;;;SY)")));
        for list in [file_sddl(ME), directory_sddl(ME)].into_iter().flatten() {
            assert!(is_private(&list, ME) && is_protected(&list), "{list}");
            assert!(!is_private(&list, OTHER), "{list}");
        }
    }

    #[test]
    fn nothing_but_a_sid_goes_into_a_list() {
        for bad in [
            "",
            "S-1-",
            "S-1-5-",
            "S-1-5-x",
            "S-2-5-18",
            "WD",
            "S-1-5-18)(A;;FA;;;WD",
            &format!("S-1-{}5", "5-".repeat(200)),
        ] {
            assert_eq!(file_sddl(bad), None, "{bad}");
            assert_eq!(directory_sddl(bad), None, "{bad}");
        }
    }

    #[test]
    fn private_lists() {
        for list in [
            "D:P",
            "D:",
            &format!("D:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;FA;;;{ME})"),
            &format!("D:PAI(D;;FA;;;WD)(A;;FA;;;{ME})"),
            &format!("D:P(A;OICIIO;GA;;;CO)(A;;FA;;;{ME})(A;;FA;;;S-1-5-18)"),
        ] {
            assert!(is_private(list, ME), "{list}");
        }
    }

    #[test]
    fn lists_that_let_others_in() {
        for list in [
            "",
            "O:BA",
            "D:NO_ACCESS_CONTROL",
            "D:P(A;;FR;;;WD)",
            "D:P(A;;FR;;;BU)",
            "D:P(A;;FR;;;AU)",
            &format!("D:P(A;;FA;;;{ME})(A;;FR;;;{OTHER})"),
            &format!("D:P(XA;;FA;;;{ME};(@User.x==1))"),
            &format!("D:P(A;;FA;;;{ME}"),
            &format!("D:P(OA;;FA;bf967aba-0de6-11d0-a285-00aa003049e2;;{ME})"),
            &format!("D:P(A;;FA;;;{ME})x"),
        ] {
            assert!(!is_private(list, ME), "{list}");
        }
    }

    #[test]
    fn protection_is_read_from_the_flags_only() {
        assert!(is_protected("D:PAI(A;;FA;;;SY)"));
        assert!(!is_protected("D:AI(A;;FP;;;SY)"));
        assert!(!is_protected("P"));
    }

    #[test]
    fn owners() {
        assert!(is_ours(ME, ME));
        assert!(is_ours("S-1-5-32-544", ME));
        assert!(!is_ours(OTHER, ME));
        assert!(!is_ours("", ME));
    }

    #[test]
    fn files() {
        assert_eq!(judge_file(0x20, true, 1), Ok(()));
        assert_eq!(judge_file(0x420, true, 1), Err(Refusal::Reparse));
        assert_eq!(judge_file(0x410, true, 1), Err(Refusal::Reparse));
        assert_eq!(judge_file(0x10, true, 1), Err(Refusal::NotAFile));
        assert_eq!(judge_file(0x20, false, 1), Err(Refusal::NotAFile));
        assert_eq!(judge_file(0x20, true, 2), Err(Refusal::HardLink));
    }

    #[test]
    fn volumes() {
        assert_eq!(drive_root(r"\\?\C:\Users\a").as_deref(), Some(r"C:\"));
        assert_eq!(drive_root(r"d:\x").as_deref(), Some(r"d:\"));
        assert_eq!(drive_root(r"\\?\UNC\server\share\x"), None);
        assert_eq!(drive_root(r"\\server\share"), None);
        assert_eq!(judge_volume(Some(3), 8), Verdict::Good);
        for (drive, flags) in [(None, 8), (Some(4), 8), (Some(3), 0), (Some(2), 0x7)] {
            assert!(matches!(judge_volume(drive, flags), Verdict::Refuse { .. }));
        }
    }
}
