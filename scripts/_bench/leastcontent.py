"""The content of a file of `leastfs`: sealed chunks in the slots of an object, and what has no slot yet in memory."""

import os
import struct
import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vaultfs.format.constants import CHUNK_SIZE_DEFAULT as CHUNK
from vaultfs.format.constants import NONCE_SIZE, TAG_SIZE
from vaultfs.store.linux import start_write_back
from vaultfs.vault.scratch import ReadBuffers, Scratch

SMALL = 16 << 10
"""Bytes; a file of no more stands in its directory, as in a vault."""
_OVERHEAD = NONCE_SIZE + TAG_SIZE
_STRIDE = CHUNK + _OVERHEAD
_SLOTS = 4096  # where they begin in an object, bytes; before them is the file's key, sealed
_STORED_KEY = 32 + _OVERHEAD
_WRITE_BACK = 8 << 20  # bytes
_PLACE = struct.Struct("<QI")
_MASTER = AESGCM(bytes(32))

Packed: TypeAlias = tuple[int, bytes | None, dict[int, tuple[int, int]], int, list[int]]


def seal(plain: bytes, number: int) -> bytes:
    """What is no content, under the master key; `number` is the object's, or the place in the journal."""
    nonce = os.urandom(NONCE_SIZE)
    return nonce + _MASTER.encrypt(nonce, plain, _PLACE.pack(number, 0))


def unseal(stored: bytes, number: int) -> bytes:
    """The reverse of `seal`."""
    return _MASTER.decrypt(stored[:NONCE_SIZE], stored[NONCE_SIZE:], _PLACE.pack(number, 0))


class Objects:
    """What all files share: the folder of their objects, and memory to work in."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self.folder = os.open(folder, os.O_RDONLY)
        self.sealed = Scratch()
        self.buffers = ReadBuffers()
        self._unwritten = 0

    def wrote(self, fd: int, size: int) -> None:
        """Have the disk begin with what was written, every now and then."""
        self._unwritten += size
        if self._unwritten > _WRITE_BACK:
            self._unwritten = 0
            threading.Thread(target=start_write_back, args=(fd,)).start()


class Content:
    """A file's content. What `write` and `cut` return is to be noted in the journal."""

    __slots__ = ("_cipher", "_end", "_fd", "_free", "_freed", "_is_random", "_next", "_objects", "_patches", "_places",
                 "_small", "number", "unsynced")  # fmt: skip

    def __init__(self, objects: Objects, number: int) -> None:
        self._objects = objects
        self.number = number
        self.unsynced = False
        self._small: bytearray | None = bytearray()
        self._fd = -1
        self._cipher = _MASTER
        # Of each chunk its slot and its bytes; what was written to chunks since, as (start, bytes).
        self._places: dict[int, tuple[int, int]] = {}
        self._patches: dict[int, list[tuple[int, bytes]]] = {}
        self._end = 0  # slots
        self._free: deque[int] = deque()
        self._freed: list[int] = []
        self._next = 0  # where who reads on would read
        self._is_random = False

    def packed(self) -> Packed:
        """For its directory's entry; gives every chunk a slot."""
        for chunk in list(self._patches):
            self._write_chunks(chunk, memoryview(self._whole(chunk)))
        small = bytes(self._small) if self._small is not None else None
        return self.number, small, self._places, self._end, [*self._free, *self._freed]

    @classmethod
    def unpacked(cls, objects: Objects, packed: Packed) -> "Content":
        """From its directory's entry."""
        made = cls(objects, packed[0])
        made._small = bytearray(packed[1]) if packed[1] is not None else None
        made._places, made._end, made._free = packed[2], packed[3], deque(packed[4])
        return made

    def sync(self) -> None:
        """Make what is in slots durable; those it replaced are free then."""
        os.fdatasync(self._fd)
        self.unsynced = False
        self._free.extend(self._freed)
        self._freed = []

    # Reading

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """`size` bytes, zeros where there is nothing."""
        if self._small is not None:
            return bytes(self._small[offset : offset + size]).ljust(size, b"\0")
        self._advise(offset, size)
        answer = self._objects.buffers.answer.take(size)
        chunk = offset // CHUNK
        last = -(-(offset + size) // CHUNK)
        while chunk < last:
            run = self._run(chunk, last)
            if run:
                self._read_run(chunk, run, offset, answer)
            else:
                _put(answer, chunk * CHUNK - offset, self._whole(chunk))
            chunk += run or 1
        return answer

    def _advise(self, offset: int, size: int) -> None:
        """Have the kernel read ahead in the object of who reads in order, and not otherwise."""
        is_random = offset not in (0, self._next)
        self._next = offset + size
        if is_random is not self._is_random:
            self._is_random = is_random
            os.posix_fadvise(self._open(), 0, 0, os.POSIX_FADV_RANDOM if is_random else os.POSIX_FADV_NORMAL)

    def _run(self, first: int, last: int) -> int:
        """How many chunks from `first` on are in slots one behind the other, and nowhere else."""
        chunk = first
        slot = self._places.get(first, (0, 0))[0]
        while chunk < last and chunk not in self._patches and (place := self._places.get(chunk)) is not None:
            if place[0] != slot + chunk - first:
                break
            chunk += 1
            if place[1] != CHUNK:
                break
        return chunk - first

    def _read_run(self, first: int, count: int, offset: int, answer: memoryview) -> None:
        slot = self._places[first][0]
        stored = self._objects.buffers.stored.take(count * _STRIDE)
        os.preadv(self._open(), (stored,), _SLOTS + slot * _STRIDE)
        for index in range(count):
            length = self._places[first + index][1]
            begin = index * _STRIDE
            nonce = bytes(stored[begin : begin + NONCE_SIZE])
            sealed = stored[begin + NONCE_SIZE : begin + length + _OVERHEAD]
            start = (first + index) * CHUNK - offset
            whole = start >= 0 and start + length <= len(answer)
            plain = answer[start : start + length] if whole else self._objects.buffers.chunk.take(length)
            self._cipher.decrypt_into(nonce, sealed, _PLACE.pack(first + index, slot + index), plain)
            if not whole or length < CHUNK:
                _put(answer, start, plain)

    def _whole(self, chunk: int) -> bytearray:
        """A chunk from its slot, if it has one, with what was written since."""
        data = bytearray(CHUNK)
        end = 0
        if (place := self._places.get(chunk)) is not None:
            slot, end = place
            stored = os.pread(self._open(), end + _OVERHEAD, _SLOTS + slot * _STRIDE)
            data[:end] = self._cipher.decrypt(stored[:NONCE_SIZE], stored[NONCE_SIZE:], _PLACE.pack(chunk, slot))
        for start, piece in self._patches.get(chunk, ()):
            data[start : start + len(piece)] = piece
            end = max(end, start + len(piece))
        return data[:end]

    # Writing

    def write(self, offset: int, data: bytes) -> bytes:
        """Write; returns what of it has to be in the journal: what has no slot, or a tag of what has."""
        end = offset + len(data)
        if self._small is not None:
            if end <= SMALL:
                self._small.extend(bytes(max(end - len(self._small), 0)))
                self._small[offset:end] = data
                return data
            if self._small:
                self._patches[0] = [(0, bytes(self._small))]
            self._small = None
        return self._write_large(offset, end, memoryview(data))

    def _write_large(self, offset: int, end: int, data: memoryview) -> bytes:
        first, last = -(-offset // CHUNK), end // CHUNK
        if first > last:
            return self._patch(last, offset % CHUNK, data)
        noted = b""
        if offset % CHUNK:
            noted += self._patch(first - 1, offset % CHUNK, data[: first * CHUNK - offset])
        if first < last:
            noted += self._write_chunks(first, data[first * CHUNK - offset : last * CHUNK - offset])
        if end % CHUNK:
            rest = data[last * CHUNK - offset :]
            is_new = last not in self._places and last not in self._patches
            noted += self._write_chunks(last, rest) if is_new and len(rest) > SMALL else self._patch(last, 0, rest)
        return noted

    def _patch(self, chunk: int, start: int, piece: memoryview) -> bytes:
        pieces = self._patches.setdefault(chunk, [])
        pieces.append((start, bytes(piece)))
        if start + len(piece) == CHUNK and _follow(pieces):
            return self._write_chunks(chunk, memoryview(b"".join(known for _, known in pieces)))
        return pieces[-1][1]

    def _write_chunks(self, first: int, data: memoryview) -> bytes:
        slots = self._take(-(-len(data) // CHUNK))
        fd = self._open()
        out = self._objects.sealed.take(len(slots) * _STRIDE)
        begin = end = 0  # of what is to be written next, in `out`
        for index, slot in enumerate(slots):
            piece = data[index * CHUNK : (index + 1) * CHUNK]
            nonce = os.urandom(NONCE_SIZE)
            start, end = end, end + len(piece) + _OVERHEAD
            out[start : start + NONCE_SIZE] = nonce
            self._cipher.encrypt_into(nonce, piece, _PLACE.pack(first + index, slot), out[start + NONCE_SIZE : end])
            self._install(first + index, slot, len(piece))
            if index + 1 == len(slots) or slots[index + 1] != slot + 1:
                os.pwrite(fd, out[begin:end], _SLOTS + slots[begin // _STRIDE] * _STRIDE)
                begin = end
        self.unsynced = True
        self._objects.wrote(fd, len(data))
        return bytes(out[end - TAG_SIZE : end]) * len(slots)

    def _take(self, count: int) -> list[int]:
        slots = [self._free.popleft() for _ in range(min(count, len(self._free)))]
        missing = count - len(slots)
        slots += range(self._end, self._end + missing)
        self._end += missing
        return slots

    def _install(self, chunk: int, slot: int, length: int) -> None:
        old = self._places.get(chunk)
        if old is not None:
            self._freed.append(old[0])
        self._places[chunk] = (slot, length)
        self._patches.pop(chunk, None)

    def cut(self, old: int, size: int) -> None:
        """Make a file of `old` bytes one of `size` bytes."""
        if self._small is not None:
            del self._small[size:]
        elif size < old:
            last = size // CHUNK
            rest = bytes(self._whole(last)[: size % CHUNK])
            self._freed += [place[0] for chunk, place in self._places.items() if chunk >= last]
            self._places = {chunk: place for chunk, place in self._places.items() if chunk < last}
            self._patches = {chunk: pieces for chunk, pieces in self._patches.items() if chunk < last}
            if rest:
                self._patches[last] = [(0, rest)]

    def _open(self) -> int:
        if self._fd < 0:
            is_new = not self._places
            flags = os.O_RDWR | (os.O_CREAT if is_new else 0)
            self._fd = os.open(str(self.number), flags, 0o600, dir_fd=self._objects.folder)
            if is_new:
                key = os.urandom(32)
                os.pwrite(self._fd, seal(key, self.number), 0)
            else:
                key = unseal(os.pread(self._fd, _STORED_KEY, 0), self.number)
            self._cipher = AESGCM(key)
        return self._fd


def _put(answer: memoryview, start: int, data: memoryview | bytearray) -> None:
    """Put a chunk that begins at `start`, which may be before it, into an answer, with zeros after its end."""
    begin, stop = max(start, 0), min(start + CHUNK, len(answer))
    piece = data[begin - start : stop - start]
    answer[begin : begin + len(piece)] = piece
    answer[begin + len(piece) : stop] = bytes(stop - begin - len(piece))


def _follow(pieces: Sequence[tuple[int, bytes]]) -> bool:
    """Whether each begins where the one before ends, the first at 0."""
    end = 0
    for start, piece in pieces:
        if start != end:
            return False
        end += len(piece)
    return True
