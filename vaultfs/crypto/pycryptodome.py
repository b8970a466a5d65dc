"""What is used of pycryptodome, by way of ctypes: with cffi it would parse C declarations first, for 30 ms or more.

Whoever gives a password waits for that.
"""

import sys

_CFFI = "cffi"

_known = sys.modules.get(_CFFI)
sys.modules[_CFFI] = None  # type: ignore[assignment]  # importing it fails now, and pycryptodome does without
try:
    from Crypto.Cipher import AES
    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF, scrypt
finally:
    del sys.modules[_CFFI]
    if _known is not None:
        sys.modules[_CFFI] = _known

__all__ = ["AES", "HKDF", "SHA256", "scrypt"]
