"""The limits a vault works within; tests lower them, users never see them."""

from dataclasses import dataclass, replace

from vaultfs.format.constants import SEALS_PER_OBJECT


@dataclass(frozen=True, slots=True)
class Settings:
    """When to checkpoint, and how much may wait in memory. Sizes are bytes, times seconds.

    Past a `soft` limit a checkpoint is wanted; at a `hard` one writers wait for it.
    """

    # From the first change on. With the soft limits as they are, copying a few thousand files is over before its
    # checkpoint begins, which would compete with it for the processor.
    checkpoint_age: float = 5.0
    journal_soft: int = 32 << 20
    journal_hard: int = 64 << 20
    overlay_soft: int = 32 << 20
    overlay_hard: int = 96 << 20
    direct_soft: int = 512 << 20
    direct_hard: int = 2048 << 20
    inodes_soft: int = 4096
    inodes_hard: int = 65536
    # Room that a journal file is made with (0: none ever), what it gets of that while somebody waits for it, and by how
    # much it grows at most at a time, past that as well if it is synced again and again. All at once would be felt on a
    # slow disk, at the first change after mounting and at the end.
    journal_preallocation: int = 4 << 20
    journal_room: int = 256 << 10
    journal_step: int = 1 << 20
    ballast_size: int = 4 << 20
    # A piece of a chunk at least so long that covers all the chunk holds goes straight to a slot, unless it is the end
    # of a piece of a stream: a write at least so long, behind other data, that ends with a page. It will go on.
    direct_minimum: int = 32 << 10
    stream_minimum: int = 256 << 10
    page_size: int = 4096
    open_objects: int = 1024
    unsynced_soft: int = 768
    unsynced_hard: int = 6144
    # Decoded inodes, files' maps, bytes of entries that inodes keep and of directories kept when nothing needs them.
    inode_budget: int = 20000
    content_budget: int = 4096
    entry_budget: int = 16 << 20
    directory_budget: int = 64 << 20
    # Directories read last that are kept in any case: an operation needs two and their shards, or it never ends.
    fresh_directories: int = 8
    # The largest data that goes to a file's entry, and up to how many bytes of entries in its directory.
    inline_data: int = 16 << 10
    inline_room: int = 256 << 10
    # A delta object is merged into its base past this size and this share of the base.
    delta_minimum: int = 64 << 10
    delta_share: float = 0.25
    # A segment is rewritten when it has more than so many slots and less than a quarter of them in use.
    compaction_slots: int = 64
    seals_per_object: int = SEALS_PER_OBJECT
    recovery_name_gap: int = 4096

    def within(self, descriptors: int) -> "Settings":
        """The same for a process that may have so many open descriptors: half of them stay free for all else."""
        return replace(
            self,
            open_objects=min(self.open_objects, descriptors // 4),
            unsynced_soft=min(self.unsynced_soft, descriptors // 4),
            unsynced_hard=min(self.unsynced_hard, descriptors // 2),
        )


DEFAULTS = Settings()
