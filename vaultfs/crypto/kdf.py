"""Password hashing that costs memory: Argon2id (RFC 9106) and scrypt (RFC 7914), with limits on the costs.

Costs are read from a header anybody may have altered, so they are checked before any memory is spent:
too high would freeze the machine, too low would let a swapped header turn the password into a cheap guess.
"""

from dataclasses import dataclass
from typing import TypeAlias

KEY_SIZE = 32
MEMORY_CEILING = 4 << 30
"""The most memory, in bytes, that opening a vault may ask for."""


class CostError(ValueError):
    """KDF costs outside the limits; the message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The lowest costs accepted: Argon2id memory in KiB, and the binary logarithm of scrypt's N."""

    argon2_memory_kib: int
    scrypt_log_n: int


CREATE_FLOOR = Floor(argon2_memory_kib=64 << 10, scrypt_log_n=16)
"""For a new key slot: RFC 9106's memory-constrained recommendation (64 MiB), or scrypt with 2^16."""

OPEN_FLOOR = Floor(argon2_memory_kib=8 << 10, scrypt_log_n=10)
"""For an existing key slot. Lower than for a new one, so that vaults made cheap on purpose stay readable; whatever
is below was never made by vaultfs without being told to, and is refused."""


@dataclass(frozen=True, slots=True)
class Argon2id:
    """Costs of Argon2id, RFC 9106 section 3.1: memory in KiB (8 per lane or more), passes, lanes (also threads)."""

    memory_kib: int
    passes: int
    lanes: int

    def check(self, floor: Floor) -> None:
        """CostError unless at or above `floor`, and at most 4 GiB, 64 passes and 64 lanes. Costs nothing."""
        _check_range("Argon2id memory (KiB)", self.memory_kib, floor.argon2_memory_kib, MEMORY_CEILING >> 10)
        _check_range("Argon2id passes", self.passes, 1, 64)
        _check_range("Argon2id lanes", self.lanes, 1, 64)

    def derive(self, password: bytes, salt: bytes) -> bytes:
        """A 32-byte key, by costs that passed `check`.

        MemoryError if there is no such memory, ImportError if no library here has Argon2.
        """
        try:
            import argon2  # noqa: F401 - asked for first: it needs no OpenSSL 3.2
        except ImportError:
            return self._by_cryptography(password, salt)
        return self._by_argon2_cffi(password, salt)

    def _by_argon2_cffi(self, password: bytes, salt: bytes) -> bytes:
        from argon2.exceptions import HashingError
        from argon2.low_level import Type, hash_secret_raw

        try:
            return hash_secret_raw(
                password,
                salt,
                time_cost=self.passes,
                memory_cost=self.memory_kib,
                parallelism=self.lanes,
                hash_len=KEY_SIZE,
                type=Type.ID,
            )
        except HashingError as error:
            raise MemoryError(f"Argon2id with {self.memory_kib >> 10} MiB: {error}") from error

    def _by_cryptography(self, password: bytes, salt: bytes) -> bytes:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as Derivation

        try:
            return Derivation(
                salt=salt, length=KEY_SIZE, iterations=self.passes, lanes=self.lanes, memory_cost=self.memory_kib
            ).derive(password)
        except UnsupportedAlgorithm as error:
            raise ImportError("no library here has Argon2id; install argon2-cffi") from error


@dataclass(frozen=True, slots=True)
class Scrypt:
    """Costs of scrypt, RFC 7914 section 2: N = 2^log_n, block size r (128-byte units), parallelisation p."""

    log_n: int
    r: int
    p: int

    def check(self, floor: Floor) -> None:
        """CostError unless at or above `floor`, and at most 2^24, r 32, p 16 and 4 GiB. Costs nothing."""
        _check_range("scrypt log2(N)", self.log_n, floor.scrypt_log_n, 24)
        _check_range("scrypt r", self.r, 8, 32)
        _check_range("scrypt p", self.p, 1, 16)
        _check_range("scrypt memory (bytes)", 128 * self.r * ((1 << self.log_n) + self.p), 0, MEMORY_CEILING)

    def derive(self, password: bytes, salt: bytes) -> bytes:
        """A 32-byte key, by costs that passed `check`; MemoryError if there is no such memory."""
        from vaultfs.crypto.pycryptodome import scrypt

        try:
            key = scrypt(password, salt, KEY_SIZE, 1 << self.log_n, self.r, self.p)
        except ValueError as error:  # what pycryptodome makes of a failed malloc(3), too
            raise MemoryError(f"scrypt with {128 * self.r << self.log_n >> 20} MiB: {error}") from error
        assert isinstance(key, bytes)  # a tuple only for several keys at once
        return key


Kdf: TypeAlias = Argon2id | Scrypt

DEFAULT = Argon2id(memory_kib=256 << 10, passes=3, lanes=4)
"""For new vaults: 0.5 to 0.7 s on a machine of 2024."""


def _check_range(what: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise CostError(f"{what} is {value}, and must be between {lowest} and {highest}")
