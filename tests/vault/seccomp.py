"""Calls to the system that are refused as a container's filter refuses them.

Self-contained: its text is given to programs that run where this folder is not.
"""

import ctypes
import errno
import os
import platform
import struct

# Number of each call on x86_64 and on aarch64.
NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "get_mempolicy": (239, 236),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "mbind": (237, 235),
    "memfd_create": (319, 279),
    "mlock": (149, 228),
    "mlock2": (325, 284),
    "mlockall": (151, 230),
    "mount": (165, 40),
    "move_pages": (279, 239),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setns": (308, 268),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
# https://docs.docker.com/engine/security/seccomp/ names what its default profile refuses; it leaves out what only the
# administrator of the machine may do anyhow, and so do we.
LOCKING = {"mlock", "mlock2", "mlockall", "memfd_create"}
LIKE_DOCKER = set(NUMBERS) - LOCKING
# A profile that also keeps memory from being locked.
STRICTER = set(NUMBERS)
# That profile says of this one that it does not exist, so that the C library falls back to the older call.
CLONE3 = 435

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}


def refuse(names: set[str]) -> None:
    """From now on these calls fail with EPERM in this process and its children."""
    architecture, column = ARCHITECTURES[platform.machine()]
    load, jump, give = 0x20, 0x15, 0x06
    allow, error = 0x7FFF0000, 0x00050000
    program = [(load, 0, 0, 4), (jump, 1, 0, architecture), (give, 0, 0, allow), (load, 0, 0, 0)]
    answers = {NUMBERS[name][column]: errno.EPERM for name in names} | {CLONE3: errno.ENOSYS}
    for number, answer in sorted(answers.items()):
        program += [(jump, 0, 1, number), (give, 0, 0, error | answer)]
    program.append((give, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_ = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    for arguments in ((no_new_privileges, 1, 0), (seccomp, by_filter, ctypes.addressof(filter_))):
        if libc.prctl(*(ctypes.c_ulong(a) for a in (*arguments, 0, 0)[:5])):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def is_refused(name: str) -> bool:
    """Whether the call fails with EPERM."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = NUMBERS[name][ARCHITECTURES[platform.machine()][1]]
    ctypes.set_errno(0)
    page = ctypes.create_string_buffer(4096)
    return (
        libc.syscall(ctypes.c_long(number), page, ctypes.c_ulong(16), ctypes.c_long(0)) == -1
        and ctypes.get_errno() == errno.EPERM
    )
