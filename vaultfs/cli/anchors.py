"""Trust anchors: a vault's newest root as one line of text, for a machine that never saw the vault.

`vaultfs-anchor-1:<vault id>:<generation>:<tag>`, all but the generation in hex. It is no secret. A machine that takes
it refuses any older or forked store from then on, as if it had seen that root itself.
"""

import os
import re

from vaultfs.errors import UsageError, WrongVault
from vaultfs.format.constants import TAG_SIZE, VAULT_ID_SIZE
from vaultfs.vault.memory import GenerationMemory, Seen

_ANCHOR = re.compile(
    rf"vaultfs-anchor-1:([0-9a-f]{{{2 * VAULT_ID_SIZE}}}):([0-9]{{1,20}}):([0-9a-f]{{{2 * TAG_SIZE}}})"
)
_LONGEST = 4096


def anchor_text(vault_id: bytes, seen: Seen) -> str:
    """The anchor of a root."""
    return f"vaultfs-anchor-1:{vault_id.hex()}:{seen.generation}:{seen.tag.hex()}"


def take_anchor(given: str, vault_id: bytes) -> None:
    """Remember an anchor, given as its text or as a file with it, unless this machine has seen a newer root.

    Raises UsageError for anything else, WrongVault for another vault's, OSError if it cannot be remembered.
    """
    text = given.strip()
    if _ANCHOR.fullmatch(text) is None and os.path.isfile(given):
        with open(given, encoding="ascii", errors="replace") as file:
            text = file.read(_LONGEST).strip()
    match = _ANCHOR.fullmatch(text)
    if match is None:
        raise UsageError("That is no anchor, nor a file with one: `vaultfs info --anchor STORE` prints it.")
    if bytes.fromhex(match[1]) != vault_id:
        raise WrongVault("The anchor is of another vault.")
    memory = GenerationMemory.default(vault_id)
    anchor = Seen(int(match[2]), bytes.fromhex(match[3]))
    seen = memory.load()
    if seen is None or seen.generation < anchor.generation:
        memory.save(anchor)
