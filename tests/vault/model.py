"""What a vault should do, as plain Python objects: the answer every operation is compared with."""

import stat
from dataclasses import dataclass, field

from vaultfs.errors import (
    Exists,
    InvalidArgument,
    IsADirectory,
    NoAttribute,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
)

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


@dataclass(eq=False)
class Node:
    """One inode. `places` are its names: (directory, name); a directory has one at most."""

    id: int
    mode: int
    uid: int = 0
    gid: int = 0
    nlink: int = 1
    rdev: int = 0
    target: bytes = b""
    data: bytearray = field(default_factory=bytearray)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    children: dict[bytes, "Node"] = field(default_factory=dict)
    places: set[tuple["Node", bytes]] = field(default_factory=set)
    opens: int = 0

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def size(self) -> int:
        return len(self.target) if stat.S_ISLNK(self.mode) else len(self.data)


def new_top() -> Node:
    return Node(1, stat.S_IFDIR | 0o755, nlink=2)


def without_set_id(mode: int) -> int:
    mode &= ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        mode &= ~stat.S_ISGID
    return mode


def create(parent: Node, name: bytes, node: Node) -> None:
    """Hang a new node in; mode and gid are as asked for."""
    if not parent.nlink:
        raise NotFound
    if name in parent.children:
        raise Exists
    if parent.mode & stat.S_ISGID:
        node.gid = parent.gid
        if node.is_dir:
            node.mode |= stat.S_ISGID
    if node.is_dir:
        node.nlink = 2
        parent.nlink += 1
    _attach(parent, name, node)


def _attach(parent: Node, name: bytes, node: Node) -> None:
    parent.children[name] = node
    node.places.add((parent, name))


def _detach(parent: Node, name: bytes) -> Node:
    node = parent.children.pop(name)
    node.places.discard((parent, name))
    return node


def _drop(node: Node) -> None:
    node.nlink = 0 if node.is_dir else node.nlink - 1


def link(node: Node, parent: Node, name: bytes) -> None:
    if node.is_dir:
        raise NotPermitted
    if not node.nlink or not parent.nlink:
        raise NotFound
    if name in parent.children:
        raise Exists
    _attach(parent, name, node)
    node.nlink += 1


def child(parent: Node, name: bytes) -> Node:
    if name not in parent.children:
        raise NotFound
    return parent.children[name]


def unlink(parent: Node, name: bytes) -> None:
    node = child(parent, name)
    if node.is_dir:
        raise IsADirectory
    _detach(parent, name)
    _drop(node)


def rmdir(parent: Node, name: bytes) -> None:
    node = child(parent, name)
    if not node.is_dir:
        raise NotADirectory
    if node.children:
        raise NotEmpty
    _detach(parent, name)
    parent.nlink -= 1
    _drop(node)


def is_below(node: Node, above: Node) -> bool:
    """Whether a directory is another one or below it."""
    while True:
        if node is above:
            return True
        if not node.places:
            return False
        node = next(iter(node.places))[0]


def rename(parent: Node, name: bytes, new_parent: Node, new_name: bytes, flags: int) -> None:
    node = child(parent, name)
    if not new_parent.nlink:
        raise NotFound
    other = new_parent.children.get(new_name)
    if other is None and flags & EXCHANGE:
        raise NotFound
    if other is not None and flags & NOREPLACE:
        raise Exists
    if node.is_dir and is_below(new_parent, node):
        raise InvalidArgument
    if other is node:
        return
    if other is not None and flags & EXCHANGE:
        _exchange((parent, name, node), (new_parent, new_name, other))
        return
    if other is not None:
        _replace(node, new_parent, new_name, other)
    _detach(parent, name)
    _attach(new_parent, new_name, node)
    if node.is_dir:
        parent.nlink -= 1
        new_parent.nlink += 1


def _exchange(one: tuple[Node, bytes, Node], two: tuple[Node, bytes, Node]) -> None:
    parent, name, node = one
    new_parent, new_name, other = two
    if other.is_dir and is_below(parent, other):
        raise InvalidArgument
    _detach(parent, name)
    _detach(new_parent, new_name)
    _attach(parent, name, other)
    _attach(new_parent, new_name, node)
    for moved, old, new in ((node, parent, new_parent), (other, new_parent, parent)):
        if moved.is_dir:
            old.nlink -= 1
            new.nlink += 1


def _replace(node: Node, parent: Node, name: bytes, other: Node) -> None:
    if other.is_dir and not node.is_dir:
        raise IsADirectory
    if node.is_dir and not other.is_dir:
        raise NotADirectory
    if other.children:
        raise NotEmpty
    _detach(parent, name)
    if other.is_dir:
        parent.nlink -= 1
    _drop(other)


def write(node: Node, offset: int, data: bytes) -> None:
    if not data:
        return
    if len(node.data) < offset:
        node.data.extend(bytes(offset - len(node.data)))
    node.data[offset : offset + len(data)] = data
    node.mode = without_set_id(node.mode)


def truncate(node: Node, size: int) -> None:
    if size < len(node.data):
        del node.data[size:]
    else:
        node.data.extend(bytes(size - len(node.data)))
    node.mode = without_set_id(node.mode)


def setxattr(node: Node, name: bytes, value: bytes, flags: int) -> None:
    if name.startswith(b"user.") and not (node.is_dir or node.is_file):
        raise NotPermitted
    if flags & 1 and name in node.xattrs:
        raise Exists
    if flags & 2 and name not in node.xattrs:
        raise NoAttribute
    node.xattrs[name] = value


def removexattr(node: Node, name: bytes) -> None:
    if name.startswith(b"user.") and not (node.is_dir or node.is_file):
        raise NotPermitted
    if name not in node.xattrs:
        raise NoAttribute
    del node.xattrs[name]
