"""Small, deterministic result directories in the layout of the run contract, with known numbers in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TITLES = {
    "grpo": "GRPO",
    "f-isft-pm": "F-ISFT±",
    "f-isft-pos": "F-ISFT⁺",
    "f-isft-neg": "F-ISFT⁻",
    "reinforce": "REINFORCE",
}
STEPS, EVERY, PROMPTS = 40, 10, 64


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One object a line."""
    path.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def make_run(
    path: Path,
    *,
    method: str = "grpo",
    seed: int = 0,
    final: float = 0.5,
    length: float = 12.0,
    model: str = "models/tiny",
    task: str = "countdown-small",
    probe: bool = True,
    **settings: Any,
) -> Path:
    """A run that climbs from 0.25 to about `final`; seeds differ by noise of 0.01."""
    path.mkdir(parents=True)
    noise = np.random.default_rng([seed, *method.encode()])
    config = {
        "method": method,
        "title": TITLES[method],
        "objective": {
            "aggregation": "sequence-mean-token-mean",
            "clip": {"low": 0.2, "high": 0.2, "dual": None},
            "kl": None,
        },
        "seed": seed,
        "model": model,
        "task": task,
        "learning_rate": 3e-4,
        "steps": STEPS,
        "num_generations": 8,
        "num_prompts": 16,
        "refresh_every": 1,
        "num_iterations": 1,
        "eval_prompts": PROMPTS,
        "versions": {"jax": "0.10.2"},
        "hardware": "cpu",
        **settings,
    }
    (path / "config.json").write_text(json.dumps(config))
    shift = noise.normal(0, 0.01)
    metrics, evaluations = [], []
    for step in range(1, STEPS + 1):
        done = 1 - np.exp(-4 * step / STEPS)
        p = 0.25 + (final - 0.25) * done + shift
        tokens = length * (1 + 0.4 * done) + noise.normal(0, 0.2)
        row = {
            "step": step,
            "reward": p + noise.normal(0, 0.02),
            "reward_std": 0.3,
            "frac_reward_zero_std": 0.2 * done,
            "completions/mean_length": tokens,
            "completions/correct_mean_length": tokens - 1,
            "completions/incorrect_mean_length": tokens + 2 * done,
            "completions/clipped_ratio": 0.01,
            "entropy": 1.2 * np.exp(-done),
            "kl": None,
            "grad_norm": 0.5,
            "loss": 0.0,
            "learning_rate": 3e-4,
            "num_tokens": 128 * 12 * step,
        }
        if probe and step % 5 == 0:
            row |= {
                "equivalence/cosine": 1 - 0.05 * done - abs(noise.normal(0, 0.005)),
                "equivalence/relative_error": 0.3 * done + abs(noise.normal(0, 0.01)),
                "equivalence/credit_structure_index": 0.02 * done + abs(noise.normal(0, 0.001)),
            }
        metrics.append(row)
    for step in range(0, STEPS + 1, EVERY):
        done = (1 - np.exp(-4 * step / STEPS)) if step else 0.0
        p = 0.25 + (final - 0.25) * done + (shift if step else 0.0)
        evaluations.append(
            {
                "step": step,
                "eval/accuracy_strict": p,
                "eval/accuracy_flexible": p + 0.01,
                "eval/reward": p,
                **{f"eval/pass@{k}": 1 - (1 - p * (1 - 0.1 * done)) ** (k**0.6) for k in (1, 2, 4, 8)},
                "eval/mean_length": length * (1 + 0.4 * done),
                "eval/correct_mean_length": length * (1 + 0.3 * done),
                "eval/incorrect_mean_length": length * (1 + 0.6 * done),
                "eval/entropy": 1.2 * np.exp(-done),
                "eval/prompts": PROMPTS,
                "eval/samples": 8,
                "eval/greedy_correct": (np.arange(PROMPTS) < round(p * PROMPTS)).astype(int).tolist(),
                "eval/correct_counts": noise.binomial(8, np.clip(p, 0, 1), PROMPTS).tolist(),
            }
        )
    write_lines(path / "metrics.jsonl", metrics)
    write_lines(path / "eval.jsonl", evaluations)
    write_lines(path / "timing.jsonl", [{"step": 1, "step_time": 0.1}])
    write_lines(path / "samples.jsonl", make_samples(method))
    return path


def make_samples(method: str) -> list[dict[str, Any]]:
    """The four responses to one prompt that every method sampled before its first update, and one later response."""
    prompt = "3 5 2 = 17 :"
    responses = [
        ("3 * 5 + 2 <eos>", 1.0),
        ("3 + 5 + 2 = 10 , 3 * 2 + 5 = 11 , 3 * 5 + 2 <eos>", 1.0),
        ("3 + 5 * 2 = 13 , 5 - 3 - 2 <eos>", 0.0),
        ("3 + 5 <eos>", 0.0),
    ]
    rows = []
    for completion, reward in responses:
        tokens = completion.split()
        advantage = {"grpo": 1.0, "f-isft-pm": 1.0, "f-isft-pos": 1.0, "f-isft-neg": 0.0, "reinforce": 1.0}[method]
        if not reward:
            advantage = {"grpo": -1.0, "f-isft-pm": -1.0, "f-isft-pos": 0.0, "f-isft-neg": -1.0, "reinforce": 0.0}[
                method
            ]
        rows.append(
            {
                "step": 0,
                "prompt": prompt,
                "completion": completion,
                "tokens": tokens,
                "reward": reward,
                "advantage": advantage,
                "weights": [advantage / len(tokens) / (16 * 8)] * len(tokens),
            }
        )
    return [*rows, rows[0] | {"step": 40, "prompt": "later"}]


def make_results(directory: Path, *, seeds: int = 3, finals: Mapping[str, float] | None = None) -> Path:
    """Runs of several methods in the layout of `rino compare`."""
    for method, final in (finals or {"grpo": 0.5, "f-isft-pm": 0.5, "f-isft-pos": 0.42, "f-isft-neg": 0.1}).items():
        for seed in range(seeds):
            make_run(directory / "runs" / method / f"seed-{seed}", method=method, seed=seed, final=final)
    return directory
