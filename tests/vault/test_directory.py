"""A directory's names in memory: an inode is found by its id, and what is gone takes no room for good."""

import random
from itertools import count

from vaultfs.sealing.entries import encode_entry, new_entry
from vaultfs.vault.directory import Directory

NAMES = [b"%d" % number for number in range(12)]


def entry(inode_id: int) -> bytes:
    return encode_entry(new_entry(inode_id, 0o100600, 0, 0, 1))


def test_names_are_found_by_inode_through_every_change() -> None:
    rng = random.Random(5)
    directory = Directory(1, {})
    expected: dict[bytes, int] = {}
    ids = count(100)
    assert directory.name_of(7) is None  # from now on it knows names by inode
    for _ in range(300):
        before = dict(expected)
        for _ in range(rng.randint(1, 4)):
            name = rng.choice(NAMES)
            if name in expected and rng.random() < 0.4:
                expected[rng.choice(NAMES)] = expected.pop(name)  # a rename, perhaps over another
            elif name in expected and rng.random() < 0.5:
                del expected[name]
            else:
                expected[name] = next(ids)
        changed = [name for name in NAMES if before.get(name) != expected.get(name)]
        rng.shuffle(changed)
        directory.thaw({name: entry(expected[name]) if name in expected else b"" for name in changed})
        for name, inode_id in expected.items():
            assert directory.name_of(inode_id) == name
        assert directory._names_of_ids == {inode_id: name for name, inode_id in expected.items()}
