"""What systemd is told, and that the keys are kept out of reach."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import REPOSITORY, MountedVault, needs_fuse
from vaultfs.mount.notify import notify


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


def test_the_state_is_sent(listener: socket.socket) -> None:
    notify("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")  # autobind: an abstract name of the kernel's choice
        receiver.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + receiver.getsockname()[1:].decode())
        notify("STOPPING=1")
        assert receiver.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "/nonexistent/socket"])
def test_nobody_listening_is_no_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


@pytest.mark.mount
@needs_fuse
def test_a_mount_tells_its_beginning_and_its_end(listener: socket.socket, tmp_path: Path) -> None:
    vault = MountedVault(tmp_path)
    try:
        assert listener.recv(100) == b"READY=1"
        vault.unmount()
        assert listener.recv(100) == b"STOPPING=1"
    finally:
        vault.close()


def test_a_hardened_process_leaves_no_core_and_shows_no_memory() -> None:
    program = """
import ctypes, resource
from vaultfs.mount.hardening import harden
harden()
PR_GET_DUMPABLE = 3
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert done.stdout == "(0, 0) 0\n"
