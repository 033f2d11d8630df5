"""What longer answers are made of: how often a model tries again, before training and after it.

    python results/attempts.py RUNS... --initial MODEL [--out attempts.json]

RUNS are directories with runs in them, whose models are asked the same held-out problems. A response of the small
models is a list of attempts ("3 + 4 = 7") and an answer; an attempt has eight tokens, so their number is the length.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import jax
import numpy as np
from flax import nnx

from llm_exps.models.huggingface import load
from llm_exps.options import EvaluationOptions, RunOptions
from llm_exps.prepare import prepare_run
from llm_exps.rollout import Actor, step_key
from llm_exps.tasks.task import CORRECT
from rino_base.files import write_json
from rino_base.progress import track


def habits(prompts: Sequence[str], texts: Sequence[str], right: np.ndarray) -> dict[str, float]:
    """Attempts of wrong and of right responses; chances that an attempt hits, and that another follows it.

    Whether an attempt hits is what the response itself says: the number after its equals sign is the target.
    """
    counts, hits, follows = [], [], []
    for prompt, text in zip(prompts, texts, strict=True):
        target = re.findall(r"\d+", prompt)[-1]
        said = re.findall(r"= (\d+)", text.partition("<answer>")[0])
        counts.append(len(said))
        hits += [value == target for value in said]
        # Of a response that was cut off nobody knows what would have followed.
        follows += [(value == target, place < len(said) - 1) for place, value in enumerate(said) if "<answer>" in text]
    number, hit = np.array(counts), np.array([first for first, _ in follows])
    another = np.array([second for _, second in follows])
    return {
        "attempts_wrong": float(number[~right].mean()),
        "attempts_right": float(number[right].mean()),
        "hits": float(np.mean(hits)),
        "another_after_miss": float(another[~hit].mean()),
        "another_after_hit": float(another[hit].mean()),
    }


def main(
    *runs: Path,
    initial: str,
    prompts: int = 256,
    samples: int = 4,
    out: Annotated[Path, cyclopts.Parameter(name="--out")] = Path("attempts.json"),
) -> None:
    """Ask the initial model and every run's, and write what each does to `out`."""
    options = RunOptions(num_prompts=1, evaluation=EvaluationOptions(eval_prompts=prompts))
    setup, options = prepare_run(initial, "countdown-small", options, learns=False)
    problems = setup.task.evaluation_problems(prompts)
    asked = problems.repeat(samples)
    actor = Actor(setup.graph, setup.tokenizer, setup.stop_tokens, options.sampling)

    def ask(params: nnx.State) -> dict[str, float]:
        drawn = actor.complete(params, problems.prompts, step_key(0, 0, 1), copies=samples)
        right = np.asarray(setup.task.strict(asked.prompts, drawn.texts, **asked.columns)) >= CORRECT
        return habits(asked.prompts, drawn.texts, right)

    rows: list[dict[str, Any]] = [{"title": "before", **ask(setup.params)}]
    found = sorted(done.parent for place in runs for done in place.rglob("finished.json"))
    for run in track(found, description="models"):
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        model, _ = load(run / "model", dtype=jax.numpy.float32)
        named = {"title": config["title"], "aggregation": config["objective"]["aggregation"], "seed": config["seed"]}
        rows.append(named | ask(nnx.split(model)[1]))
    write_json(out, {"prompts": prompts, "samples": samples, "rows": rows})


if __name__ == "__main__":
    cyclopts.run(main)
