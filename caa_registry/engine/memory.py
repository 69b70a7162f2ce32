"""What the process keeps of the memory that it frees."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h


def keep_freed_memory() -> None:
    """Have this process keep up to 1 GiB of what it frees for what it needs next, where that is glibc's to decide.

    By default what MLX frees after each operation goes back to the system, which clears it page by page when the next
    one asks: 6 % of the time of a forward pass on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**30)
