"""`rino pretrain`: make the small model from scratch.

What makes it is imported when it runs, so that `--help` is there at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rino_base.files import write_json
from rino_base.messages import print_table


def pretrain(
    directory: Path,
    /,
    *,
    steps: int = 1200,
    batch_size: int = 64,
    learning_rate: float = 6e-3,
    seed: int = 0,
    hidden_size: int = 64,
    num_layers: int = 2,
    num_heads: int = 4,
    intermediate_size: int = 128,
    luck: float = 0.45,
    resign: float = 0.2,
    max_attempts: int = 3,
    eval_prompts: int = 512,
    config: Path | None = None,
    json: Path | None = None,
) -> int:
    """Make a small Countdown model from scratch, about two minutes on two CPU cores.

    The result is a Hugging Face directory (Qwen2 architecture, its own tokenizer) for `rino train --model DIRECTORY`.

    Args:
        directory: where the model is written; it may not hold a model yet.
        steps: optimiser steps; each sees new traces. More steps make a better model.
        batch_size: traces per step.
        learning_rate: of AdamW at its peak; it warms up, then falls along a cosine to a twentieth.
        seed: decides the initial weights and the traces.
        hidden_size: width of the model.
        num_layers: layers of the model.
        num_heads: query heads; half as many key-value heads.
        intermediate_size: width inside the MLP.
        luck: chance that an attempt of a trace is a solution.
        resign: chance that a trace answers with an attempt that failed, instead of trying again.
        max_attempts: after this many a trace resigns for certain.
        eval_prompts: held-out problems to evaluate on, 8 samples and one greedy completion each.
        config: options from a TOML or YAML file; what the command line says wins.
        json: write what is known of the model here: options, losses, evaluation.
    """
    options = {name: value for name, value in locals().items() if name not in ("directory", "config", "json")}
    from llm_exps.pretrain import make

    record = make(directory, options)
    if json:
        write_json(json, record)
    _show(directory, record)
    return 0


def _show(directory: Path, record: Mapping[str, Any]) -> None:
    rows = [
        ("parameters", record["parameters"]),
        ("seconds of training", record["seconds"]),
        ("loss, nats", record["losses"][-1]["loss"]),
    ]
    shown = ("pass@1", "pass@8", "accuracy_strict", "mean_length", "correct_mean_length", "incorrect_mean_length")
    rows += [(name, record["evaluation"][f"eval/{name}"]) for name in shown]
    print_table(f"{directory}: held-out Countdown problems, temperature 1", ("quantity", "value"), rows)
