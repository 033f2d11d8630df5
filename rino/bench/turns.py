"""Peers as processes, and turns that alternate between them and this project."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from mdp_theory.audit.frameworks.environment import python_of
from rino_base.messages import InputError

_HOME = Path(__file__).resolve().parents[2]
_MODULES = "rino.bench.peers."
# Nothing is loaded from the network, nothing is logged, and all compute on the CPU.
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "disabled",
    "PYTHONWARNINGS": "ignore",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
}


class PeerProblem(Exception):
    """Why a peer has no part in a comparison, in one line."""


class Kind(NamedTuple):
    """A peer: its module in `rino.bench.peers`, the framework whose environment has it, and the works it does.

    warm: turns of each work that are not counted, since they compile.
    """

    module: str
    framework: str
    works: tuple[str, ...]
    warm: int


PEERS: Mapping[str, Kind] = {
    "transformers": Kind("transformers_peer", "transformers", ("equal", "ragged"), 0),
    "tunix": Kind("tunix_peer", "tunix", ("equal", "step"), 1),
    "TRL": Kind("trl_peer", "trl", ("step",), 1),
}


class Peer:
    """The process of one peer; a context manager. Where it cannot take part, `problem` says why."""

    def __init__(self, kind: Kind, order: Mapping[str, Any]) -> None:
        self.kind, self._order = kind, order
        self.problem: str | None = None
        self.said: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        try:
            python = _python(self.kind.framework)
            path = os.pathsep.join(filter(None, [str(_HOME), os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                [str(python), "-m", _MODULES + self.kind.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
                env=os.environ | _QUIET | {"PYTHONPATH": path},
            )
            self.said = self._ask(self._order)
        except (InputError, PeerProblem) as error:
            mend = getattr(error, "mend", None)
            self.problem = f"{error}; {mend}" if mend else str(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            try:
                # Without further lines it ends by itself, and clears away what it wrote.
                self._process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
        self._log.close()

    def turn(self, work: str) -> dict[str, float] | None:
        """One turn; None from the first one on that failed."""
        if self.problem:
            return None
        try:
            return self._ask({"work": work})
        except PeerProblem as problem:
            self.problem = str(problem)
            return None

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerProblem(f"its process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "problem" in answer:
            raise PeerProblem(f"its interface is another than expected: {answer['problem']}")
        return answer

    def _last_words(self) -> str:
        assert self._process is not None
        self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return lines[-1][:200] if lines else f"exit code {self._process.returncode}"


def _python(framework: str) -> Path:
    if framework != "transformers":
        return python_of(framework)
    import importlib.util
    import sys

    if importlib.util.find_spec("torch") is None:
        raise InputError("torch is not installed", mend="pip install -e '.[torch]'")
    return Path(sys.executable)


def model_gap(peer: Peer, own: Sequence[Sequence[float]]) -> float:
    """The largest difference between a peer's log-probabilities and ours, of the same tokens."""
    return float(np.abs(np.asarray(peer.said["logp"]) - np.asarray(own)).max())
