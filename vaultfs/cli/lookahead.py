"""Goes ahead of a command that reads a vault in order, and has what it comes to next brought in from the disk.

The kernel reads nothing ahead in a store's objects (see `store.directory`), so each piece would be waited for in turn.
Threads of its own ask for the next ones while one is written out: open(2) and posix_fadvise(2) may take their time.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from vaultfs.cli.walking import Step
from vaultfs.errors import VaultfsError
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode

_THREADS = 2
# Of one file: how far ahead of its reader, and how much of that is asked for at once. Bytes.
_LEAD = 8 << 20
_PART = 2 << 20
# Of files nobody reads yet: how much of each and of all, in bytes; how many steps of a walk; how many files at once.
_BEGINNING = 4 << 20
_BEGINNINGS = 16 << 20
_STEPS = 64
_FILES_PER_JOB = 4

Job = Callable[[], None]


class Lookahead:
    """A context for the thread that owns the vault. `beginnings` makes the job that brings in the first bytes of files.

    What is brought in stays in the kernel's page cache: at most 20 MiB of files that come later and 10 MiB of the one
    being read, and none of it in this process. So it cannot be wrong, and an error is met by whoever reads that place.
    At the end of the context nothing more is brought in.
    """

    def __init__(self, beginnings: Callable[[Sequence[Inode], int], Job]) -> None:
        self._beginnings = beginnings
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="vaultfs-lookahead")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, job: Job) -> None:
        """Have a job done, some time."""
        self._pool.submit(job)

    def begin(self, inodes: Sequence[Inode]) -> None:
        """Bring in the beginnings of files, which `FileAhead` goes on from."""
        for first in range(0, len(inodes), _FILES_PER_JOB):
            self.start(self._beginnings(inodes[first : first + _FILES_PER_JOB], _BEGINNING))

    def follow(self, steps: Iterator[Step], scout: Iterator[Step]) -> Iterator[Step]:
        """The steps of a walk, with the files to come begun. `scout` is the same walk again, and goes first."""
        asked: deque[int] = deque()  # bytes, for each step that the scout is ahead
        while True:
            # Before the step is taken: a walk may forget what is not in use, and the step's inode is from now on.
            if len(asked) <= _STEPS // 2 and sum(asked) <= _BEGINNINGS // 2:
                self._send(scout, asked)
            step = next(steps, None)
            if step is None:
                return
            if asked:
                asked.popleft()
            yield step

    def _send(self, scout: Iterator[Step], asked: deque[int]) -> None:
        """Let the scout go as far ahead as it may."""
        files: list[Inode] = []
        total = sum(asked)
        while len(asked) < _STEPS and total < _BEGINNINGS:
            try:
                step = next(scout, None)
            except (VaultfsError, OSError):
                break  # the walk behind comes to that as well
            if step is None:
                break
            inode = step.inode
            size = min(inode.size, _BEGINNING) if inode is not None and inode.content and not step.leaving else 0
            if inode is not None and size:
                files.append(inode)
            asked.append(size)
            total += size
        self.begin(files)


class FileAhead:
    """Stays ahead of the reader of one file; `begun` tells whether `Lookahead.begin` was called for it."""

    def __init__(self, lookahead: Lookahead, inline: Inline, inode_id: int, *, begun: bool = False) -> None:
        self._lookahead = lookahead
        self._inline = inline
        self._inode_id = inode_id
        self._reached = _BEGINNING if begun else 0
        self._ended = False

    def reading(self, offset: int) -> None:
        """The bytes from `offset` on are read next."""
        while not self._ended and self._reached < offset + _LEAD:
            start = max(self._reached, offset)
            self._reached = start + _PART
            job = self._inline.part_ahead(self._inode_id, start, _PART)
            if job is None:
                self._ended = True
            else:
                self._lookahead.start(job)
