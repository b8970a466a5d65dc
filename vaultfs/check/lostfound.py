"""Steps of a repair that give what has lost its place one in lost+found, by its number."""

import stat

from vaultfs.check.repairstep import Step
from vaultfs.check.salvage import Salvage
from vaultfs.errors import Damaged, NotFound
from vaultfs.format.constants import ROOT_ID
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode
from vaultfs.vault.keeping import find_lost_and_found, numbered


def bring_back(salvage: Salvage, inode: Inode, used: int) -> Step:
    """Copy a file of which only objects are left; ids up to `used` are those of something."""

    def copy(inline: Inline) -> None:
        inline.vault.skip_ids(used)
        made = inline.create_inode(*free_place(inline, inode.id), stat.S_IFREG | 0o600).id
        for offset, data in salvage.pieces(inode, lambda start, end, cause: None):
            inline.write(made, offset, data)
        if inline.getattr(made).size != inode.size:
            raise Damaged(f"the content of lost file {inode.id} could not be read a second time; it stays where it is")

    return Step(f"content of lost file {inode.id}, {inode.size} bytes: put it into /lost+found/{inode.id}", vault=copy)


def relink(inode_id: int, links: int) -> Step:
    """Set how many names a hard-linked file has; one without any gets a name."""

    def mend(inline: Inline) -> None:
        inline.vault.set_links(inode_id, max(links, 1))
        if not links:
            inline.link(inode_id, *free_place(inline, inode_id))
            inline.vault.set_links(inode_id, 1)

    what = f"set its count of names to {links}" if links else f"name it /lost+found/{inode_id}"
    return Step(f"hard-linked file {inode_id}: {what}", vault=mend)


def free_place(inline: Inline, inode_id: int) -> tuple[int, bytes]:
    """(id of lost+found, which is made if it is missing, name in it) for something; names that are there are left.

    The name is the inode's number, with another behind it where a repair that did not get to its end left something.
    """
    lost = lost_and_found(inline)
    return lost.id, next(name for name in numbered(b"%d" % inode_id) if _found(inline, lost.id, name) is None)


def lost_and_found(inline: Inline) -> Inode:
    """The directory for what has no place any more, made if it is missing."""
    return find_lost_and_found(
        lambda name: _found(inline, ROOT_ID, name),
        lambda name: inline.create_inode(ROOT_ID, name, stat.S_IFDIR | 0o700),
    )


def _found(inline: Inline, directory: int, name: bytes) -> Inode | None:
    try:
        return inline.lookup(directory, name)
    except NotFound:
        return None
