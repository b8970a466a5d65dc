"""Hypothesis strategies for everything the format has: entries, maps, heads, records and roots."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st

from vaultfs.sealing.entries import Entry, Head, Part, Pointer
from vaultfs.sealing.maps import ContentSection, InlineData, InlineMap, NodeReference, TreeMap, pack_entry
from vaultfs.sealing.records import (
    Create,
    Direct,
    Link,
    Locate,
    Purge,
    Record,
    Rename,
    SetAttributes,
    SetXattr,
    Synced,
    Truncate,
    Unlink,
    Write,
)
from vaultfs.sealing.roots import JournalStart, Root

Made = TypeVar("Made")

u8 = st.integers(0, 2**8 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
times = st.integers(-(2**63), 2**63 - 1)
sixteen = st.binary(min_size=16, max_size=16)
wrapped_keys = st.binary(min_size=48, max_size=48)
names = st.binary(min_size=1, max_size=255)
xattrs = st.dictionaries(names, st.binary(max_size=40), max_size=3)


def made(maker: Callable[..., Made], *fields: st.SearchStrategy[object]) -> st.SearchStrategy[Made]:
    """What `maker` makes of its positional fields."""
    return st.tuples(*fields).map(lambda values: maker(*values))


entries = made(
    Entry, u64, u32, u32, u32, u32, u64, times, times, times, times, u64, st.binary(max_size=30), xattrs,
    st.binary(max_size=30),
)  # fmt: skip
pointers = made(Pointer, u64, u32)
leaves = st.lists(made(pack_entry, u32, u32, sixteen), max_size=16).map(b"".join)
references = made(NodeReference, sixteen, u32, u32, sixteen, u32)
numbered = st.dictionaries(u64, references, max_size=16).map(lambda found: tuple(sorted(found.items())))
sections = made(
    ContentSection, wrapped_keys, u64,
    made(InlineMap, sixteen, u32, leaves) | made(TreeMap, u8, sixteen, u32, numbered),
) | st.binary(min_size=1, max_size=40).map(lambda data: ContentSection(b"", len(data), InlineData(data)))  # fmt: skip
parts = made(Part, sixteen, u64, sixteen)
heads = made(Head, wrapped_keys, u64, u32, parts, st.none() | parts)
directs = st.lists(made(Direct, u64, sixteen, u32, u32, sixteen), max_size=3).map(tuple)
patches = st.lists(st.tuples(u64, st.binary(max_size=20)), max_size=3).map(tuple)


def _write(inode: int, size: int, mode: int, time: int, key: bytes, whole: tuple[Direct, ...], parts: object) -> Write:
    assert isinstance(parts, tuple)
    return Write(inode, size, mode, time, key if whole else b"", whole, parts)


records: st.SearchStrategy[Record] = st.one_of(
    made(Create, u64, times, names, st.binary(max_size=80)),
    made(Link, u64, u64, times, names),
    made(Unlink, u64, times, st.booleans(), names),
    made(Rename, u64, u64, times, u32, st.booleans(), names, names, st.binary(max_size=80)),
    made(SetAttributes, u64, u32, u32, u32, times, times, times),
    made(Truncate, u64, u64, u32, times),
    made(_write, u64, u64, u32, times, wrapped_keys, directs, patches),
    made(SetXattr, u64, u32, times, names, st.none() | st.binary(max_size=40)),
    made(Synced, u64, u64),
    made(Purge, u64),
    made(Locate, u64, u64, names),
)
blobs = st.binary(max_size=40)
roots = made(
    Root, u64, st.booleans(), u64, u64, u64, u64, made(JournalStart, u64, sixteen, u64, sixteen), blobs, blobs, blobs,
    st.lists(sixteen, max_size=3).map(tuple), st.lists(st.tuples(u64, sixteen), max_size=64).map(tuple),
)  # fmt: skip
items = st.lists(st.tuples(st.binary(max_size=255), st.binary(max_size=40)), max_size=5)
