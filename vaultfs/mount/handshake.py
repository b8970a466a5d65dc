"""Adds to libfuse's answer to the kernel's first request what libfuse, or pyfuse3, cannot be asked to say.

With FUSE_HANDLE_KILLPRIV_V2 the kernel remembers that a file has no capabilities (`security.capability`); without it,
it asks the filesystem before every single write(2). libfuse before 3.18 cannot set the flag. With FUSE_DONT_MASK the
kernel leaves the umask to the filesystem, which knows where a default ACL takes its place; pyfuse3 does not set that.

What libfuse answers goes straight to the device. So for that one exchange it is given a socket in the device's place,
and here the two messages are passed on: the kernel's request as it is, libfuse's answer with the flags in it
(linux/fuse.h). What the flags ask of a filesystem is done in any case: whoever writes to a file, cuts it, or gives it
to another owner takes set-user-ID, set-group-ID and capabilities off it, and the umask is heeded.
"""

import os
import socket
import stat
import struct

_HEADER = struct.Struct("<IIQ")  # length, opcode or error, unique; the rest of fuse_in_header follows
_IN_HEADER_SIZE = 40
_OUT_HEADER_SIZE = 16
_INIT = 26
_FLAGS_IN = 12  # in fuse_init_in behind major, minor, max_readahead
_FLAGS_OUT = 12  # in fuse_init_out, likewise
_DONT_MASK = 1 << 6
_HANDLE_KILLPRIV_V2 = 1 << 28
_ADDED = _DONT_MASK | _HANDLE_KILLPRIV_V2
_LARGEST = 1 << 16


_FUSE_DEVICE = os.makedev(10, 229)  # the kernel's Documentation/admin-guide/devices.txt


def is_fuse_device(fd: int) -> bool:
    """Whether a descriptor is one of /dev/fuse."""
    found = os.fstat(fd)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == _FUSE_DEVICE


class Handshake:
    """Stands between the kernel and libfuse for the request INIT, the first there is on the descriptor `device`.

    In order: `begin`, then libfuse reads and answers one request, then `end`. Both raise OSError.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        self._kernel = os.dup(device)
        self._libfuse, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._offered = 0
        with theirs:
            os.dup2(theirs.fileno(), device)

    def begin(self) -> None:
        """Pass the kernel's request on; waits for it."""
        request = os.read(self._kernel, _LARGEST)
        _, opcode, _ = _HEADER.unpack_from(request)
        if opcode == _INIT:
            (flags,) = struct.unpack_from("<I", request, _IN_HEADER_SIZE + _FLAGS_IN)
            self._offered = flags & _ADDED
        self._libfuse.send(request)

    def end(self) -> None:
        """Pass libfuse's answer on, and put the device in its place again."""
        answer = bytearray(self._libfuse.recv(_LARGEST))
        _, error, _ = _HEADER.unpack_from(answer)
        if self._offered and not error and len(answer) >= _OUT_HEADER_SIZE + _FLAGS_OUT + 4:
            (flags,) = struct.unpack_from("<I", answer, _OUT_HEADER_SIZE + _FLAGS_OUT)
            struct.pack_into("<I", answer, _OUT_HEADER_SIZE + _FLAGS_OUT, flags | self._offered)
        os.write(self._kernel, answer)
        os.dup2(self._kernel, self._device)
        os.close(self._kernel)
        self._libfuse.close()
