"""The cache of compiled programs: on by default, the user's word first, harmless when it is damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rino.compilation_cache import keep_compilations

PROGRAM = """
import os
from rino.compilation_cache import keep_compilations
keep_compilations(os.environ)
import jax
import jax.numpy as jnp
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
run = jax.jit(lambda x: jax.lax.fori_loop(0, 9, lambda i, y: jnp.sin(y @ y) + i, x))
print(sum(hits), run(jnp.eye(8) * 0.3).tolist(), sum(hits))
"""


def _environment(cache: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return environment | {"XDG_CACHE_HOME": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def _start(cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=_environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _result(process: subprocess.Popen[str]) -> tuple[str, int]:
    """What the program computed, and how many programs it found compiled."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    numbers, hits = output.split(" ", 1)[1].rsplit(" ", 1)
    return numbers, int(hits)


def test_the_users_word_wins(tmp_path: Path) -> None:
    for own in ({"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}, {"JAX_ENABLE_COMPILATION_CACHE": "false"}):
        environment = own | {"XDG_CACHE_HOME": str(tmp_path)}
        before = dict(environment)
        keep_compilations(environment)
        assert environment == before
    assert not list(tmp_path.iterdir())


def test_the_default_is_a_bounded_folder_in_the_users_cache(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    keep_compilations(environment)
    folder = Path(environment["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "rino" / "compiled"
    assert int(environment["JAX_COMPILATION_CACHE_MAX_SIZE"]) > 0


def test_a_folder_that_cannot_be_made_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "rino").write_text("a file in the way")
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    keep_compilations(environment)
    assert environment == {"XDG_CACHE_HOME": str(tmp_path)}


@pytest.mark.slow
def test_starts_share_programs_survive_each_other_and_damage(tmp_path: Path) -> None:
    together = [_start(tmp_path) for _ in range(2)]
    first, other = (_result(process)[0] for process in together)
    again, hits = _result(_start(tmp_path))
    assert hits > 0
    entries = list(tmp_path.rglob("*-cache"))
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:40])
    damaged, _ = _result(_start(tmp_path))
    assert entries
    assert first == other == again == damaged
