"""The flag that libfuse does not set reaches the kernel, nothing else changes, and what it asks for is done."""

import os
import socket
import struct
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse
from vaultfs.mount.handshake import Handshake, is_fuse_device

INIT, GETATTR = 26, 3
DONT_MASK = 1 << 6
KILLPRIV_V2 = 1 << 28
OTHERS = 0x0123_4567
CAPABILITY = "security.capability"
# cap_net_bind_service=ep as the kernel stores it (struct vfs_cap_data, revision 2).
ONE_CAPABILITY = struct.pack("<5I", 0x0200_0001, 1 << 10, 0, 0, 0)


def request(opcode: int, flags: int) -> bytes:
    """fuse_in_header and the beginning of fuse_init_in (linux/fuse.h)."""
    return struct.pack("<IIQQIIIHH4I", 56, opcode, 7, 0, 0, 0, 0, 0, 0, 7, 45, 131072, flags)


def answer(flags: int, error: int = 0) -> bytes:
    """fuse_out_header and the beginning of fuse_init_out."""
    return struct.pack("<IiQ4I", 32, error, 7, 7, 38, 131072, flags) + b"rest"


def passed_on(asked: bytes, replied: bytes) -> bytes:
    """What the kernel hears when it asks and libfuse replies; the device works as before afterwards."""
    kernel, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, device:
        kernel.send(asked)
        handshake = Handshake(device.fileno())
        handshake.begin()
        assert os.read(device.fileno(), 4096) == asked
        os.write(device.fileno(), replied)
        handshake.end()
        heard = kernel.recv(4096)
        kernel.send(b"next request")
        assert os.read(device.fileno(), 4096) == b"next request"
        os.write(device.fileno(), b"next answer")
        assert kernel.recv(4096) == b"next answer"
        return heard


@pytest.mark.parametrize("offered", [DONT_MASK, KILLPRIV_V2, DONT_MASK | KILLPRIV_V2])
def test_a_flag_is_added_where_the_kernel_offers_it(offered: int) -> None:
    assert passed_on(request(INIT, OTHERS | offered), answer(OTHERS)) == answer(OTHERS | offered)


@pytest.mark.parametrize(
    ("asked", "replied"),
    [
        (request(INIT, OTHERS), answer(OTHERS)),
        (request(INIT, KILLPRIV_V2), answer(OTHERS, error=-71)),
        (request(INIT, KILLPRIV_V2), struct.pack("<IiQ", 16, 0, 7)),
        (request(GETATTR, KILLPRIV_V2), answer(OTHERS)),
    ],
    ids=["not offered", "an error", "an old, short answer", "another request"],
)
def test_everything_else_is_passed_on_as_it_is(asked: bytes, replied: bytes) -> None:
    assert passed_on(asked, replied) == replied


def test_no_descriptor_is_left_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    passed_on(request(INIT, KILLPRIV_V2), answer(0))
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_the_fuse_device_counts_as_one(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file, open("/dev/null", "rb") as null:
        assert not is_fuse_device(file.fileno())
        assert not is_fuse_device(null.fileno())


@needs_fuse
@pytest.mark.mount
def test_writing_still_takes_capabilities_away(mounted_vault: MountedVault) -> None:
    """The kernel remembers from the first write that there are none: setting some must make it forget that."""
    file = mounted_vault.path / "program"
    with file.open("wb", buffering=0) as stream:
        for _ in range(2):
            stream.write(b"#!/bin/sh\n")
            os.fsync(stream.fileno())
            os.setxattr(file, CAPABILITY, ONE_CAPABILITY)
            assert CAPABILITY in os.listxattr(file)
            stream.write(b"true\n")
            os.fsync(stream.fileno())
            assert CAPABILITY not in os.listxattr(file)
