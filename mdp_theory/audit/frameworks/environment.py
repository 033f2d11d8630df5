"""Where a framework runs: in this environment if it is installed here, otherwise in one of its own, by a process.

A worker needs the framework and numpy, nothing of this project's dependencies, so that versions can never clash.
"""

import importlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mdp_theory.audit.frameworks.batches import Settings, Variant
from mdp_theory.methods.batch import Batch
from rino_base.files import user_cache
from rino_base.messages import InputError
from rino_base.peer_process import PeerAnswerError, PeerEndedError, PeerProcess

PLACE = "RINO_FRAMEWORKS"
"""The variable that names the folder of the frameworks' environments; the user's cache folder otherwise."""


class WorkerProblem(Exception):
    """What a worker could not do, in one line."""


def variants(framework: str) -> Mapping[str, Variant]:
    """The losses of a framework that have a name here, whether or not it is installed."""
    adapter = importlib.import_module(f"mdp_theory.audit.frameworks.{framework}_adapter")
    found: Mapping[str, Variant] = adapter.VARIANTS
    return found


def pins() -> Mapping[str, Any]:
    """The table of environments.toml: per framework `module`, `requires`, `alone`."""
    return tomllib.loads((Path(__file__).parent / "environments.toml").read_text(encoding="utf-8"))


def own_environment(framework: str) -> Path:
    """The folder of the framework's own environment, made or not."""
    if folder := os.environ.get(PLACE):
        return Path(folder) / framework
    return user_cache("frameworks", os.environ) / framework


def python_of(framework: str) -> Path:
    """The interpreter that has the framework.

    Raises:
        InputError: none has; the mend is the command that makes one.
    """
    module = pins()[framework]["module"]
    if importlib.util.find_spec(module) is not None:
        return Path(sys.executable)
    python = _python(own_environment(framework))
    if python.exists():
        return python
    raise InputError(
        f"{framework} is installed neither here nor in {own_environment(framework)}",
        mend=f"rino conformance {framework} --install, which makes that environment from this project's own pins",
    )


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def installation(framework: str) -> list[list[str]]:
    """The commands that make the framework's own environment, in order."""
    place, pinned = own_environment(framework), pins()[framework]
    pip = [str(_python(place)), "-m", "pip", "install", "--quiet"]
    commands = [[sys.executable, "-m", "venv", str(place)], [*pip, *pinned["requires"]]]
    return commands + ([[*pip, "--no-deps", *pinned["alone"]]] if pinned["alone"] else [])


def install(framework: str) -> None:
    """Make the framework's own environment, whole or not at all.

    Raises:
        InputError: a command failed; the environment is taken away again.
    """
    for command in installation(framework):
        print("+", shlex.join(command), file=sys.stderr)
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
            shutil.rmtree(own_environment(framework), ignore_errors=True)
            raise InputError(f"{framework} could not be installed", mend="see above what pip said; then try again")


class Worker:
    """A process that has the framework; a context manager. One loss is open at a time."""

    def __init__(self, framework: str) -> None:
        self._framework = framework
        self._python = python_of(framework)

    def __enter__(self) -> Self:
        self._process = PeerProcess(self._python, "mdp_theory.audit.frameworks.worker")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close()

    def open(self, settings: Settings, *, trainer: str | None = None) -> str:
        """Make this the loss that is asked, and return the framework's version.

        Raises:
            WorkerProblem: the framework does not take the settings, or its interface is another than the adapter's.
        """
        answer = self._ask({"framework": self._framework, "settings": dict(settings), "trainer": trainer})
        return str(answer["version"])

    def weigh(self, batch: Batch, *, parts: int = 1) -> tuple[float, np.ndarray]:
        """Loss and token weights of a probe, as the sum over `parts` micro-batches of one optimiser step.

        Raises:
            WorkerProblem: the loss fails on it.
        """
        names = ("logp", "old_logp", "ref_logp", "rewards", "mask", "group")
        streams = (batch.logp, batch.old_logp, batch.ref_logp, batch.reward, batch.mask, batch.group)
        fields = {name: np.asarray(stream).tolist() for name, stream in zip(names, streams, strict=True)}
        answer = self._ask(fields | {"parts": parts})
        return float(answer["value"]), np.asarray(answer["weights"])

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._process.ask(question)
        except PeerEndedError as error:
            raise WorkerProblem(f"ends its process: {error}") from error
        except PeerAnswerError as error:
            raise WorkerProblem(str(error)) from error
