"""A process in an environment of its own that answers JSON lines with JSON lines; for frameworks whose pins collide.

It computes on the CPU and loads nothing from the network. What it prints beside its answers is kept for the last words.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HOME = Path(__file__).resolve().parents[1]
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "disabled",
    "PYTHONWARNINGS": "ignore",
}


class PeerEndedError(Exception):
    """The process ended; the text is the last line that it printed."""


class PeerAnswerError(Exception):
    """The process answered that it has a problem; the text says which."""


class PeerProcess:
    """`python -m module` with this project on its path, from its making until `close`."""

    def __init__(self, python: Path, module: str) -> None:
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, `close` does
        path = os.pathsep.join(filter(None, [str(_HOME), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [str(python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
            env=os.environ | _QUIET | {"PYTHONPATH": path},
        )

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer to one line.

        Raises:
            PeerEndedError, PeerAnswerError: there is none, or it is `{"problem": text}`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerEndedError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "problem" in answer:
            raise PeerAnswerError(str(answer["problem"]))
        return answer

    def close(self) -> None:
        """Let it end by itself, since it may have something to clear away; not for longer than ten seconds."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._said.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().splitlines() if line.strip()]
        return lines[-1][:200] if lines else f"exit code {self._process.returncode}"
