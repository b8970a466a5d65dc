"""A file's bytes in memory, as sparse pages, so that copying an image costs next to nothing."""

from typing import Self

PAGE = 4096
_ZEROS = bytes(PAGE)


class Image:
    """`size` bytes; pages never written read as zeros. Copies share pages until one of the two is changed."""

    __slots__ = ("_pages", "_shared", "size")

    def __init__(self) -> None:
        self.size = 0
        self._pages: dict[int, bytes] = {}
        self._shared = False

    def copy(self) -> Self:
        """An equal image that changes on its own from now on."""
        other = type(self)()
        other.size = self.size
        other._pages = self._pages
        other._shared = self._shared = True
        return other

    @property
    def pages(self) -> int:
        """How many pages take up room."""
        return len(self._pages)

    def new_pages(self, size: int, offset: int) -> int:
        """How many more pages a write of `size` bytes at `offset` would take."""
        return sum(number not in self._pages for number in _page_numbers(size, offset))

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        numbers = _page_numbers(end - offset, offset)
        first = numbers[0] * PAGE
        pages = self._pages
        return b"".join([pages.get(number, _ZEROS) for number in numbers])[offset - first : end - first]

    def write(self, data: bytes, offset: int) -> None:
        """Put `data` at `offset`, lengthening the file as needed."""
        if not data:
            return
        pages = self._own()
        number, at = divmod(offset, PAGE)
        end = len(data)
        position = PAGE - at if at else 0
        if at or end < PAGE:
            self._merge(number, data[: position or end], at)
            number += 1
            position = position or end
        while position + PAGE <= end:
            pages[number] = data[position : position + PAGE]
            number += 1
            position += PAGE
        if position < end:
            self._merge(number, data[position:], 0)
        self.size = max(self.size, offset + end)

    def _merge(self, number: int, piece: bytes, at: int) -> None:
        """Put some bytes into a page."""
        old = self._pages.get(number, _ZEROS)
        self._pages[number] = old[:at] + piece + old[at + len(piece) :]

    def truncate(self, size: int) -> None:
        """Cut to `size` bytes, or lengthen to them with zeros."""
        if size < self.size:
            pages = self._own()
            last, kept = divmod(size, PAGE)
            for number in [number for number in pages if number > last or (number == last and not kept)]:
                del pages[number]
            if kept and last in pages:
                pages[last] = pages[last][:kept] + _ZEROS[kept:]
        self.size = size

    def allocate(self, size: int) -> None:
        """Take up the room of the first `size` bytes, lengthening the file to them."""
        pages = self._own()
        for number in _page_numbers(size, 0):
            pages.setdefault(number, _ZEROS)
        self.size = max(self.size, size)

    def _own(self) -> dict[int, bytes]:
        if self._shared:
            self._pages = dict(self._pages)
            self._shared = False
        return self._pages


def _page_numbers(size: int, offset: int) -> range:
    return range(offset // PAGE, (offset + size + PAGE - 1) // PAGE)
