"""What is used of pycryptodome, loaded by ctypes and without asking what kind of system this is.

With cffi it would parse C declarations first, for 30 ms or more, and to learn that programs are ELF files here it would
run file(1), for another 20. Whoever gives a password waits for that. Import it while there is one thread.
"""

import sys

_CFFI = "cffi"

_known = sys.modules.get(_CFFI)
sys.modules[_CFFI] = None  # type: ignore[assignment]  # importing it fails now, and pycryptodome does without
try:
    from Crypto.Util import _raw_api

    # As platform.architecture() would say it; only the second is looked at.
    vars(_raw_api).get("cached_architecture", [])[:] = ("64bit", "ELF")
    from Crypto.Cipher import AES
    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF, scrypt
finally:
    del sys.modules[_CFFI]
    if _known is not None:
        sys.modules[_CFFI] = _known

__all__ = ["AES", "HKDF", "SHA256", "scrypt"]
