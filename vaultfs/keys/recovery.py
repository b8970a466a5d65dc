"""Recovery keys, whole or in shares: 256 random bits, and the digits a person keeps of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vaultfs.crypto.aead import new_key, random_bytes
from vaultfs.crypto.sharing import join_secret, split_secret
from vaultfs.errors import KeyMistyped, UsageError
from vaultfs.keys.digitgroups import from_groups, to_groups

RECOVERY_GROUPS = 16
SHARE_GROUPS = 17
MOST_SHARES = 15


def new_recovery_key() -> bytes:
    """32 random bytes: the secret of a slot of the type `recovery` or `shares`."""
    return new_key()


def recovery_groups(secret: bytes) -> list[str]:
    """The 16 groups to write down."""
    return to_groups(secret)


def recovery_from_text(text: str) -> bytes:
    """The 32-byte secret behind what was typed; KeyMistyped says which group has a typing error."""
    return from_groups(text, RECOVERY_GROUPS, "The recovery key")


@dataclass(frozen=True, slots=True)
class Share:
    """One of several shares: its number from 1, how many are needed, a byte that is the same in all, 32 bytes.

    Written down as 17 groups; the first holds number (4 bits), threshold (4 bits) and the common byte.
    """

    number: int
    threshold: int
    common: int
    value: bytes = field(repr=False)

    def groups(self) -> list[str]:
        """The 17 groups to write down."""
        return to_groups(bytes((self.number << 4 | self.threshold, self.common)) + self.value)

    @classmethod
    def from_text(cls, text: str) -> "Share":
        """The share behind what was typed; KeyMistyped says which group has a typing error."""
        data = from_groups(text, SHARE_GROUPS, "The share")
        number, threshold = data[0] >> 4, data[0] & 15
        if number < 1 or threshold < 2:
            raise KeyMistyped("The share is none: its first group says what no share says.")
        return cls(number, threshold, data[1], data[2:])


def make_shares(secret: bytes, threshold: int, count: int) -> list[Share]:
    """A 32-byte secret in `count` shares, any `threshold` of which restore it; UsageError for odd numbers."""
    if not 2 <= threshold <= count <= MOST_SHARES:
        raise UsageError(f"A key is split into 2 to {MOST_SHARES} shares, of which 2 or more are needed, such as 3/5.")
    (common,) = random_bytes(1)
    values = split_secret(secret, threshold, count)
    return [Share(number, threshold, common, value) for number, value in enumerate(values, 1)]


def join_shares(shares: Sequence[Share]) -> bytes:
    """The 32-byte secret. Raises KeyMistyped if the shares are too few, of different keys, or one is there twice."""
    first = shares[0]
    for share in shares:
        if (share.threshold, share.common) != (first.threshold, first.common):
            raise KeyMistyped(f"Share {share.number} and share {first.number} are not of the same key.")
    values = {share.number: share.value for share in shares}
    if len(values) < len(shares):
        raise KeyMistyped("One share was given twice.")
    if len(values) < first.threshold:
        raise KeyMistyped(f"{first.threshold} shares are needed, and {len(values)} were given.")
    return join_secret(dict(list(values.items())[: first.threshold]))
