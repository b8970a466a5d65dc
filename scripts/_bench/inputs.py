"""The data of the benchmark: the same bytes every time, outside every filesystem that is measured."""

import hashlib
import random
import subprocess
from pathlib import Path

from _bench.sizes import MIB, Sizes

PHOTO_SIZE = 160 << 10
_WORDS = b"static int return struct void const size_t if else for while buffer offset length error NULL".split()
_LARGEST = 200 << 10


class Inputs:
    """`block(n, salt)` are the MiB blocks of large files, `photos` is a folder of `photo(n)`.

    `tree` is a source tree, `tar` the same as an archive.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._base = memoryview(random.Random(1).randbytes(17 * MIB))
        self.tree = folder / "tree"
        self.tar = folder / "tree.tar"
        self.manifest: dict[str, str] = {}
        """SHA-256 in hex of each file of the tree, by its path in the tree."""
        self._make_tree(sizes.tree_files)
        self.photos = folder / "photos"
        self.photos.mkdir(exist_ok=True)
        for number in range(sizes.photos):
            (self.photos / f"IMG_{number:05}.jpg").write_bytes(self.photo(number))

    def block(self, number: int, salt: int = 0) -> memoryview:
        """One MiB; any two with different numbers or salts differ."""
        start = (number * 4099 + salt * 1000003) % (16 * MIB)
        return self._base[start : start + MIB]

    def photo(self, number: int) -> memoryview:
        """The content of a photo: nothing that could be compressed."""
        start = number * 7919 % (16 * MIB)
        return self._base[start : start + PHOTO_SIZE]

    def _make_tree(self, count: int) -> None:
        rng = random.Random(2)
        folders = [""]
        while len(folders) < max(count // 12, 2):
            parent = rng.choice(folders)
            if parent.count("/") < 6:
                folders.append(f"{parent}module{len(folders)}/")
        for folder in folders:
            (self.tree / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            name = f"{rng.choice(folders)}file{number}.{rng.choice('ch')}"
            content = _source(rng)
            (self.tree / name).write_bytes(content)
            self.manifest[name] = hashlib.sha256(content).hexdigest()
        subprocess.run(["tar", "-cf", self.tar, "-C", self.tree, "."], check=True)


def _source(rng: random.Random) -> bytes:
    size = min(int(rng.lognormvariate(8.3, 1.2)), _LARGEST)  # half of all files below 4 KiB, as in the Linux tree
    line = b" ".join(rng.choices(_WORDS, k=200)) + b"\n"
    return (line * (size // len(line) + 1))[:size]
