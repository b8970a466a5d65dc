"""Decides which files' data goes to their directory entries: little files, while their directory stays handy."""

from collections.abc import Mapping

from vaultfs.sealing.entries import decode_head
from vaultfs.sealing.maps import ONE_CHUNK_SIZE
from vaultfs.vault.directory import Directory
from vaultfs.vault.inode import Inode
from vaultfs.vault.settings import Settings


class Inlining:
    """For one checkpoint: `inodes` are those that change, `directories` those that are written, with their entries.

    A directory is read whole to find a name in it, and a change to it is copied again when its delta is merged: past
    `inline_room` bytes of entries, what is in the files stays out of it, unless to say where that is takes as much.
    """

    def __init__(
        self, settings: Settings, inodes: Mapping[int, Inode], directories: list[tuple[Inode, Directory | None]]
    ) -> None:
        self._most = settings.inline_data
        self._inodes = inodes
        self._room = {
            inode.id: settings.inline_room - (decode_head(inode.content).live if inode.content else 0)
            for inode, _ in directories
        }

    def take(self, inode_id: int, size: int) -> bool:
        """Whether `size` bytes of a file may go to its entry; counts them if so."""
        inode = self._inodes.get(inode_id)
        if inode is None or size > self._most:
            return False
        room = self._room.get(inode.parent, 0)
        if size > room and size >= ONE_CHUNK_SIZE:
            return False
        self._room[inode.parent] = room - size
        return True
