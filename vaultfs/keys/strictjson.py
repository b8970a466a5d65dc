"""JSON read strictly: no duplicate, missing or unknown member, and every value of its exact type and form.

Everything here raises ValueError with a sentence saying where; whoever knows what the JSON is names the file.
"""

import json
import re
from collections.abc import Sequence
from typing import TypeAlias

Members: TypeAlias = dict[str, object]


def parse_object(data: bytes) -> Members:
    """The one JSON object (RFC 8259) in UTF-8 `data`."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return as_object(value, "it")


def as_object(value: object, where: str) -> Members:
    """`value` if it is an object."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    return value


def as_list(value: object, where: str, longest: int) -> list[object]:
    """`value` if it is a list of at most `longest` items."""
    if not isinstance(value, list) or len(value) > longest:
        raise ValueError(f"{where} is not a list of at most {longest} items")
    return value


def as_integer(value: object, where: str, lowest: int, highest: int) -> int:
    """`value` if it is an integer, and neither a boolean nor a float that looks like one, in that range."""
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{where} is not an integer from {lowest} to {highest}")
    return value


def as_text(value: object, where: str, longest: int) -> str:
    """`value` if it is a string of at most `longest` printable characters (so no control can reach a terminal)."""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise ValueError(f"{where} is not a text of at most {longest} printable characters")
    return value


def as_match(value: object, where: str, pattern: str) -> str:
    """`value` if it is a string that is wholly matched by the regular expression."""
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
        raise ValueError(f"{where} has not the form {pattern}")
    return value


def as_bytes(value: object, where: str, shortest: int, longest: int) -> bytes:
    """The bytes of a lower-case hex string, if there are `shortest` to `longest` of them."""
    return bytes.fromhex(as_match(value, where, f"([0-9a-f]{{2}}){{{shortest},{longest}}}"))


def require_members(members: Members, where: str, names: Sequence[str]) -> None:
    """Refuse an object unless it has exactly the members `names`."""
    missing = [name for name in names if name not in members]
    unknown = [name for name in members if name not in names]
    if missing:
        raise ValueError(f"{where} has no {missing[0]!r}")
    if unknown:
        raise ValueError(f"{where} has an unknown member {ascii(unknown[0])[:64]}")


def _without_duplicates(pairs: list[tuple[str, object]]) -> Members:
    members: Members = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the member {ascii(name)[:64]} is there twice")
        members[name] = value
    return members
