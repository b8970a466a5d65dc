"""`-o` options: the comma lists of mount(8), fstab and front-ends, read into a `MountRequest`.

Options of fstab and mount(8) that mean nothing to a FUSE filesystem are dropped; one that nobody
knows is refused by name, because a misspelt `ro` must not become a writable mount.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from vaultfs.errors import UsageError

_FOR_OTHERS = re.compile(
    r"defaults|(no)?auto|(no)?user|users|owner|group|nofail|_netdev|nonempty|big_writes|auto_unmount|async|silent|loud"
    r"|default_permissions|(no)?iversion|(no)?mand|(no)?(rel|strict)atime|(no)?lazytime|(no)?diratime|atime"
    r"|[xX]-.*|(comment|helper|uhelper|subtype|max_read|blksize)=.*",
    re.DOTALL,
)
_FOR_KERNEL = re.compile(r"(no)?(suid|dev|exec)|sync|dirsync|noatime")
_TIME = re.compile(r"([0-9]+)([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


CipherBackend: TypeAlias = Literal["openssl", "pycryptodome"]


@dataclass(slots=True)
class MountRequest:
    """How to mount, from the options given; `idle` in seconds, 0 for never."""

    read_only: bool = False
    remount: bool = False
    allow_other: bool = False
    xattr: bool = True
    idle: int = 0
    fsname: str | None = None
    cipher_backend: CipherBackend | None = None
    passfiles: list[str] = field(default_factory=list)
    extpass: str | None = None
    keyfile: str | None = None
    journal_dir: str | None = None
    kernel: list[str] = field(default_factory=list)


def parse_time(text: str) -> int:
    """`90`, `90s`, `15m`, `2h` or `1d` in seconds. Raises UsageError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no time: write a whole number and s, m, h or d, such as 15m.")
    return int(match[1]) * _SECONDS[match[2]]


def split(text: str) -> list[str]:
    r"""The options in a comma list; `\,` and `\\` stand for a comma and a backslash in a value (mount.fuse3(8))."""
    return list(_pieces(text))


def apply(request: MountRequest, text: str) -> None:
    """Enter one comma list into `request`; later options win. Raises UsageError."""
    for option in split(text):
        if _FOR_OTHERS.fullmatch(option):
            continue
        name, given, value = option.partition("=")
        if _FOR_KERNEL.fullmatch(option):
            request.kernel.append(option)
        elif not given and name in _FLAGS:
            _FLAGS[name](request)
        elif given and value and name in _VALUES:
            _VALUES[name](request, value)
        else:
            raise UsageError(f"There is no mount option {option!r}.")


def _pieces(text: str) -> Iterator[str]:
    for piece in re.findall(r"(?:[^,\\]|\\.|\\$)+", text):
        yield re.sub(r"\\(.)", r"\1", piece)


def _set_backend(request: MountRequest, value: str) -> None:
    if value not in ("openssl", "pycryptodome"):
        raise UsageError(f"There is no cipher backend {value!r}; there are openssl and pycryptodome.")
    request.cipher_backend = "openssl" if value == "openssl" else "pycryptodome"


def _set(name: str, value: object) -> Callable[[MountRequest], None]:
    return lambda request: setattr(request, name, value)


def _store(name: str) -> Callable[[MountRequest, str], None]:
    return lambda request, value: setattr(request, name, value)


_FLAGS = {
    "ro": _set("read_only", True),
    "rw": _set("read_only", False),
    "remount": _set("remount", True),
    "allow_other": _set("allow_other", True),
    "noxattr": _set("xattr", False),
}
_VALUES: dict[str, Callable[[MountRequest, str], None]] = {
    "fsname": _store("fsname"),
    "cipher_backend": _set_backend,
    "extpass": _store("extpass"),
    "keyfile": _store("keyfile"),
    "journal_dir": _store("journal_dir"),
    "passfile": lambda request, value: request.passfiles.append(value),
    "idle": lambda request, value: setattr(request, "idle", parse_time(value)),
}
