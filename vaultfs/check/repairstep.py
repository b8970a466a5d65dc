"""One step of a repair, as it is shown before and done after."""

from collections.abc import Callable
from typing import NamedTuple

from vaultfs.store.api import Store
from vaultfs.vault.inline import Inline


class Step(NamedTuple):
    """One thing to do, in words: to stored files before the vault is opened, in the open vault, to files after that.

    What is `joined` is committed together with the step before: whatever ends a repair in between, a directory that
    names others never gets a place without them, since only the two together tell what was in which.
    """

    text: str
    before: Callable[[Store], None] | None = None
    vault: Callable[[Inline], None] | None = None
    after: Callable[[Store], None] | None = None
    joined: bool = False
