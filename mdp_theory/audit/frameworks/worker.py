"""The process in a framework's own environment that answers an audit: `python -m mdp_theory.audit.frameworks.worker`.

One JSON object a line: `{"framework": ..., "settings": {...}, "trainer": ...}` first, then a batch a line; each is
answered by one line. What a framework prints goes to stderr, so that it cannot be taken for an answer.
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
    first = sys.stdin.readline()
    if not first:
        return
    weigh = _open(json.loads(first), answers)
    for line in sys.stdin if weigh is not None else ():
        assert weigh is not None
        _say(answers, _answer(weigh, json.loads(line)))


def _open(order: dict[str, Any], answers: TextIO) -> Weigh | None:
    try:
        adapter = importlib.import_module(f"mdp_theory.audit.frameworks.{order['framework']}_adapter")
        weigh: Weigh = adapter.load(order["settings"], trainer=order.get("trainer"))
        _say(answers, {"version": adapter.version()})
    except BaseException as error:
        _say(answers, {"problem": in_one_line(error)})
        return None
    return weigh


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
