"""One directory's names in memory: committed entries, with the changes of up to two epochs over them."""

from collections.abc import Iterator

from vaultfs.sealing.entries import entry_id_and_mode

# About what Python takes for a name and its entry, besides their bytes.
_OVERHEAD = 150

# A changed name holds an inode id, or this once it is gone.
GONE = 0


class Directory:
    """`committed` maps names to encoded entries; `frozen` and `active` map changed names to inode ids or GONE.

    `size` is about the bytes of memory that the committed entries take.
    """

    __slots__ = ("_names_of_ids", "active", "committed", "count", "frozen", "id", "size")

    def __init__(self, id: int, committed: dict[bytes, bytes]) -> None:
        self.id = id
        self.committed = committed
        self.frozen: dict[bytes, int] = {}
        self.active: dict[bytes, int] = {}
        self.count = len(committed)
        self.size = sum([len(entry) + _OVERHEAD for entry in committed.values()])
        self._names_of_ids: dict[int, bytes] | None = None

    def find(self, name: bytes) -> int | bytes | None:
        """An inode id if the name was changed lately, its encoded entry if not, None if there is no such name."""
        changed = self.active.get(name)
        if changed is None:
            changed = self.frozen.get(name)
            if changed is None:
                return self.committed.get(name)
        return changed or None

    def put(self, name: bytes, inode_id: int) -> None:
        """Let a name, new or taken, stand for an inode."""
        if self.find(name) is None:
            self.count += 1
        self.active[name] = inode_id

    def remove(self, name: bytes) -> None:
        """Drop a name that is there."""
        self.count -= 1
        if name in self.frozen or name in self.committed:
            self.active[name] = GONE
        else:
            del self.active[name]

    def freeze(self) -> None:
        """Hand the active changes to a checkpoint."""
        self.frozen = self.active
        self.active = {}

    def thaw(self, items: dict[bytes, bytes]) -> None:
        """Take over what a checkpoint committed: encoded entries by name, empty for names that are gone."""
        committed, names = self.committed, self._names_of_ids
        for name, entry in items.items():
            if names is not None:
                _rename(names, name, committed.get(name), entry)
            old = committed.get(name)
            self.size += (len(entry) + _OVERHEAD if entry else 0) - (len(old) + _OVERHEAD if old is not None else 0)
            if entry:
                committed[name] = entry
            else:
                committed.pop(name, None)
        # Last: whatever stops this midway, what is not taken over yet is still found here.
        self.frozen = {}

    def listing(self) -> Iterator[tuple[bytes, int]]:
        """(name, inode id) of every entry."""
        changed = {**self.frozen, **self.active} if self.frozen or self.active else None
        if changed is None:
            for name, entry in self.committed.items():
                yield name, entry_id_and_mode(entry)[0]
            return
        for name, entry in self.committed.items():
            if name not in changed:
                yield name, entry_id_and_mode(entry)[0]
        for name, inode_id in changed.items():
            if inode_id:
                yield name, inode_id

    def name_of(self, inode_id: int) -> bytes | None:
        """The committed name whose entry holds an inode; for inodes that are in memory no longer."""
        if self._names_of_ids is None:
            self._names_of_ids = {
                entry_id_and_mode(entry)[0]: name for name, entry in self.committed.items()
            }
        name = self._names_of_ids.get(inode_id)
        entry = self.committed.get(name) if name is not None else None
        return name if entry is not None and entry_id_and_mode(entry)[0] == inode_id else None

    @property
    def changed(self) -> bool:
        """Whether anything here waits for a checkpoint."""
        return bool(self.active or self.frozen)


def _rename(names: dict[int, bytes], name: bytes, old: bytes | None, new: bytes) -> None:
    """Have `names` tell what a name stands for now, and not what it stood for: both are encoded entries."""
    if old is not None and names.get(before := entry_id_and_mode(old)[0]) == name:
        del names[before]
    if new:
        names[entry_id_and_mode(new)[0]] = name
