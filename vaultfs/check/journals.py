"""Checks the journal a root needs: that it is there, that what had been synced in it verifies, and its chunks."""

from vaultfs.check.committed import CommittedTree
from vaultfs.check.findings import Finding, Kind, Report, Severity, error, note
from vaultfs.errors import Damaged, PartlySynced
from vaultfs.format.constants import CHUNKS_PER_SEGMENT
from vaultfs.format.layout import journal_path, object_path
from vaultfs.sealing.maps import MapEntry
from vaultfs.sealing.records import Direct, Write
from vaultfs.vault.content import read_chunk
from vaultfs.vault.objects import Objects
from vaultfs.vault.recovery import JournalRecords, covered_by_syncs, read_journals
from vaultfs.vault.segment import Segment, SlotRef


class JournalCheck:
    """`reached` are the names of the objects that records of the journal put chunks in."""

    def __init__(self, tree: CommittedTree, report: Report) -> None:
        self._tree = tree
        self._report = report
        self.reached: set[bytes] = set()
        self.records = 0

    def run(self) -> None:
        """Check the journals of the newest root; one that turned obsolete meanwhile does not count."""
        while True:
            assert self._tree.sealed is not None
            root = self._tree.sealed.root
            if root.clean:
                return
            findings = self._check(root.journal.number)
            if not findings or not self._tree.refresh():
                break
        for finding in findings:
            self._report(finding)

    def _check(self, number: int) -> list[Finding]:
        assert self._tree.sealed is not None
        path = journal_path(number)
        try:
            journals = read_journals(self._tree.objects, self._tree.sealed.root.journal)
        except PartlySynced as missing:
            return [error(Kind.PARTLY_SYNCED, str(missing), None, path)]
        except (Damaged, OSError) as damage:
            return [error(Kind.CORRUPT, f"changes since the last checkpoint are lost: {damage}", None, path)]
        self.records = len(journals.records)
        findings = self._check_chunks(journals)
        if journals.damaged:
            first = journal_path(journals.broken[0]) if journals.broken else path
            findings.append(error(Kind.CORRUPT, journals.damaged, None, first))
        elif journals.behind:
            findings.append(note(Kind.CORRUPT, journals.left_behind, path))
        return findings

    def _check_chunks(self, journals: JournalRecords) -> list[Finding]:
        """Chunks that only records name: those a sync covers must verify."""
        covered = covered_by_syncs(journals.records)
        findings: list[Finding] = []
        for sequence, record in journals.records:
            if isinstance(record, Write):
                self.reached.update(direct.object for direct in record.direct)
                if sequence <= covered.get(record.inode, 0):
                    findings += check_direct(self._tree.objects, record)
        return findings


def check_direct(objects: Objects, record: Write) -> list[Finding]:
    """What is wrong with the chunks a record names."""
    findings: list[Finding] = []
    for direct in record.direct:
        try:
            read_direct(objects, record, direct)
        except Damaged as damage:
            start = direct.chunk * objects.chunk_size
            cause = f"a chunk of inode {record.inode} written since the last checkpoint: {damage}"
            stored = object_path(direct.object)
            findings.append(
                Finding(Severity.ERROR, Kind.CORRUPT, cause, None, stored, start, start + direct.length)
            )
    return findings


def read_direct(objects: Objects, record: Write, direct: Direct) -> bytes:
    """A chunk that a record names; raises Damaged."""
    key = objects.context.unwrap_file_key(record.inode, record.wrapped_key).key
    number = direct.chunk // CHUNKS_PER_SEGMENT
    segment = Segment(objects, record.inode, number, direct.object, key, created=True, leaf=b"")
    return bytes(read_chunk(objects, direct.chunk, SlotRef(segment, MapEntry(direct.slot, direct.length, direct.tag))))
