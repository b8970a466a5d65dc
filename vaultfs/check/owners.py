"""Tells whose each object is, as the committed tree has it: what an object's own header says, if it is not broken."""

import stat
from collections.abc import Collection, Iterator

from vaultfs.check.committed import CommittedTree
from vaultfs.check.structure import load_map
from vaultfs.check.walker import Walker
from vaultfs.errors import Damaged
from vaultfs.format.constants import OBJECT_DIRECTORY, OBJECT_SEGMENT
from vaultfs.sealing.entries import Entry, decode_head
from vaultfs.sealing.objects import ObjectHeader


def headers_of(tree: CommittedTree, entry: Entry) -> Iterator[tuple[bytes, ObjectHeader]]:
    """(name, header) of each object of a file or directory, as far as its map can be read; the generation is 0."""
    try:
        if not entry.content:
            return
        if stat.S_ISDIR(entry.mode):
            head = decode_head(entry.content)
            key = tree.objects.context.unwrap_file_key(entry.id, head.wrapped_key).key
            for part in filter(None, (head.base, head.delta)):
                yield part.object, ObjectHeader(OBJECT_DIRECTORY, entry.id, 0, 0, key)
        elif stat.S_ISREG(entry.mode):
            content = load_map(tree.objects, entry)
            for segment in (*content.committed.values(), *filter(None, (content.index,))):
                yield segment.name, ObjectHeader(OBJECT_SEGMENT, entry.id, segment.number, 0, segment.key)
    except Damaged:
        return


def known_headers(tree: CommittedTree, walker: Walker, wanted: Collection[bytes]) -> dict[bytes, ObjectHeader]:
    """The headers of those of the objects that the tree names; walks all of it."""
    return {
        name: header for _, entry in walker.walk() for name, header in headers_of(tree, entry) if name in wanted
    }
