"""One check of a vault from its roots to its last chunk, as the user asked for it."""

from collections.abc import Callable
from typing import NamedTuple

from vaultfs.check.committed import CommittedTree
from vaultfs.check.cursor import Cursor, cursor_of
from vaultfs.check.data import DataCheck
from vaultfs.check.findings import Finding, Kind, Report, error, warning
from vaultfs.check.journals import JournalCheck
from vaultfs.check.listing import Listing, journal_headers, names_in_flight
from vaultfs.check.structure import Counts, StructureCheck
from vaultfs.check.walker import Walker
from vaultfs.format.constants import SHARED_ID
from vaultfs.format.layout import root_slot_path
from vaultfs.sealing.ancestry import are_parted
from vaultfs.vault.memory import Seen


class Progress(NamedTuple):
    """How far a check is: `done` of `total`, in inodes while it looks at the structure, in bytes for the data."""

    phase: str
    done: int
    total: int


class Checker:
    """Checks one vault. Every finding goes to `report`; `progress` is told how far things are."""

    def __init__(self, tree: CommittedTree, report: Report) -> None:
        self._tree = tree
        self._tell = report
        self.progress: Callable[[Progress], None] = lambda progress: None
        self._told: set[tuple[Kind, bytes | None, str]] = set()

    def report(self, finding: Finding) -> None:
        """Pass a finding on, unless the structure check had it already."""
        place = (finding.kind, finding.path, f"{finding.stored} {finding.start}")
        if place in self._told:
            return
        self._told.add(place)
        self._tell(finding)

    def structure(self, seen: Seen | None) -> Counts:
        """Roots, journal, directories, maps, and all names in the store; raises PartlySynced, StoreUnusable.

        `seen` is the newest root this machine knows of.
        """
        self._tree.open()
        self._check_roots(seen)
        journal = JournalCheck(self._tree, self.report)
        journal.run()
        assert self._tree.sealed is not None
        root = self._tree.sealed.root
        walker = Walker(self._tree, self.report)
        check = StructureCheck(self._tree, self.report)
        for number, (place, entry) in enumerate(walker.walk()):
            check.visit(place, entry)
            if place.top == SHARED_ID and len(place.names) == 1 and self._steady(root.generation, walker):
                walker.check_links(place, self._tree.load(entry))
            if number % 64 == 0:
                self.progress(Progress("structure", min(number, root.inodes), root.inodes))
        in_flight = set() if root.clean else journal.reached | names_in_flight(journal_headers(self._tree))
        unmapped = check.unmapped if self._steady(root.generation, walker) else None
        Listing(self._tree, self.report, check.reached, unmapped).run(in_flight)
        return check.counts._replace(journaled=journal.records)

    def _steady(self, generation: int, walker: Walker) -> bool:
        """Whether all of a walk was under one root, still in force, and all directories could be read."""
        self._tree.refresh()
        assert self._tree.sealed is not None
        return self._tree.sealed.root.generation == generation and not walker.unread

    def _check_roots(self, seen: Seen | None) -> None:
        assert self._tree.sealed is not None
        newest = self._tree.sealed
        for slot, state in enumerate(self._tree.slots()):
            path = root_slot_path(slot)
            if state.missing:
                self.report(error(Kind.PARTLY_SYNCED, state.cause, None, path))
            elif state.sealed is None:
                self.report(warning(Kind.CORRUPT, f"{state.cause}; the other root is whole", None, path))
            elif state.sealed.root.generation + 1 < newest.root.generation:
                cause = f"generation {state.sealed.root.generation}, not {newest.root.generation}"
                self.report(warning(Kind.OLDER, cause, None, path))
        if seen is None:
            return
        if newest.root.generation < seen.generation:
            cause = f"generation {newest.root.generation}; this machine has seen {seen.generation}"
            self.report(error(Kind.OLDER, f"the whole store is older than expected: {cause}"))
        if are_parted(newest.known(), seen.known()):
            self.report(error(Kind.OLDER, "the store went another way than what this machine has seen"))

    def data(
        self,
        folders: frozenset[int] | None,
        total: int,
        rate: int | None,
        after: Cursor | None,
        advance: Callable[[Cursor | None], None],
    ) -> int:
        """Verify chunks: those in objects whose names begin with one of `folders`, and behind `after`.

        `total` is for the progress; `advance` is told how far everything is done. Returns the bytes verified.
        """
        verified = 0

        def moved(size: int, cursor: Cursor | None) -> None:
            nonlocal verified
            verified = size
            self.progress(Progress("data", min(size, total), total))
            advance(cursor)

        walker = Walker(
            self._tree, self.report, lambda place: after is None or not after.done_below(place)
        )
        check = DataCheck(self._tree, self.report, moved, folders, rate)
        try:
            for place, entry in walker.walk():
                if after is None or cursor_of(place, entry) > after:
                    check.visit(place, entry)
            check.finish()
        finally:
            check.close()
        return verified
