"""How much each row of the benchmark does: full, or quick for a look at whether anything is badly wrong."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts, and sizes in MiB where the name says so."""

    stream_mib: int = 256
    parallel_mib: int = 64
    tree_files: int = 3000
    photos: int = 1000
    random_reads: int = 2000
    synced_writes: int = 300
    creates: int = 2000
    transactions_full: int = 100
    transactions_wal: int = 1000
    renames: int = 200
    appends: int = 4000


QUICK = Sizes(
    stream_mib=64,
    parallel_mib=16,
    tree_files=600,
    photos=200,
    random_reads=400,
    synced_writes=60,
    creates=400,
    transactions_full=30,
    transactions_wal=200,
    renames=50,
    appends=1000,
)
