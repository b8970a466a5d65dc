"""Changes that only repair makes: directories put together from entries found elsewhere, link counts set right."""

import stat

from vaultfs.errors import NotADirectory, NotFound
from vaultfs.sealing.entries import entry_id_and_mode
from vaultfs.vault.core import Core
from vaultfs.vault.directory import Directory
from vaultfs.vault.waits import resolve

_ROOM = 4096


def replace_directory(
    core: Core, path: tuple[bytes, ...], expected: int | None, entries: dict[bytes, bytes]
) -> None:
    """Let the directory at a path hold exactly these encoded entries from the next checkpoint on, in a new object.

    Nothing is journaled: the change is there once a checkpoint has succeeded, or not at all. What the directory had
    is not read, let go or deleted. Raises FilesystemError for a path that does not lead to a directory, or not to the
    one with the id that is expected (None: to any), and then nothing changed.
    """
    core.admit(_ROOM + sum(map(len, entries.values())))
    state = core.state
    inode = state.inode(1)
    for name in path:
        parent = inode
        found = resolve(lambda parent=parent, name=name: state.child(state.directory(parent.id), name))  # type: ignore[misc]
        if found is None:
            raise NotFound("the directory to mend is not there")
        inode = found
    if not stat.S_ISDIR(inode.mode):
        raise NotADirectory("only a directory can be put together again")
    if expected is not None and inode.id != expected:
        raise NotFound("another directory stands where the one to mend was")
    skip_ids(core, max([entry_id_and_mode(entry)[0] for entry in entries.values()], default=0))
    inode = state.edit(inode.id)
    # Without a head the checkpoint writes a new object with all entries, under a new key.
    inode.content = b""
    inode.nlink = 2 + sum(1 for entry in entries.values() if stat.S_ISDIR(entry_id_and_mode(entry)[1]))
    state.directories[inode.id] = Directory(inode.id, dict(entries))
    # No name in it changes: this makes the checkpoint see to it, without any entry having to be read before.
    state.active.renewed[inode.id] = sum(map(len, entries.values()))


def skip_ids(core: Core, used: int) -> None:
    """Give no new inode an id up to this one: something that comes back has it."""
    core.state.next_id = max(core.state.next_id, used + 1)


def set_links(core: Core, inode_id: int, count: int) -> None:
    """Set how many names a hard-linked inode has, from the next checkpoint on; raises Damaged if it is not there."""
    core.admit(_ROOM)
    state = core.state
    resolve(lambda: state.shared_inode(inode_id))
    state.edit(inode_id).nlink = count
