"""What the C library does with memory that a training step or a forward pass frees."""

import ctypes
import platform
import sys

__all__ = ["keep_freed_memory"]

# Parameters of glibc's mallopt.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
MIB = 2**20


def keep_freed_memory() -> bool:
    """Let glibc keep what it is given back, so that the next step or pass finds its activations' pages already mapped.

    By default glibc returns much of it to the kernel and asks for fresh, zeroed pages a moment later: a page fault
    for every 4 KiB touched, and one lock that all threads of the process wait for. With this a step's faults fall
    from thousands to a few hundred. How much time that saves depends on the machine: from a percent to several-fold
    was measured. The process keeps its peak memory until it ends. The threshold is the largest glibc takes: larger
    tensors still come from the kernel, which bounds fragmentation.

    Returns:
        False where the C library is not glibc; nothing is changed then.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = {MMAP_THRESHOLD: 32 * MIB, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * MIB}
    taken = [libc.mallopt(name, value) == 1 for name, value in settings.items()]
    return all(taken)
