"""Carries a change of the master key through a whole vault, in steps that end with nothing left under the old one.

Looks at committed roots, as a check does; what is found wanting is written anew by the vault's checkpoints, a batch
at a time. What is left to do is seen in the store alone: after an interruption it is begun again, and skips what is
done. The change is complete once the whole tree was seen with nothing of before in it, no directory having moved past
that look, and no object header, root or journal is left that the previous master key opens.
"""

import stat
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from vaultfs.check.committed import CommittedTree, Place
from vaultfs.check.findings import Finding
from vaultfs.check.walker import Visit, Walker
from vaultfs.errors import Damaged, FilesystemError
from vaultfs.format.constants import ROOT_ID
from vaultfs.format.layout import object_folders
from vaultfs.sealing.entries import decode_head
from vaultfs.sealing.renewal import is_outdated
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault

# A batch, written by one checkpoint: so many bytes of directories, or so many directories.
_BATCH_BYTES = 8 << 20
_BATCH_DIRECTORIES = 256
# Inodes looked at before the owner thread gets a word in.
_SLICE = 20_000
# Looks at the whole tree until it is clear that it does not come to rest.
_PASSES = 20
_TRIES = 20

Progress = Callable[[str, int, int], None]
NAMES, HEADERS = "Wrapping keys", "Sealing headers"


class Who(Enum):
    """Where a step belongs."""

    WORKER = "any thread; it reads or writes the store"
    OWNER = "the owner thread, as an operation of the vault, which may raise NotReady"
    CHECKPOINT = "a checkpoint of the vault"


class Step(NamedTuple):
    """One step; `run` is for those that are no checkpoint."""

    who: Who
    run: Callable[[], object] = lambda: None


class Rekeying:
    """For a vault whose keys have a `previous`. `progress` is told (what, done, of how many)."""

    def __init__(self, vault: Vault, progress: Progress) -> None:
        self._vault = vault
        self._progress = progress
        self._renewed = 0
        self._outdated: list[str] = []

    def steps(self) -> Iterator[Step]:
        """What to do, one after the other; each is to be finished before the next is asked for.

        Raises Damaged if directories cannot be read, ReadOnly, NoSpace; the change is not complete then.
        """
        for _ in range(_PASSES):
            moves = self._vault.directory_moves
            # Roots and journal come under the new keys, whatever else there is to do; and the root that is looked at
            # has all moves counted so far.
            yield from self._renew([Place(ROOT_ID, ())])
            look = _Look(self._vault, self._progress)
            try:
                while not look.finished:
                    yield Step(Who.WORKER, look.go_on)
                    yield from self._renew(look.batch)
            finally:
                look.close()
            if look.unread:
                raise Damaged(_unreadable(look.unread))
            if not look.outdated and (look.was_one_root or self._vault.directory_moves == moves):
                # A file that moves while it is looked for is met twice, which is no damage.
                if look.findings and look.was_one_root:
                    raise Damaged(f"in a damaged vault it is not certain what needs the old key: {look.findings[0]}")
                break
        else:
            raise FilesystemError("programs keep changing the vault, so that it cannot be seen as a whole; try again")
        yield from self._headers()
        yield from self._rest()

    def _renew(self, places: list[Place]) -> Iterator[Step]:
        for top, names in places:
            yield Step(Who.OWNER, lambda top=top, names=names: self._vault.renew_directory(top, names))  # type: ignore[misc]
        for _ in range(_TRIES):
            if not self._vault.renewal_waits():
                return
            yield Step(Who.CHECKPOINT)
        raise FilesystemError("the directories written anew could not be committed; try again")

    def _headers(self) -> Iterator[Step]:
        """Until a look at all objects finds none: one may have been made under the old keys during the first."""
        folders = object_folders()
        while True:
            self._renewed = 0
            for number, folder in enumerate(folders):
                yield Step(Who.WORKER, lambda folder=folder: self._renew_headers(folder))  # type: ignore[misc]
                self._progress(HEADERS, number + 1, len(folders))
            if not self._renewed:
                return

    def _renew_headers(self, folder: str) -> None:
        self._renewed += self._vault.renew_headers(folder)

    def _rest(self) -> Iterator[Step]:
        for _ in range(_TRIES):
            yield Step(Who.WORKER, self._look_at_rest)
            if not self._outdated:
                return
            # A journal that is being replaced just now, at most.
            yield from self._renew([Place(ROOT_ID, ())])
        raise Damaged(f"{', '.join(self._outdated)} still open with the old key")

    def _look_at_rest(self) -> None:
        self._outdated = self._vault.outdated_parts()


class _Look:
    """One look at the whole tree of a root, a slice at a time.

    `batch` are the directories of the last slice to be written anew, `unread` those that could not be read; of what
    else is wrong with the tree, `findings` has the first. `outdated` counts the keys that are still under the old one.
    """

    def __init__(self, vault: Vault, progress: Progress) -> None:
        self._tree = CommittedTree(vault.store, vault.keys, vault.chunk_size)
        self.findings: list[Finding] = []
        self._walker = Walker(self._tree, self._found)
        self._visits: Iterator[Visit] | None = None
        self._began_with = self._tree.sealed
        self._progress = progress
        self._total = vault.inode_count
        self._seen = 0
        self.outdated = 0
        self.finished = False
        self.batch: list[Place] = []

    def go_on(self) -> None:
        """Look until a batch is full, for a while, or to the end. Worker; raises what opening a root does."""
        if self._visits is None:
            self._began_with = self._tree.open()
            self._visits = self._walker.walk()
        self.batch = []
        size = 0
        for count, visit in enumerate(self._visits):
            self._seen += 1
            if is_outdated(self._tree.objects.context, visit.entry):
                self.outdated += 1
                if stat.S_ISDIR(visit.entry.mode) and not self._is_unread(visit):
                    self.batch.append(visit.place)
                    size += decode_head(visit.entry.content).stored
            if size >= _BATCH_BYTES or len(self.batch) >= _BATCH_DIRECTORIES or count >= _SLICE:
                self._progress(NAMES, min(self._seen, self._total), self._total)
                return
        self.finished = True

    def _is_unread(self, visit: Visit) -> bool:
        return bool(self.unread) and self.unread[-1].place == visit.place

    def _found(self, finding: Finding) -> None:
        # One is enough to know; of what changes while it is looked at there may be many.
        if not self.findings:
            self.findings.append(finding)

    @property
    def unread(self) -> list[Visit]:
        """The directories that could not be read."""
        return self._walker.unread

    @property
    def was_one_root(self) -> bool:
        """Whether all of it was one root's tree, so that no directory can have moved past."""
        return self._tree.sealed is self._began_with

    def close(self) -> None:
        """Forget what is open."""
        self._tree.close()


def _unreadable(unread: list[Visit]) -> str:
    first = "/" + unread[0].place.path.decode("utf-8", "backslashreplace")
    more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
    return f"the folder {first}{more} cannot be read, so what is in it would be lost with the old key"


def rekey_inline(vault: Vault, progress: Progress, between: Callable[[], None] = lambda: None) -> None:
    """All steps in the calling thread, for a vault nobody else uses meanwhile. Raises what `Rekeying.steps` does.

    `between` is called after each step, where it may raise to stop.
    """
    inline = Inline(vault)
    for step in Rekeying(vault, progress).steps():
        if step.who is Who.CHECKPOINT:
            vault.checkpoint()
            vault.evict()
        elif step.who is Who.OWNER:
            inline.call(step.run)
        else:
            step.run()
        between()
