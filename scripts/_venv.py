"""Lets a script go on in the Python that has vaultfs's dependencies, whichever Python it was started with."""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def use_venv() -> None:
    """Start the script again with the Python of scripts/setup if this one lacks something; exit if there is none."""
    try:
        import pyfuse3  # noqa: F401
    except ImportError:
        python = REPOSITORY / ".venv/bin/python"
        if Path(sys.prefix) != python.parents[1] and python.exists():
            os.execv(python, [str(python), *sys.argv])
        sys.exit(f"{Path(sys.argv[0]).name}: pyfuse3 is missing; run scripts/setup first")
