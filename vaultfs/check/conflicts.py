"""Names that programs which synchronise folders give to files: copies in conflict, unfinished downloads, their own."""

import re

# Each marker stands behind the name, or before its extension.
_MARKERS = (
    r" \([^()]*conflicted copy[^()]*\)",  # Nextcloud, Dropbox
    r"_conflict-\d{8}-\d{6}",  # ownCloud, older Nextcloud
    r"\.sync-conflict-\d{8}-\d{6}(?:-[0-9A-Z]+)?",  # Syncthing
    r" \([^()]*[Cc]ase [Cc]onflict[^()]*\)",  # Dropbox
    r" ?\(\d+\)",  # Google Drive
    r" \d+",  # iCloud
    r"-[A-Za-z0-9][A-Za-z0-9_-]*",  # OneDrive: the computer's name
)
_COPIES = [re.compile(f"(?P<stem>.+?){marker}(?P<extension>(?:\\.[^./ ]+)?)", re.DOTALL) for marker in _MARKERS]
_UNFINISHED = re.compile(
    r"[.~]syncthing[.~].*|.*\.(?:part|partial|crdownload|tmp|!sync)|\.~.*|~.*\.tmp|\..*\.[0-9a-zA-Z]{6}", re.DOTALL
)


def copied_from(name: str) -> list[str]:
    """The names of which `name` may be a copy in conflict, likeliest first."""
    found: list[str] = []
    for pattern in _COPIES:
        match = pattern.fullmatch(name)
        if match is not None:
            original = match["stem"] + match["extension"]
            if original not in found:
                found.append(original)
    return found


def is_unfinished(name: str) -> bool:
    """Whether a name is that of a download still going on (also rsync's and browsers')."""
    return _UNFINISHED.fullmatch(name) is not None
