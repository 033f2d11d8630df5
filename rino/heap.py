"""Memory that a program has freed stays with the process, so that the next program need not ask the kernel for it.

XLA on a CPU allocates each program's scratch anew. glibc takes blocks of that size from the kernel and gives them back
at once; the kernel then clears every page again, on one thread while the others wait: at SmolLM2-135M's shape a
million pages a training step (results/heap.json has what it costs). Other C libraries are left as they are, and so is
a process whose user has chosen.
"""

import ctypes
from collections.abc import Mapping

_CHOICES = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")

# Of glibc's malloc.h: no blocks of their own for large arrays, nothing given back, one heap for all threads (the heaps
# of further threads hold no large arrays).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_SETTINGS = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))


def keep_heap(environment: Mapping[str, str]) -> bool:
    """Set it, before threads are started; False where the C library is another or the user has chosen.

    Any variable of `environment` that configures the allocator is such a choice.
    """
    if any(name in environment for name in _CHOICES):
        return False
    try:
        library = ctypes.CDLL(None)
        # Not every library that has `mallopt` heeds it; glibc is the one that tells its version.
        _ = library.gnu_get_libc_version
        return all(library.mallopt(name, value) == 1 for name, value in _SETTINGS)
    except (AttributeError, OSError, TypeError):  # TypeError: no handle of the process itself, on Windows
        return False
