//! The calls of Windows that read and set owners and access lists. Each is a few lines around one system call.

use std::{ffi::c_void, fs::File, io, os::windows::io::AsRawHandle, ptr};

use windows_sys::Win32::{
    Foundation::{CloseHandle, ERROR_SUCCESS, HANDLE, LocalFree},
    Security::{
        ACL,
        Authorization::{
            ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
            ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
            SE_FILE_OBJECT, SetSecurityInfo,
        },
        DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, GetTokenInformation,
        OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
        PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
    },
    Storage::FileSystem::{CreateDirectoryW, GetDriveTypeW, GetVolumeInformationByHandleW},
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};

use crate::files::acl;

/// Memory that Windows allocated for us.
struct Local<T>(*mut T);

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a call that documents `LocalFree` for it, and is freed once. Null is allowed.
        unsafe { LocalFree(self.0.cast()) };
    }
}

impl Local<u16> {
    fn text(&self) -> io::Result<String> {
        if self.0.is_null() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: the calls that made this text end it with a zero, which bounds the loop and the slice.
        let units = unsafe {
            let mut len = 0;
            while *self.0.add(len) != 0 {
                len += 1;
            }
            std::slice::from_raw_parts(self.0, len)
        };
        String::from_utf16(units).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// A security descriptor made from SDDL.
pub(super) struct Descriptor(Local<c_void>);

impl Descriptor {
    pub(super) fn parse(sddl: &str) -> io::Result<Self> {
        let text: Vec<u16> = sddl.encode_utf16().chain([0]).collect();
        let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
        // SAFETY: the text ends with a zero; the result is freed by `Local`.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self(Local(descriptor)))
    }

    /// The argument for a call that creates a file or directory. It points into `self`.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }

    fn list(&self) -> io::Result<*mut ACL> {
        let (mut present, mut list, mut defaulted) = (0, ptr::null_mut(), 0);
        // SAFETY: the descriptor lives as long as `self`; the list points into it.
        check(unsafe {
            GetSecurityDescriptorDacl(self.0.0, &raw mut present, &raw mut list, &raw mut defaulted)
        })?;
        // A null list would let everybody in.
        if present == 0 || list.is_null() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(list)
    }
}

fn check(done: i32) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_code(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code.cast_signed()))
    }
}

/// The SID of the user that this process runs as, as text.
pub(super) fn current_user() -> io::Result<String> {
    struct Token(HANDLE);
    impl Drop for Token {
        fn drop(&mut self) {
            // SAFETY: the handle was opened below and is closed once.
            unsafe { CloseHandle(self.0) };
        }
    }
    let mut handle: HANDLE = ptr::null_mut();
    // SAFETY: the pseudo handle of the process is always valid.
    check(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut handle) })?;
    let token = Token(handle);
    // A TOKEN_USER and the SID behind it, at most 68 bytes; `u64` for the alignment.
    let mut buffer = [0u64; 32];
    let mut len = 0u32;
    // SAFETY: the buffer is as long as is said.
    check(unsafe {
        GetTokenInformation(
            token.0,
            TokenUser,
            buffer.as_mut_ptr().cast(),
            size_of_val(&buffer) as u32,
            &raw mut len,
        )
    })?;
    // SAFETY: the call succeeded, so a TOKEN_USER stands at the start of the buffer, which is aligned for it.
    let sid = unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    sid_text(sid)
}

/// The SID must be valid for the call.
fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text = ptr::null_mut();
    // SAFETY: the SID came from Windows and lives in a buffer of the caller; the text is freed by `Local`.
    check(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    Local(text).text()
}

/// The owner of an open file or directory, as the text of its SID, and its access list as SDDL.
pub(super) fn owner_and_list(file: &File) -> io::Result<(String, String)> {
    let wanted = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let mut owner: PSID = ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the handle is open for as long as `file` lives; null stands for what is not wanted.
    check_code(unsafe {
        GetSecurityInfo(
            file.as_raw_handle(),
            SE_FILE_OBJECT,
            wanted,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    })?;
    let descriptor = Local(descriptor);
    if owner.is_null() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut list = ptr::null_mut();
    // SAFETY: the descriptor was just made and lives until the end of the function.
    check(unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor.0,
            SDDL_REVISION_1,
            DACL_SECURITY_INFORMATION,
            &raw mut list,
            ptr::null_mut(),
        )
    })?;
    // `owner` points into the descriptor.
    Ok((sid_text(owner)?, Local(list).text()?))
}

/// Replaces the access list of an open file or directory, and cuts it off from its inherited list.
pub(super) fn set_list(file: &File, sddl: &str) -> io::Result<()> {
    let descriptor = Descriptor::parse(sddl)?;
    let list = descriptor.list()?;
    // SAFETY: the handle is open for as long as `file` lives, the list as long as `descriptor`.
    check_code(unsafe {
        SetSecurityInfo(
            file.as_raw_handle(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            ptr::null_mut(),
            list,
            ptr::null(),
        )
    })
}

/// Makes a private directory. `path` ends with a zero.
pub(super) fn create_directory(path: &[u16], sid: &str) -> io::Result<()> {
    let list = acl::directory_sddl(sid).ok_or(io::ErrorKind::InvalidData)?;
    let descriptor = Descriptor::parse(&list)?;
    let attributes = descriptor.attributes();
    // SAFETY: the path ends with a zero, and `attributes` points into `descriptor`, which lives beyond the call.
    check(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) })
}

/// The kind of the drive of a root (`DRIVE_…`). `root` ends with a zero.
pub(super) fn drive_type(root: &[u16]) -> u32 {
    // SAFETY: the text ends with a zero.
    unsafe { GetDriveTypeW(root.as_ptr()) }
}

/// The flags of the volume that an open directory lies on.
pub(super) fn volume_flags(dir: &File) -> io::Result<u32> {
    let mut flags = 0u32;
    // SAFETY: the handle is open for as long as `dir` lives; null and 0 stand for what is not wanted.
    check(unsafe {
        GetVolumeInformationByHandleW(
            dir.as_raw_handle(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut flags,
            ptr::null_mut(),
            0,
        )
    })?;
    Ok(flags)
}
