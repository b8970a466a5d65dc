"""How a vault is mounted: the choices of one mount, and the option words libfuse gets for them."""

from dataclasses import dataclass

SUBTYPE = "vaultfs"
SOURCE_PREFIX = "vaultfs@"


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The choices of one mount.

    `store_description` is the store's absolute path, shown as the mount's source. `idle_seconds` is how
    long nothing may happen before it unmounts itself (None: it never does). `extra` holds mount options
    passed on as they are (`nosuid`, `noexec`, `noatime`, …; `fsname=`, `subtype=` replace ours).
    """

    store_description: str
    read_only: bool = False
    allow_other: bool = False
    idle_seconds: float | None = None
    noxattr: bool = False
    extra: tuple[str, ...] = ()
    debug: bool = False


class _Word(str):
    """An option pyfuse3 can pass on whatever its characters: it encodes as US-ASCII, but paths are not."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", "surrogateescape")


def libfuse_options(options: MountOptions) -> set[str]:
    """The words for `fuse_session_new` (mount.fuse3(8)); a comma or backslash in a value is escaped."""
    words = {"fsname": f"={SOURCE_PREFIX}{options.store_description}", "subtype": f"={SUBTYPE}"}
    flags = {"default_permissions": True, "ro": options.read_only, "allow_other": options.allow_other}
    words |= {name: "" for name, wanted in {**flags, "debug": options.debug}.items() if wanted}
    for word in options.extra:
        name, equals, value = word.partition("=")
        words[name] = equals + value
    return {_Word((name + value).replace("\\", "\\\\").replace(",", "\\,")) for name, value in words.items()}
