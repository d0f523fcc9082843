"""Settings of glibc's memory allocator for large tensors: freed memory stays in the process and is used again.

By default glibc maps every block above 32 MiB anew and returns it to the kernel when it is freed. The kernel then
zeroes each page at its first use, which took half of the time of a restoration on a CPU.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

SWITCH = "UNPAIRAUG_KEEP_MEMORY"
"""Environment variable: `0` leaves the allocator as it is."""
KEPT = 2**30
"""Largest block in bytes that comes from the heap; also the free memory that stays at the end of the heap."""
STEP = 2**26
"""Bytes by which the heap grows beyond a request; a page takes memory only once it is used."""
# From glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_BEFORE_2_35 = 2**25
"""Largest `M_MMAP_THRESHOLD` that older versions of glibc take."""


@cache
def keep_memory() -> bool:
    """Make glibc keep freed memory in this process, and in processes forked from it; return whether it does.

    Programs call it at their start, and every worker process. It changes nothing on other C libraries, where the
    environment sets the same parameters (`MALLOC_…_`), or with `UNPAIRAUG_KEEP_MEMORY=0`.
    """
    is_set = any(os.environ.get(f"MALLOC_{name}_") for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD", "TOP_PAD"))
    if os.environ.get(SWITCH) == "0" or is_set or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_MMAP_THRESHOLD, KEPT) or mallopt(_MMAP_THRESHOLD, _LARGEST_BEFORE_2_35)
    return bool(kept and mallopt(_TRIM_THRESHOLD, KEPT) and mallopt(_TOP_PAD, STEP))
