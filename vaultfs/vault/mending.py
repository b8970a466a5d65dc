"""Changes that only repair makes: directories put together from entries found elsewhere, link counts set right."""

import stat

from vaultfs.errors import NotADirectory, NotFound
from vaultfs.sealing.entries import entry_id_and_mode
from vaultfs.vault.core import Core
from vaultfs.vault.directory import Directory
from vaultfs.vault.waits import resolve

_ROOM = 4096


def replace_directory(core: Core, path: tuple[bytes, ...], entries: dict[bytes, bytes]) -> None:
    """Let the directory at a path hold exactly these encoded entries from the next checkpoint on, in a new object.

    Nothing is journaled: the change is there once a checkpoint has succeeded, or not at all. What the directory had
    is not read, let go or deleted. Raises FilesystemError for a path that does not lead to a directory.
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
    inode = state.edit(inode.id)
    # Without a head the checkpoint writes a new object with all entries, under a new key.
    inode.content = b""
    inode.nlink = 2 + sum(1 for entry in entries.values() if stat.S_ISDIR(entry_id_and_mode(entry)[1]))
    directory = state.directories[inode.id] = Directory(inode.id, dict(entries))
    for name in list(entries)[:1]:
        # One changed name makes the checkpoint see to the directory.
        child = resolve(lambda: state.child(directory, name))  # noqa: B023
        assert child is not None
        directory.put(name, child.id)
        state.active.directories[inode.id] = directory


def set_links(core: Core, inode_id: int, count: int) -> None:
    """Set how many names a hard-linked inode has, from the next checkpoint on; raises Damaged if it is not there."""
    core.admit(_ROOM)
    state = core.state
    resolve(lambda: state.shared_inode(inode_id))
    state.edit(inode_id).nlink = count
