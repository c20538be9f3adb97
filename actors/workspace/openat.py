"""openat2(2) for Python: opening a path that provably stays below a directory.

The kernel resolves the whole path in one step and refuses what would leave the directory or pass a
symbolic link, so there is no gap between a check and the use for another process to slip through.
Where the kernel lacks the call (Linux before 5.6, some sandboxes) this fails; there is no weaker
fallback.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

from familiar.errors import WorkspaceError

_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def open_beneath(directory: int, path: str, flags: int, mode: int = 0) -> int:
    """A file descriptor for `path` below the open `directory`, no symbolic link on the way.

    Raises OSError as open(2) does (ELOOP for a link, EXDEV for a path that leaves), and
    WorkspaceError when this kernel cannot keep the promise.
    """
    how = _OpenHow(
        flags | os.O_CLOEXEC,
        mode,
        _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS,
    )
    libc = _libc()
    name = os.fsencode(path)
    # EAGAIN: something was renamed on the way, so the kernel could not vouch for the result.
    for _ in range(64):
        fd = int(
            libc.syscall(
                ctypes.c_long(_OPENAT2),
                ctypes.c_int(directory),
                ctypes.c_char_p(name),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
        )
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    if code in (errno.ENOSYS, errno.EPERM, errno.E2BIG):
        raise WorkspaceError(
            f"This machine cannot open files below a directory safely (openat2: "
            f"{os.strerror(code)}).",
            path=path,
            remedy="It needs Linux 5.6 or newer and a sandbox that allows openat2.",
        )
    raise OSError(code, os.strerror(code), path)
