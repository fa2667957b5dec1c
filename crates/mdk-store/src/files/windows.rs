//! [`Place`] on Windows: access lists at creation instead of modes, handles instead of descriptors.
//!
//! **This file was never run on Windows.** It was type-checked against `windows-sys` only. Its decisions are in
//! `acl.rs`, which is tested on every system. Until it has been checked with `icacls` on a real machine, do not rely on
//! it.
//!
//! A file that we make has a protected access list for its owner and `SYSTEM` from its first instant. Side-cars, which
//! SQLite makes, inherit the list of the directory. The directory is held open without sharing its deletion, so that
//! neither it nor a directory above it can be renamed while the place lives.

mod change;
mod security;

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    os::windows::{
        ffi::OsStrExt,
        fs::OpenOptionsExt,
        io::{AsRawHandle, FromRawHandle},
    },
    path::{Path, PathBuf},
    ptr,
    sync::Arc,
};

use windows_sys::Win32::{
    Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE},
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateFileW, FILE_FLAG_BACKUP_SEMANTICS,
        FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
        FILE_SHARE_WRITE, FILE_TYPE_DISK, GetFileInformationByHandle, GetFileType, READ_CONTROL,
        WRITE_DAC,
    },
};

use super::{
    Found, Handle, Id, acl,
    file_system::{self, Verdict},
    io_error,
};
use crate::{FileRole, OpenError};
pub(super) use change::{try_lock, unlock};

/// A directory, held open, and the name of a file in it.
pub(crate) struct Place {
    dir: Arc<File>,
    dir_path: PathBuf,
    name: OsString,
    sid: String,
    /// Directories that this call made, outermost first; taken back if nothing was put into them.
    made: Vec<PathBuf>,
}

impl Place {
    /// Opens the directory of `path`. Makes it, private, if it is missing.
    pub(crate) fn of(path: &Path, role: FileRole) -> Result<Self, OpenError> {
        let name = path.file_name().ok_or(OpenError::BadPath { role })?.to_owned();
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let failed = |e: io::Error| io_error("opening", FileRole::Directory, &e);
        let sid = security::current_user().map_err(failed)?;
        let made = make_dirs(parent, &sid)?;
        let opened = fs::canonicalize(parent).and_then(|dir_path| {
            let dir = open_directory(&dir_path, READ_CONTROL | FILE_READ_ATTRIBUTES)?;
            Ok((dir, dir_path))
        });
        match opened {
            Ok((dir, dir_path)) => Ok(Self { dir: Arc::new(dir), dir_path, name, sid, made }),
            Err(error) => {
                remove_dirs(&made);
                Err(match error.kind() {
                    io::ErrorKind::NotADirectory => OpenError::BadPath { role },
                    _ => failed(error),
                })
            }
        }
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The same place for another holder, without the directories that were made.
    pub(crate) fn twin(&self) -> Self {
        Self {
            dir: Arc::clone(&self.dir),
            dir_path: self.dir_path.clone(),
            name: self.name.clone(),
            sid: self.sid.clone(),
            made: Vec::new(),
        }
    }

    /// A path of a file in the directory without links in front of its name.
    pub(crate) fn path(&self, name: &OsStr) -> PathBuf {
        self.dir_path.join(name)
    }

    /// The directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.dir_path.clone()
    }

    /// Makes the directory private, or refuses it. It is tightened if we own it and it holds nothing but files
    /// that `ours` accepts. A volume that cannot keep a database is refused too.
    pub(crate) fn secure(
        &self,
        role: FileRole,
        ours: impl Fn(&OsStr) -> bool,
    ) -> Result<(), OpenError> {
        file_system::enforce(self.file_system()?, role)?;
        let failed = |e: io::Error| io_error("reading the access list of", FileRole::Directory, &e);
        let (owner, list) = security::owner_and_list(&self.dir).map_err(failed)?;
        if !acl::is_ours(&owner, &self.sid) {
            return Err(OpenError::ForeignOwner { role: FileRole::Directory });
        }
        let private = acl::is_private(&list, &self.sid);
        if private && acl::is_protected(&list) {
            return Ok(());
        }
        for entry in fs::read_dir(&self.dir_path).map_err(failed)? {
            if !ours(&entry.map_err(failed)?.file_name()) {
                // The directory is private by inheritance: it is not changed under other files, and not refused.
                return if private { Ok(()) } else { Err(OpenError::DirectoryTooOpen { role }) };
            }
        }
        acl::directory_sddl(&self.sid)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
            .and_then(|list| {
                let dir = open_directory(&self.dir_path, READ_CONTROL | WRITE_DAC)?;
                security::set_list(&dir, &list)
            })
            .map_err(|_| OpenError::DirectoryTooOpen { role })
    }

    /// The file `name` if it exists: a regular file, ours, with one link. `mode` is 0600 if nobody else may use it
    /// and 0666 otherwise.
    pub(crate) fn inspect(&self, name: &OsStr, role: FileRole) -> Result<Option<Found>, OpenError> {
        let failed = |e: &io::Error| io_error("opening", role, e);
        // The file is opened for writing where possible, because Windows does not flush a file that was opened for
        // reading.
        let file = match self.open_file(name, GENERIC_READ | GENERIC_WRITE, role) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                self.open_file(name, GENERIC_READ, role)
            }
            other => other,
        };
        let file = match file {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if self.path(name).is_dir() => {
                let _ = e;
                return Err(OpenError::NotAFile { role });
            }
            Err(e) => return Err(failed(&e)),
        };
        let facts = information(&file).map_err(|e| failed(&e))?;
        // SAFETY: the handle is open for as long as `file` lives.
        let is_disk = unsafe { GetFileType(file.as_raw_handle()) } == FILE_TYPE_DISK;
        acl::judge_file(facts.dwFileAttributes, is_disk, facts.nNumberOfLinks).map_err(
            |refusal| match refusal {
                acl::Refusal::Reparse => OpenError::Symlink { role },
                acl::Refusal::NotAFile => OpenError::NotAFile { role },
                acl::Refusal::HardLink => OpenError::HardLink { role },
            },
        )?;
        let (owner, list) = security::owner_and_list(&file).map_err(|e| failed(&e))?;
        if !acl::is_ours(&owner, &self.sid) {
            return Err(OpenError::ForeignOwner { role });
        }
        let mode = if acl::is_private(&list, &self.sid) { 0o600 } else { 0o666 };
        let size = u64::from(facts.nFileSizeHigh) << 32 | u64::from(facts.nFileSizeLow);
        Ok(Some(Found { file: Handle::of(file), size, mode }))
    }

    /// The identity of the file under `name`. It is not needed on Windows, where locks belong to the handle that took
    /// them.
    #[allow(clippy::unused_self)]
    pub(crate) fn id(&self, _name: &OsStr) -> Option<Id> {
        None
    }

    /// Like `inspect`, and replaces a list that lets others in.
    pub(crate) fn inspect_and_narrow(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<Option<Found>, OpenError> {
        let found = self.inspect(name, role)?;
        if let Some(found) = &found
            && found.mode & 0o177 != 0
        {
            acl::file_sddl(&self.sid)
                .ok_or_else(|| io::ErrorKind::InvalidData.into())
                .and_then(|list| {
                    let file = self.open_file(name, READ_CONTROL | WRITE_DAC, role)?;
                    // The file that is opened now must be the one that was inspected.
                    if !is_same_file(&information(&file)?, &information(&found.file)?) {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    security::set_list(&file, &list)
                })
                .map_err(|e| io_error("narrowing the access list of", role, &e))?;
        }
        Ok(found)
    }

    /// Creates a private file that must not exist yet.
    pub(crate) fn create_new(&self, name: &OsStr, role: FileRole) -> Result<Handle, OpenError> {
        let create = || {
            let list = acl::file_sddl(&self.sid).ok_or(io::ErrorKind::InvalidData)?;
            let descriptor = security::Descriptor::parse(&list)?;
            let attributes = descriptor.attributes();
            let path = wide(self.path(name).as_os_str());
            // SAFETY: `path` ends with a zero, and `attributes` borrows from `descriptor`, which lives beyond the call.
            let handle = unsafe {
                CreateFileW(
                    path.as_ptr(),
                    GENERIC_READ | GENERIC_WRITE,
                    share(role),
                    &raw const attributes,
                    CREATE_NEW,
                    FILE_FLAG_OPEN_REPARSE_POINT,
                    ptr::null_mut(),
                )
            };
            if handle == INVALID_HANDLE_VALUE {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the handle was just opened and has no other owner.
            Ok(unsafe { File::from_raw_handle(handle) })
        };
        create().map(Handle::of).map_err(|e: io::Error| io_error("creating", role, &e))
    }

    /// Opens a file for writing, creating it private. The second value says whether it was created.
    pub(crate) fn open_or_create(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<(Handle, bool), OpenError> {
        loop {
            match self.create_new(name, role) {
                Err(OpenError::Io { kind: io::ErrorKind::AlreadyExists, .. }) => {}
                created => return created.map(|file| (file, true)),
            }
            if let Some(found) = self.inspect_and_narrow(name, role)? {
                return Ok((found.file, false));
            }
        }
    }

    /// Nothing to confirm: the open handle of the directory keeps it and its parents in their place.
    #[allow(clippy::unused_self)]
    pub(crate) fn confirm_opened(&self, _name: &OsStr, _role: FileRole) -> Result<(), OpenError> {
        Ok(())
    }

    /// Whether nobody can write here. Windows is not asked: a lock file has to be made there.
    #[allow(clippy::unused_self)]
    pub(crate) fn is_read_only(&self) -> bool {
        false
    }

    /// Whether `name` still leads to `file`.
    pub(crate) fn is_same(&self, name: &OsStr, file: &File) -> bool {
        let here = self
            .open_file(name, FILE_READ_ATTRIBUTES, FileRole::Database)
            .and_then(|file| information(&file));
        matches!((here, information(file)), (Ok(a), Ok(b)) if is_same_file(&a, &b))
    }

    /// The volume of the directory.
    pub(crate) fn file_system(&self) -> Result<Verdict, OpenError> {
        let drive = acl::drive_root(&self.dir_path.to_string_lossy());
        let drive = drive.map(|root| security::drive_type(&wide(OsStr::new(&root))));
        let flags = security::volume_flags(&self.dir)
            .map_err(|e| io_error("reading the file system of", FileRole::Directory, &e))?;
        Ok(acl::judge_volume(drive, flags))
    }

    fn open_file(&self, name: &OsStr, access: u32, role: FileRole) -> io::Result<File> {
        OpenOptions::new()
            .access_mode(access)
            .share_mode(share(role))
            .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
            .open(self.path(name))
    }
}

/// The lock file cannot be removed while it is open. Other files are renamed while they are read.
fn share(role: FileRole) -> u32 {
    match role {
        FileRole::Lock => FILE_SHARE_READ | FILE_SHARE_WRITE,
        _ => FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
    }
}

/// Opens a directory without sharing its deletion, which a rename needs too.
fn open_directory(path: &Path, access: u32) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(access)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut facts = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open for as long as `file` lives, and `facts` is of the type that is written.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut facts) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(facts)
}

fn is_same_file(a: &BY_HANDLE_FILE_INFORMATION, b: &BY_HANDLE_FILE_INFORMATION) -> bool {
    (a.dwVolumeSerialNumber, a.nFileIndexHigh, a.nFileIndexLow)
        == (b.dwVolumeSerialNumber, b.nFileIndexHigh, b.nFileIndexLow)
}

/// Text for a call that wants UTF-16 with a zero at its end.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

/// Makes `dir` and its missing parents, each private. Returns the made directories, outermost first.
fn make_dirs(dir: &Path, sid: &str) -> Result<Vec<PathBuf>, OpenError> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.exists()).collect();
    let mut made = Vec::new();
    for dir in missing.into_iter().rev() {
        match security::create_directory(&wide(dir.as_os_str()), sid) {
            Ok(()) => made.push(dir.to_owned()),
            // Another opener was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                remove_dirs(&made);
                return Err(io_error("creating", FileRole::Directory, &e));
            }
        }
    }
    Ok(made)
}

fn remove_dirs(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        // This fails, rightly, when something else has been put there.
        let _ = fs::remove_dir(dir);
    }
}
