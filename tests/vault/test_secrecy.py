"""The store shows nothing: every planted name, content, target and attribute is looked for in all of its bytes."""

import stat

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, new_store, open_inline, small_limits
from vaultfs.format.layout import object_name
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr

PLANTED = {
    "folder": b"planted-folder-of-secrets",
    "file": b"planted-file-name.jpg",
    "renamed": b"planted-new-name.jpg",
    "target": b"/planted/target/of/a/link",
    "attribute": b"user.planted.attribute",
    "value": b"planted value of an attribute",
    "small": b"planted small content. ",
    "large": b"planted large content. ",
}


def plant(vault: Inline) -> None:
    """Everything the vault can hold, each with a word that would be found; owners and times too."""
    folder = vault.create_inode(ROOT, PLANTED["folder"], stat.S_IFDIR | 0o700)
    small = vault.create_inode(folder.id, PLANTED["file"], stat.S_IFREG | 0o600, 0x5EC0DE01, 0x5EC0DE02)
    vault.write(small.id, 0, PLANTED["small"] * 20)
    vault.setxattr(small.id, PLANTED["attribute"], PLANTED["value"])
    vault.setattr(small.id, SetAttr(mtime=0x5EC0DE0312345678))
    vault.create_inode(folder.id, b"planted-link", stat.S_IFLNK | 0o777, target=PLANTED["target"])
    large = vault.create_inode(ROOT, b"planted-large", stat.S_IFREG | 0o644)
    vault.write(large.id, 0, PLANTED["large"] * 100_000)
    vault.link(small.id, ROOT, b"planted-hard-link")
    vault.rename(folder.id, PLANTED["file"], ROOT, PLANTED["renamed"])
    vault.fsync()


def stored(store: MemoryStore) -> dict[str, bytes]:
    """All objects of the store by their paths."""
    folders = ["", "journal", *(f"objects/{name}" for name in store.names("objects"))]
    paths = [f"{folder}/{name}".lstrip("/") for folder in folders for name in store.names(folder)]
    files = {}
    for path in paths:
        if path not in ("objects", "journal"):
            file = store.open(path)
            files[path] = file.read(file.size(), 0)
    return files


def assert_nothing_shows(store: MemoryStore) -> None:
    """No planted bytes, no word of them, no path part, and no owner or time as the format would have it."""
    numbers = [0x5EC0DE01.to_bytes(4, "little"), 0x5EC0DE02.to_bytes(4, "little")]
    numbers.append(0x5EC0DE0312345678.to_bytes(8, "little"))
    files = stored(store)
    assert sum(path.startswith("objects/") for path in files) > 0 or any(path.startswith("journal/") for path in files)
    for path, content in files.items():
        for secret in (b"planted", b"user.", b".jpg", *PLANTED.values(), *numbers):
            assert secret not in content, f"{secret!r} shows in {path}"
        if path.startswith("objects/"):
            assert object_name(path) is not None


def test_neither_the_journal_nor_the_objects_show_anything() -> None:
    with small_limits():
        store = new_store()
        vault = open_inline(store)
        plant(vault)
        assert any(path.startswith("journal/") and len(content) > 4096 for path, content in stored(store).items())
        assert_nothing_shows(store)
        vault.vault.checkpoint()
        assert_nothing_shows(store)
        vault.vault.close()
        assert_nothing_shows(store)
