"""The process in a framework's own environment that answers an audit: `python -m mdp_theory.audit.frameworks.worker`.

One JSON object a line. `{"framework": ..., "settings": {...}, "trainer": ...}` opens a loss, every other line is a
batch for it; each is answered by one line. What a framework prints goes to stderr, never to be taken for an answer.
"""

import importlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

import numpy as np

from mdp_theory.audit.frameworks.batches import Weigh, arrange


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    weigh: Weigh | None = None
    for line in sys.stdin:
        question = json.loads(line)
        if "framework" in question:
            weigh, answer = _open(question)
        else:
            answer = {"problem": "no loss is open"} if weigh is None else _answer(weigh, question)
        _say(answers, answer)


def _open(order: dict[str, Any]) -> tuple[Weigh | None, dict[str, Any]]:
    try:
        adapter = importlib.import_module(f"mdp_theory.audit.frameworks.{order['framework']}_adapter")
        return adapter.load(order["settings"], trainer=order["trainer"]), {"version": adapter.version()}
    except (Exception, SystemExit) as error:
        return None, {"problem": in_one_line(error)}


def _answer(weigh: Weigh, batch: dict[str, Any]) -> dict[str, Any]:
    count = batch.pop("parts")
    try:
        responses, back = arrange({name: np.asarray(value) for name, value in batch.items()})
        value, weights = weigh(responses, count)
        if not np.isfinite(value) or not np.isfinite(weights).all():
            return {"problem": f"returns {value}, or a gradient that is not finite"}
        return {"value": value, "weights": back(weights).tolist()}
    except Exception as error:
        return {"problem": f"raises {in_one_line(error)}"}


def in_one_line(error: BaseException) -> str:
    """The error and the place in the framework that raised it."""
    said = (str(error).strip().splitlines() or [""])[0][:200]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{place}"


def _say(answers: TextIO, record: dict[str, Any]) -> None:
    answers.write(json.dumps(record) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
