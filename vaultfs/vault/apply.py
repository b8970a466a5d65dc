"""Applies a journal record to the state: the one place where the filesystem changes, live and in recovery alike.

A record is appended to the journal first; applying it cannot be refused any more. Whoever plans a record has
made sure that all it touches is in memory; in recovery, what is missing is loaded and the record applied again,
so nothing may be changed before the last thing is looked up.
"""

import stat

from vaultfs.errors import Damaged
from vaultfs.format.constants import CHUNKS_PER_SEGMENT, ORPHANS_ID, SHARED_ID
from vaultfs.sealing.entries import Entry, decode_entry, new_entry
from vaultfs.sealing.maps import MapEntry
from vaultfs.sealing.records import (
    Create,
    Link,
    Locate,
    Purge,
    Record,
    Rename,
    SetAttributes,
    SetXattr,
    Truncate,
    Unlink,
    Write,
)
from vaultfs.vault.content import FileContent
from vaultfs.vault.directory import Directory
from vaultfs.vault.inode import Inode, inode_of_entry
from vaultfs.vault.segment import Segment, SlotRef
from vaultfs.vault.state import State, hidden_name, shard_name, shard_of

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4


def apply(state: State, record: Record) -> None:
    """Change the state as the record says; in recovery raises NotReady or Damaged before any change."""
    match record:
        case Write():
            _write(state, record)
        case Create(parent, time, name, entry):
            _create(state, parent, time, name, _inode(entry, parent, name))
        case SetAttributes():
            _set_attributes(state, record)
        case Unlink():
            _unlink(state, record)
        case Rename():
            _rename(state, record)
        case Truncate():
            _truncate(state, record)
        case SetXattr():
            _set_xattr(state, record)
        case Link():
            _link(state, record)
        case Purge(inode):
            _purge(state, state.inode(inode))
        case Locate(inode, parent, name):
            _locate(state, inode, parent, name)


def _locate(state: State, inode_id: int, parent: int, name: bytes) -> None:
    """Bring an inode into memory that later records know by its id only."""
    inode = state.child(state.directory(parent), name)
    if inode is None or inode.id != inode_id:
        raise Damaged("a journal record names an entry that is not there")


def _inode(encoded: bytes, parent: int, name: bytes) -> Inode:
    entry = decode_entry(encoded)
    if not isinstance(entry, Entry):
        raise Damaged("a journal record makes an inode without attributes")
    return inode_of_entry(entry, parent, name)


def _touch(state: State, directory: int, time: int) -> Inode:
    inode = state.edit(directory)
    inode.mtime = inode.ctime = time
    return inode


def _create(state: State, parent: int, time: int, name: bytes, inode: Inode) -> None:
    directory = state.changed_directory(parent)
    above = _touch(state, parent, time)
    if stat.S_ISDIR(inode.mode):
        above.nlink += 1
    state.add(inode)
    directory.put(name, inode.id)


def _link(state: State, record: Link) -> None:
    inode = state.inode(record.inode)
    directory = state.changed_directory(record.parent)
    if not inode.shared:
        _share(state, inode, record.time)
    inode = state.edit(record.inode)
    inode.nlink += 1
    inode.ctime = record.time
    directory.put(record.name, record.inode)
    _touch(state, record.parent, record.time)


def _share(state: State, inode: Inode, time: int) -> None:
    """Move an inode's attributes to the shared table, so that several names can point to them."""
    home = state.changed_directory(inode.parent)
    table = state.directory(SHARED_ID)
    shard_id = shard_of(inode.id)
    if state.child(table, shard_name(shard_id)) is None:
        name = shard_name(shard_id)
        entry = new_entry(shard_id, stat.S_IFDIR | 0o700, 0, 0, time)
        _create(state, SHARED_ID, time, name, inode_of_entry(entry, SHARED_ID, name))
    shard = state.changed_directory(shard_id)
    inode = state.edit(inode.id)
    home.put(inode.name, inode.id)
    _settle(shard, inode, hidden_name(inode.id))
    inode.shared = True


def _settle(directory: Directory, inode: Inode, name: bytes) -> None:
    directory.put(name, inode.id)
    inode.parent = directory.id
    inode.name = name


def _unlink(state: State, record: Unlink) -> None:
    directory = state.changed_directory(record.parent)
    inode = state.child(directory, record.name)
    if inode is None:
        raise Damaged("a journal record removes a name that is not there")
    _ready_to_drop(state, inode)
    directory.remove(record.name)
    above = _touch(state, record.parent, record.time)
    if stat.S_ISDIR(inode.mode):
        above.nlink -= 1
    _drop_link(state, inode, record.time, record.purge)


def _ready_to_drop(state: State, inode: Inode) -> None:
    """Look up all that `_drop_link` will need."""
    state.directory(ORPHANS_ID)
    if inode.shared:
        state.directory(inode.parent)


def _drop_link(state: State, inode: Inode, time: int, purge: bool) -> None:
    if purge and not inode.shared:
        # Its only name is gone and nobody uses it: it need not be an orphan first.
        _erase(state, inode)
        return
    inode = state.edit(inode.id)
    inode.ctime = time
    inode.nlink = 0 if stat.S_ISDIR(inode.mode) else inode.nlink - 1
    if inode.nlink > 0:
        return
    orphans = state.changed_directory(ORPHANS_ID)
    if inode.shared:
        orphans.put(hidden_name(inode.id), inode.id)
    else:
        _settle(orphans, inode, hidden_name(inode.id))
    if purge:
        _purge(state, inode)


def _purge(state: State, inode: Inode) -> None:
    orphans = state.changed_directory(ORPHANS_ID)
    shard = state.changed_directory(inode.parent) if inode.shared else None
    if orphans.find(hidden_name(inode.id)) is None:
        raise Damaged("a journal record purges an inode that still has its name")
    orphans.remove(hidden_name(inode.id))
    if shard is not None:
        shard.remove(inode.name)
    _erase(state, inode)


def _erase(state: State, inode: Inode) -> None:
    epoch = state.active
    if stat.S_ISDIR(inode.mode):
        epoch.purged_directories[inode.id] = inode.content
        epoch.directories.pop(inode.id, None)
        epoch.renewed.pop(inode.id, None)
        state.directories.pop(inode.id, None)
    elif stat.S_ISREG(inode.mode):
        _purge_content(state, inode)
    epoch.inodes.pop(inode.id, None)
    epoch.gone.add(inode.id)
    state.cache.pop(inode.id, None)
    state.inode_count -= 1


def _purge_content(state: State, inode: Inode) -> None:
    epoch = state.active
    content = state.contents.pop(inode.id, None)
    if content is None:
        # As it was committed. Which objects it has is read when they are deleted.
        if inode.content_size and not inode.has_inline_data:
            epoch.purged_sections[inode.id] = inode.content
        return
    content.forgotten = True
    epoch.contents.pop(inode.id, None)
    epoch.overlay_bytes -= sum(len(value) for value in content.active.chunks.values() if isinstance(value, bytearray))
    epoch.purged.append(content)


def _rename(state: State, record: Rename) -> None:
    source = state.changed_directory(record.parent)
    target = state.changed_directory(record.new_parent)
    inode = state.child(source, record.name)
    other = state.child(target, record.new_name)
    if inode is None:
        raise Damaged("a journal record renames a name that is not there")
    exchange = bool(record.flags & RENAME_EXCHANGE)
    if other is not None and not exchange:
        _ready_to_drop(state, other)
    if exchange and other is not None:
        _move(state, other, target, record.new_name, source, record.name, record.time)
        _move(state, inode, source, record.name, target, record.new_name, record.time)
    else:
        source.remove(record.name)
        if other is not None:
            target.remove(record.new_name)
            if stat.S_ISDIR(other.mode):
                state.edit(target.id).nlink -= 1
            _drop_link(state, other, record.time, record.purge)
        _move(state, inode, source, record.name, target, record.new_name, record.time)
        if record.whiteout:
            whiteout = _inode(record.whiteout, record.parent, record.name)
            _create(state, record.parent, record.time, record.name, whiteout)
    _touch(state, record.parent, record.time)
    _touch(state, record.new_parent, record.time)


def _move(
    state: State, inode: Inode, source: Directory, name: bytes, target: Directory, new_name: bytes, time: int
) -> None:
    inode = state.edit(inode.id)
    inode.ctime = time
    target.put(new_name, inode.id)
    if not inode.shared:
        inode.parent, inode.name = target.id, new_name
    if stat.S_ISDIR(inode.mode):
        state.directory_moves += 1
        if source is not target:
            state.edit(source.id).nlink -= 1
            state.edit(target.id).nlink += 1


def _set_attributes(state: State, record: SetAttributes) -> None:
    take_attributes(state.edit(record.inode), record)


def take_attributes(inode: Inode, record: SetAttributes) -> None:
    """Give an inode the attributes that a record sets."""
    _, inode.mode, inode.uid, inode.gid, inode.atime, inode.mtime, inode.ctime = record


def _set_xattr(state: State, record: SetXattr) -> None:
    take_xattr(state.edit(record.inode), record)


def take_xattr(inode: Inode, record: SetXattr) -> None:
    """Give an inode the extended attribute that a record sets, or take it away, and the mode that goes with it."""
    xattrs = dict(inode.xattrs)
    if record.value is None:
        xattrs.pop(record.name, None)
    else:
        xattrs[record.name] = record.value
    inode.xattrs = xattrs
    inode.mode = record.mode
    inode.ctime = record.time


def _truncate(state: State, record: Truncate) -> None:
    content = state.changed_content(state.inode(record.inode))
    chunk_size = state.objects.chunk_size
    keep = -(-record.size // chunk_size)
    rest = record.size % chunk_size
    # The checkpoint allocates slots in segments that change, for which their leaf has to be known.
    if keep % CHUNKS_PER_SEGMENT:
        content.segment(keep // CHUNKS_PER_SEGMENT)
    if rest and record.size < state.inode(record.inode).size:
        _trim(state, content, keep - 1, rest)
    inode = state.edit(record.inode)
    if record.size < inode.size:
        _cut(state, content, keep)
    take_size(inode, record)


def take_size(inode: Inode, record: Truncate | Write) -> None:
    """Give an inode the size that a record leaves it with, and the mode and times."""
    inode.size = record.size
    inode.mode = record.mode
    inode.mtime = inode.ctime = record.time


def _trim(state: State, content: FileContent, chunk: int, length: int) -> None:
    """Take the bytes behind `length` off a chunk, lest they show again when the file grows."""
    found = content.find(chunk)
    if found is None or (found.entry.length if isinstance(found, SlotRef) else len(found)) <= length:
        return
    data = _overlay(state, content, chunk)
    state.active.overlay_bytes -= len(data) - length
    del data[length:]


def _cut(state: State, content: FileContent, keep: int) -> None:
    layer = content.active
    for chunk in [chunk for chunk in layer.chunks if chunk >= keep]:
        _let_go(state, layer.chunks.pop(chunk))
    for number in [number for number in layer.fresh if number * CHUNKS_PER_SEGMENT >= keep]:
        state.active.dropped.append(layer.fresh.pop(number))
    layer.cut = min(layer.cut, keep)


def _overlay(state: State, content: FileContent, chunk: int) -> bytearray:
    """A chunk's data in the active layer, to be changed in place."""
    known = content.active.chunks.get(chunk)
    if isinstance(known, bytearray):
        return known
    data, replaced = content.overlay(chunk)
    state.active.overlay_bytes += len(data)
    _let_go(state, replaced)
    return data


def _let_go(state: State, replaced: bytearray | SlotRef | None) -> None:
    """Account for a value the active layer no longer has; a slot it named may be in the journal still."""
    if isinstance(replaced, SlotRef):
        state.active.let_go_slots.append((replaced.segment, replaced.entry.slot))
    elif replaced is not None:
        state.active.overlay_bytes -= len(replaced)


def _write(state: State, record: Write) -> None:
    before = state.inode(record.inode)
    content = state.changed_content(before)
    segment_size = state.objects.chunk_size * CHUNKS_PER_SEGMENT
    # Everything is looked up before anything changes: a record applied twice would let go of its own slots.
    segments: list[Segment] = []
    for direct in record.direct:
        number = direct.chunk // CHUNKS_PER_SEGMENT
        if not segments or (segments[-1].number, segments[-1].name) != (number, direct.object):
            segment = _recorded_segment(content, number, direct.object, record.wrapped_key)
        segments.append(segment)
    for offset, _ in record.patches:
        content.segment(offset // segment_size)
    for direct, segment in zip(record.direct, segments, strict=True):
        replaced = content.set_slot(direct.chunk, SlotRef(segment, MapEntry(direct.slot, direct.length, direct.tag)))
        _let_go(state, replaced)
    for offset, data in record.patches:
        _patch(state, content, before.size, offset, data)
    take_size(state.edit(record.inode), record)


def _recorded_segment(content: FileContent, number: int, name: bytes, wrapped_key: bytes) -> Segment:
    """The segment a record names: the current one, or in recovery one that the crash left outside any root."""
    segment = content.segment(number)
    if segment is None or segment.name != name:
        objects = content.objects
        content.key = content.key or objects.context.unwrap_file_key(content.id, wrapped_key)
        segment = Segment(objects, content.id, number, name, content.key.key, created=True, leaf=b"")
        content.active.fresh[number] = segment
    return segment


def _patch(state: State, content: FileContent, size: int, offset: int, data: bytes) -> None:
    """Put bytes inside one chunk; `size` is the file's size before the write."""
    chunk, start = divmod(offset, state.objects.chunk_size)
    end = start + len(data)
    held = size - chunk * state.objects.chunk_size
    if start == 0 and end >= held:
        replaced = content.active.chunks.get(chunk)
        content.active.chunks[chunk] = bytearray(data)
        state.active.overlay_bytes += len(data)
        _let_go(state, replaced)
        return
    overlay = _overlay(state, content, chunk)
    before = len(overlay)
    if start > before:
        overlay.extend(bytes(start - before))
    overlay[start:end] = data
    state.active.overlay_bytes += len(overlay) - before
