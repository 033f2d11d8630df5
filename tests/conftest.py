"""Settings of the whole suite."""

import atexit
import os
import shutil
import tempfile

import pytest

# The suite compiles many tiny programs: nearly all of its time goes into compiling, next to none into running them.
_FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FAST_COMPILATION}".strip()

# What one test has compiled, another need not: the workers of pytest-xdist and the commands that tests start share a
# folder. It is new in every session, so that nothing is found that an earlier run of the suite has compiled.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _compiled = tempfile.mkdtemp(prefix="rino-compiled-")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2 << 30)  # With a bound jax locks what it reads and writes.


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked so need PyTorch, and are skipped without it."""
    if item.get_closest_marker("torch"):
        pytest.importorskip("torch")
