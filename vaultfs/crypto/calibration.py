"""Chooses how costly new key slots are on this machine: about a second per try, memory first.

Memory is what a guesser with special hardware has to pay for, so it grows until its ceiling before passes do.
"""

import os
import time

from vaultfs.crypto.kdf import CREATE_FLOOR, Argon2id, Kdf, Scrypt

TARGET = 1.0
"""Seconds one try should take."""
LEAST = Argon2id(memory_kib=64 << 10, passes=3, lanes=4)
"""RFC 9106 section 4, the memory-constrained recommendation; also what a slot should have at least today."""
LEAST_SCRYPT = Scrypt(log_n=17, r=8, p=1)
MOST_MEMORY_KIB = 1 << 20
"""1 GiB: a vault made on a large machine should still open on a small one."""
_MOST_PASSES = 16
_STEP_KIB = 32 << 10


def calibrate(target: float = TARGET) -> Kdf:
    """Costs that take about `target` seconds here; Argon2id, or scrypt where no library has Argon2.

    Takes about a third of a second. Never less than `LEAST`, however slow the machine; at most 1 GiB, and a
    quarter of the machine's memory.
    """
    try:
        seconds = min(_timed(LEAST) for _ in range(2))
    except ImportError:
        return _calibrate_scrypt(target)
    return argon2id_for(target / seconds, _memory_kib() // 4)


def argon2id_for(factor: float, most_memory_kib: int) -> Argon2id:
    """Costs of `factor` times `LEAST`: in memory as far as `most_memory_kib` and 1 GiB allow, then in passes."""
    most = max(min(most_memory_kib, MOST_MEMORY_KIB), LEAST.memory_kib) // _STEP_KIB * _STEP_KIB
    wanted = int(LEAST.memory_kib * factor) // _STEP_KIB * _STEP_KIB
    memory = min(max(wanted, LEAST.memory_kib), most)
    passes = round(LEAST.passes * max(LEAST.memory_kib * factor / memory, 1))
    return Argon2id(memory, min(passes, _MOST_PASSES), LEAST.lanes)


def is_weak(kdf: Kdf) -> bool:
    """Whether costs are lower than the least that `calibrate` gives anywhere."""
    if isinstance(kdf, Argon2id):
        work = kdf.memory_kib * kdf.passes
        return kdf.memory_kib < CREATE_FLOOR.argon2_memory_kib or work < LEAST.memory_kib * LEAST.passes
    return (kdf.r * kdf.p) << kdf.log_n < (LEAST_SCRYPT.r * LEAST_SCRYPT.p) << LEAST_SCRYPT.log_n


def seconds_of(kdf: Kdf) -> float:
    """How long one try takes here, measured once, if nothing else runs."""
    return _timed(kdf)


def _calibrate_scrypt(target: float) -> Scrypt:
    seconds, log_n = _timed(LEAST_SCRYPT), LEAST_SCRYPT.log_n
    most = min(_memory_kib() // 4, MOST_MEMORY_KIB).bit_length() - 1  # with r = 8, N is the memory in KiB
    while log_n < most and seconds * 2 <= target * 1.5:
        seconds, log_n = seconds * 2, log_n + 1
    return Scrypt(log_n, LEAST_SCRYPT.r, LEAST_SCRYPT.p)


def _timed(kdf: Kdf) -> float:
    """Seconds on this machine when nothing else runs: by CPU time, or a busy moment would make weak slots for good."""
    start = time.process_time()
    kdf.derive(b"a password", bytes(16))
    lanes = kdf.lanes if isinstance(kdf, Argon2id) else 1
    return (time.process_time() - start) / min(lanes, len(os.sched_getaffinity(0)))


def _memory_kib() -> int:
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) >> 10
