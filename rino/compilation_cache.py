"""Compiled programs are kept in the user's cache folder, so that only the first start of a command waits for XLA.

jax does the keeping and reads its settings from the environment when it is first imported; here they get their
defaults. A variable that the user has set wins: JAX_COMPILATION_CACHE_DIR for another folder,
JAX_ENABLE_COMPILATION_CACHE=false for none.
"""

import hashlib
import platform
from collections.abc import MutableMapping
from pathlib import Path

from rino_base.files import user_cache

SETTINGS = {
    # Dozens of programs compile in less than jax's default of a second, and together they take one at every start.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    # In bytes. With a bound jax also takes a file lock, so that concurrent processes never read half an entry.
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2 << 30),
}


def keep_compilations(environment: MutableMapping[str, str]) -> None:
    """Set the defaults in `environment`, before jax is imported; do nothing where the folder cannot be made."""
    if "JAX_COMPILATION_CACHE_DIR" in environment or environment.get("JAX_ENABLE_COMPILATION_CACHE"):
        return
    try:
        folder = user_cache("compiled", environment) / _processor()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return
    environment["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    for name, value in SETTINGS.items():
        environment.setdefault(name, value)


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    # XLA compiles for the instructions of the processor at hand, and jax's key does not name them: on a home folder
    # shared by unlike machines a program would be loaded that the processor cannot run.
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine() or 'machine'}-{hashlib.sha256(flags.encode()).hexdigest()[:12]}"
