"""Says why stored bytes do not verify: missing, cut, older or broken."""

import errno

from vaultfs.check.findings import Kind
from vaultfs.errors import Damaged
from vaultfs.format.constants import KIND_CHUNK, OBJECT_HEADER_SIZE
from vaultfs.format.layout import object_path, slot_offset, slot_size
from vaultfs.sealing.entries import Part
from vaultfs.sealing.frames import NO_TAG, FrameCipher
from vaultfs.sealing.maps import MapEntry
from vaultfs.sealing.slots import SlotCipher, stored_slot_size
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import Segment

Diagnosis = tuple[Kind, str]

_CUT_OLDER = "it ends before that; an older version of it, or not fully synced"


def object_size(objects: Objects, path: str) -> int | Diagnosis:
    """An object's size in bytes, or why it has none."""
    try:
        objects.handles.drop(path)
        return objects.handles.get(path).size()
    except FileNotFoundError:
        return Kind.MISSING, "the object is not in the store; is it fully synced?"
    except OSError as error:
        if error.errno == errno.EINVAL:
            return Kind.FOREIGN, "something that is no regular file stands in the object's place"
        return Kind.CORRUPT, f"the object cannot be read: {error.strerror}"


def diagnose_slot(objects: Objects, segment: Segment, entry: MapEntry, kind: bytes = KIND_CHUNK) -> Diagnosis:
    """Why the slot a map entry names does not verify."""
    size = object_size(objects, segment.path)
    if not isinstance(size, int):
        return size
    end = slot_offset(entry.slot, objects.chunk_size) + stored_slot_size(entry.length)
    if size < end:
        return diagnose_cut(objects, size)
    try:
        stored = objects.read_slot(segment.path, entry.slot, entry.length)
    except Damaged as error:
        return Kind.CORRUPT, str(error)
    if not any(stored):
        return Kind.CORRUPT, "zeros stand where sealed bytes should"
    cipher = SlotCipher(
        objects.context.object_cipher(segment.key, segment.name), kind, objects.context.vault_id, segment.name
    )
    try:
        generation, _, _ = cipher.salvage(entry.slot, stored)
    except Damaged:
        return Kind.CORRUPT, "the bytes do not verify"
    return Kind.OLDER, f"an older version stands here, of generation {generation}"


def diagnose_cut(objects: Objects, size: int) -> Diagnosis:
    """Why a segment is too short: whole slots are missing, or it was cut inside one."""
    if size > OBJECT_HEADER_SIZE and (size - OBJECT_HEADER_SIZE) % slot_size(objects.chunk_size) == 0:
        return Kind.OLDER, _CUT_OLDER
    return Kind.CORRUPT, f"the object is cut short: {size} bytes are left"


def diagnose_part(objects: Objects, key: bytes, part: Part) -> Diagnosis | None:
    """Why an object of a directory does not verify; None if it does."""
    size = object_size(objects, object_path(part.object))
    if not isinstance(size, int):
        return size
    length = min(size, part.length)
    try:
        stored = objects.read_frames(object_path(part.object), max(length, OBJECT_HEADER_SIZE))
    except Damaged as error:
        return Kind.CORRUPT, str(error)
    frames = [(end, tag) for end, tag, _, _ in FrameCipher(objects.context, key, part.object).salvage(stored)]
    whole, tag = frames[-1] if frames else (0, NO_TAG)
    if whole == part.length - OBJECT_HEADER_SIZE and tag == part.tag:
        return None
    if size < part.length and OBJECT_HEADER_SIZE + whole == size and whole:
        return Kind.OLDER, _CUT_OLDER
    if whole and size >= part.length and whole == len(stored):
        return Kind.OLDER, "it ends with another frame than the newest; an older or a conflicting version of it"
    if size < part.length:
        return Kind.CORRUPT, f"the object is cut short: {size} of {part.length} bytes are left"
    return Kind.CORRUPT, f"the frame at byte {OBJECT_HEADER_SIZE + whole} does not verify"
