"""How costly a password is to try: the `--kdf…` options of the commands that make a key slot."""

import argparse
from typing import TYPE_CHECKING

from vaultfs.errors import UsageError

if TYPE_CHECKING:
    from vaultfs.crypto.kdf import Kdf

_SCRYPT_MEMORY = 128  # MiB
_SCRYPT_BLOCK_SIZE = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--kdf`, `--kdf-memory` and `--kdf-passes`."""
    parser.add_argument("--kdf", choices=("argon2id", "scrypt"), help="what makes a key of the password")
    parser.add_argument(
        "--kdf-memory",
        metavar="MIB",
        type=int,
        help="memory that each try of a password costs, at least 64; a power of two for scrypt "
        f"(default: 256, for scrypt {_SCRYPT_MEMORY})",
    )
    parser.add_argument("--kdf-passes", metavar="N", type=int, help="how often Argon2id goes over it (default: 3)")


def chosen(args: argparse.Namespace) -> "Kdf | None":
    """The KDF that the options name; None if they name nothing. UsageError outside the limits for new slots."""
    if args.kdf is None and args.kdf_memory is None and args.kdf_passes is None:
        return None
    from vaultfs.crypto.kdf import CREATE_FLOOR, CostError

    kdf = _scrypt(args) if args.kdf == "scrypt" else _argon2id(args)
    try:
        kdf.check(CREATE_FLOOR)
    except CostError as error:
        raise UsageError(f"The options --kdf… ask for what is refused: {error}.") from error
    return kdf


def described(kdf: "Kdf") -> str:
    """A KDF and its costs, for people."""
    from vaultfs.crypto.kdf import Argon2id

    if isinstance(kdf, Argon2id):
        return f"Argon2id, {kdf.memory_kib / 1024:g} MiB, {kdf.passes} passes, {kdf.lanes} lanes"
    return f"scrypt, N = 2^{kdf.log_n}, r = {kdf.r}, p = {kdf.p}"


def _argon2id(args: argparse.Namespace) -> "Kdf":
    from vaultfs.crypto.kdf import DEFAULT, Argon2id

    memory_kib = DEFAULT.memory_kib if args.kdf_memory is None else args.kdf_memory << 10
    passes = DEFAULT.passes if args.kdf_passes is None else args.kdf_passes
    return Argon2id(memory_kib, passes, DEFAULT.lanes)


def _scrypt(args: argparse.Namespace) -> "Kdf":
    from vaultfs.crypto.kdf import Scrypt

    if args.kdf_passes is not None:
        raise UsageError("The option --kdf-passes is for Argon2id; scrypt has no passes.")
    # scrypt takes 128 · r · N bytes (RFC 7914 section 2): with r = 8, N is the memory in KiB.
    n = (_SCRYPT_MEMORY if args.kdf_memory is None else args.kdf_memory) << 10
    if n <= 0 or n & (n - 1):
        raise UsageError("For scrypt, --kdf-memory must be a power of two.")
    return Scrypt(n.bit_length() - 1, _SCRYPT_BLOCK_SIZE, 1)
