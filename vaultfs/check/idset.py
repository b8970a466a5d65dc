"""Sets for large vaults: inode ids as bits, object names as bare bytes; a million of either fits in 16 MiB."""

_PAGE_BITS = 1 << 15


class IdSet:
    """A set of inode ids, dense from low numbers on as ids are given out."""

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Put a number in; False if it was there."""
        page, bit = divmod(number, _PAGE_BITS)
        bits = self._pages.get(page)
        if bits is None:
            bits = self._pages[page] = bytearray(_PAGE_BITS // 8)
        mask = 1 << bit % 8
        if bits[bit // 8] & mask:
            return False
        bits[bit // 8] |= mask
        return True

    def __contains__(self, number: int) -> bool:
        page, bit = divmod(number, _PAGE_BITS)
        bits = self._pages.get(page)
        return bits is not None and bool(bits[bit // 8] & 1 << bit % 8)


class NameSet:
    """A set of 16-byte object names, kept by their first byte, which is the folder an object is in."""

    __slots__ = ("_folders",)

    def __init__(self) -> None:
        self._folders = [bytearray() for _ in range(256)]

    def add(self, name: bytes) -> None:
        """Put a name in; twice does no harm."""
        self._folders[name[0]] += name[1:]

    def folder(self, number: int) -> set[bytes]:
        """The names in one folder, whole."""
        rest = bytes(self._folders[number])
        first = bytes((number,))
        return {first + rest[start : start + 15] for start in range(0, len(rest), 15)}
