"""Key files: any file as a key, or a new random one. What counts is its content, by SHA-256."""

import os
from pathlib import Path

from vaultfs.crypto.aead import random_bytes
from vaultfs.crypto.mac import sha256
from vaultfs.errors import PasswordUnreadable, UsageError

SMALLEST = 32
LARGEST = 16 << 20
_NEW_SIZE = 64


def read_keyfile(path: str) -> bytes:
    """The 32-byte SHA-256 of a file of 32 bytes to 16 MiB. Raises PasswordUnreadable."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise PasswordUnreadable(f"The key file {path} cannot be read: {error.strerror}.") from error
    if not SMALLEST <= len(content) <= LARGEST:
        raise PasswordUnreadable(f"The key file {path} must be {SMALLEST} bytes to {LARGEST >> 20} MiB large.")
    return sha256(content)


def make_keyfile(path: str) -> None:
    """Make a file of 64 random bytes, readable by its owner alone. Raises UsageError if there is one already."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o400)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already; no key file is made over it.") from error
    with os.fdopen(fd, "wb") as file:
        file.write(random_bytes(_NEW_SIZE))
        file.flush()
        os.fsync(file.fileno())


def refuse_in_store(path: str, store: Path) -> None:
    """UsageError for a key file inside the store, where whoever has the store has the key."""
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(store)):
        raise UsageError(f"The key file {path} is in the store: whoever has the store would have the key.")
