"""What a training step costs with and without `rino.heap`, at SmolLM2-135M's shape: a process each, alone.

    python results/heap.py              results: results/heap.json; three minutes on two quiet cores

Of each of three steps after two that compile and fill the heap: wall seconds, the kernel's CPU seconds and page faults;
and the process's largest resident memory.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROUNDS, WARM, COUNTED = 1, 2, 3


def main() -> None:
    """Every way once, and the medians of its steps."""
    found: dict[str, list[dict[str, float]]] = {"kept": [], "given back": []}
    peaks: dict[str, list[float]] = {how: [] for how in found}
    for _ in range(ROUNDS):
        for how in found:
            told = subprocess.run(
                [sys.executable, __file__, how],
                env=os.environ | {"PYTHONPATH": str(HERE.parent)},
                stdout=subprocess.PIPE,
                check=True,
            )
            said = json.loads(told.stdout)
            found[how] += said["steps"]
            peaks[how].append(said["peak_gb"])
    summary = {
        how: {name: float(np.median([step[name] for step in steps])) for name in steps[0]}
        | {"seconds_range": [min(step["seconds"] for step in steps), max(step["seconds"] for step in steps)]}
        | {"peak_gb": float(np.median(peaks[how]))}
        for how, steps in found.items()
    }
    (HERE / "heap.json").write_text(json.dumps({"median": summary, "turns": found}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=2))


def turns(how: str) -> None:
    """The steps of one process."""
    from rino.heap import keep_heap

    if how == "kept":
        assert keep_heap({}), "the C library is another"
    from rino.bench.scales import SCALES, build
    from rino.bench.work import Step

    scale = SCALES["smollm2-135m"]
    step = Step(build(scale), scale)
    steps = []
    for number in range(WARM + COUNTED):
        before = resource.getrusage(resource.RUSAGE_SELF)
        said = step.turn()
        after = resource.getrusage(resource.RUSAGE_SELF)
        if number >= WARM:
            faults, system = after.ru_minflt - before.ru_minflt, after.ru_stime - before.ru_stime
            steps.append({"seconds": said["seconds"], "system_seconds": system, "page_faults": faults})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"steps": steps, "peak_gb": peak}))


if __name__ == "__main__":
    turns(sys.argv[1]) if len(sys.argv) > 1 else main()
