"""What a password is: how its text becomes bytes."""

import unicodedata

from vaultfs.errors import PasswordUnreadable


def normalise(text: str) -> bytes:
    """The bytes the KDF sees: NFKC (Unicode UAX #15), then UTF-8, of any length.

    Two keyboards or systems may compose the same visible password differently; NFKC makes them one.
    Raises PasswordUnreadable for text that was not valid UTF-8 when it was read.
    """
    try:
        return unicodedata.normalize("NFKC", text).encode("utf-8")
    except UnicodeEncodeError as error:
        raise PasswordUnreadable("The password is not valid UTF-8 text.") from error
