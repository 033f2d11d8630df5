"""What a first step compiles, by the number of layers, at the widths of SmolLM2-135M: a process for each depth.

Wall seconds of the first sampling, and of the first update, less those of the second; and of tracing and compiling the
gradient as one program, as on several devices. Nothing is kept between starts here.
    python results/depth.py             results: results/depth.json; about two minutes, leave the machine alone
    python results/speed.py --write     puts them into docs/performance.md
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
DEPTHS = (2, 8, 30)
SCALE = "smollm2-135m"


def main() -> None:
    """Every depth."""
    from llm_exps.experiment import provenance
    from rino_base.files import write_json
    from rino_base.progress import track

    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "JAX_ENABLE_COMPILATION_CACHE": "false"}
    found = {}
    for depth in track(DEPTHS, description="depths"):
        command = [sys.executable, __file__, str(depth)]
        told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found[str(depth)] = json.loads(told.stdout)
    write_json(HERE / "depth.json", {"scale": SCALE, "seconds": found, **provenance()})
    print(json.dumps(found, indent=2))


def measure(depth: int) -> dict[str, float]:
    """One depth, in this process."""
    from rino.bench.scales import SCALES, build
    from rino.bench.start import BATCH
    from rino.bench.work import Step
    from rino.heap import keep_heap

    keep_heap(os.environ)
    scale = SCALES[SCALE]
    assert scale.shape is not None, "published sizes"
    scale = dataclasses.replace(scale, shape=scale.shape._replace(layers=depth), step=BATCH)
    step = Step(build(scale), scale)
    first, second = step.turn(), step.turn()
    start = time.perf_counter()
    step.lower_whole().compile()
    whole = time.perf_counter() - start
    return {name: first[name] - second[name] for name in ("sampling", "update")} | {"gradient, one program": whole}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
