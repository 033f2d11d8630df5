"""What a start costs: from the start of a process to the end of its first GRPO step, less the time of a second step.

Twice, with one folder for compiled programs: empty at the first start, filled at the second. Read from a model
directory, without task and tokenizer.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax.numpy as jnp

from llm_exps.models.huggingface import load, save
from rino.bench.scales import SCALES, Batch, build
from rino.bench.work import Step
from rino.compilation_cache import SETTINGS
from rino.heap import keep_heap

_HOME = Path(__file__).resolve().parents[2]
BATCH = Batch(prompts=1, generations=8, prompt_tokens=16, new_tokens=8)
"""Small, since a start is no faster for it."""


def starts(scale: str) -> dict[str, float]:
    """Seconds of the first and of the second start."""
    with tempfile.TemporaryDirectory() as folder:
        model, compiled = Path(folder) / "model", Path(folder) / "compiled"
        model.mkdir()
        save(build(SCALES[scale]), model)
        environment = os.environ | SETTINGS | {"JAX_COMPILATION_CACHE_DIR": str(compiled), "PYTHONPATH": str(_HOME)}
        return {number: _start(scale, model, environment) for number in ("first", "second")}


def _start(scale: str, model: Path, environment: dict[str, str]) -> float:
    begin = time.time()
    command = [sys.executable, "-m", "rino.bench.start", scale, str(model)]
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(told.stdout)
    return float(said["first_step_done"] - begin - said["second_step"])


def main() -> None:
    """Two steps, and when the first was done."""
    keep_heap(os.environ)
    scale = dataclasses.replace(SCALES[sys.argv[1]], step=BATCH, micro_batch=0)
    model, _ = load(sys.argv[2], dtype=jnp.dtype(scale.dtype), remat=scale.remat)
    step = Step(model, scale)
    step.turn()
    done = time.time()
    print(json.dumps({"first_step_done": done, "second_step": step.turn()["seconds"]}))


if __name__ == "__main__":
    main()
