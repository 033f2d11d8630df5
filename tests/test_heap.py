"""What a process keeps of the memory that it has freed, counted in page faults."""

import os
import platform
import subprocess
import sys

import pytest

from rino.heap import keep_heap

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")

_SECOND_FAULTS = """
import os, resource, sys
from rino.heap import keep_heap
if sys.argv[1] == "keep":
    assert keep_heap({})
count = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
array = bytearray(1 << 27)
del array
before = count()
array = bytearray(1 << 27)
for page in range(0, 1 << 27, 4096):
    array[page] = 1
print(count() - before)
"""


def _second_faults(how: str) -> int:
    command = [sys.executable, "-c", _SECOND_FAULTS, how]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return int(subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout)


def test_a_second_large_array_costs_no_page_faults():
    assert _second_faults("keep") < 100
    # 128 MiB in pages of 4 KiB, or of 2 MiB where the kernel makes huge ones of its own accord.
    assert _second_faults("leave") >= 64


@pytest.mark.parametrize("name", ["LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_what_the_user_has_chosen_stays(name: str):
    assert not keep_heap({name: "anything"})
