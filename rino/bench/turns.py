"""Peers as processes, and turns that alternate between them and this project."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from mdp_theory.audit.frameworks.environment import python_of
from rino_base.messages import InputError
from rino_base.peer_process import PeerAnswerError, PeerEndedError, PeerProcess

_MODULES = "rino.bench.peers."


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
        self._process: PeerProcess | None = None

    def __enter__(self) -> Self:
        try:
            self._process = PeerProcess(_python(self.kind.framework), _MODULES + self.kind.module)
            self.said = self._ask(self._order)
        except (InputError, PeerProblem) as error:
            mend = getattr(error, "mend", None)
            self.problem = f"{error}; {mend}" if mend else str(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.close()

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
        try:
            return self._process.ask(question)
        except PeerEndedError as error:
            raise PeerProblem(f"its process ended: {error}") from error
        except PeerAnswerError as error:
            raise PeerProblem(f"its interface is another than expected: {error}") from error


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
