"""What a password is: how its text becomes bytes, and which new ones are refused."""

import unicodedata

from vaultfs.errors import EmptyPassword, PasswordUnreadable, WeakPassword

SHORTEST = 8
"""Characters a new password must have (NIST SP 800-63B section 5.1.1.2)."""


def normalise(text: str) -> bytes:
    """The bytes the KDF sees: NFKC (Unicode UAX #15), then UTF-8, of any length.

    Two keyboards or systems may compose the same visible password differently; NFKC makes them one.
    Raises PasswordUnreadable for text that was not valid UTF-8 when it was read.
    """
    try:
        return unicodedata.normalize("NFKC", text).encode("utf-8")
    except UnicodeEncodeError as error:
        raise PasswordUnreadable("The password is not valid UTF-8 text.") from error


def check_new(password: str) -> None:
    """Refuse a password no new key slot should have; passwords of existing slots are never checked.

    Raises EmptyPassword, or WeakPassword under 8 characters. Further tests of strength belong here.
    """
    if not password:
        raise EmptyPassword("The password is empty.")
    if len(unicodedata.normalize("NFKC", password)) < SHORTEST:
        raise WeakPassword(f"The password is too short: it needs at least {SHORTEST} characters.")
