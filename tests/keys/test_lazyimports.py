"""Importing the key layer loads no crypto library: commands that only print must start fast."""

import subprocess
import sys
from pathlib import Path


def test_no_crypto_library_is_loaded_by_importing() -> None:
    program = (
        "import sys, vaultfs.keys.headerfile, vaultfs.keys.password, vaultfs.crypto.aead, vaultfs.crypto.keywrap\n"
        "print(sorted({'Crypto', 'cryptography', 'argon2', '_cffi_backend'} & set(sys.modules)))"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
