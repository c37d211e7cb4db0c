"""Memory kept between training steps."""

import ctypes
import sys

# Parameters of glibc's mallopt(3), from its malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have the C library keep freed memory instead of returning it; elsewhere than glibc, nothing.

    A training step frees and takes the same large blocks again and again, and the kernel clears
    each page that comes back. The process then holds on to its peak.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(MMAP_THRESHOLD, 2**30)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
