"""One parser under libFuzzer: `python -m _fuzz.target PARSER [libFuzzer options and corpora]`.

Whatever the parser raises but a VaultfsError is a crash, which libFuzzer reports and keeps.
"""

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["vaultfs"]):
    from tests.format.parsers import PARSERS
    from vaultfs.errors import VaultfsError


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough; ends the process."""
    read = PARSERS[sys.argv[1]].read

    def one_input(data: bytes) -> None:
        with contextlib.suppress(VaultfsError):
            read(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
