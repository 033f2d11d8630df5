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
                **{
                    f"equivalence/{layer}/{name}": value
                    for layer, value in (("norm", 0.4), ("layers.10", 0.3), ("layers.2", 0.2), ("embed_tokens", 0.1))
                    for name in ("cosine", "relative_error")
                },
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


def make_check(directory: Path, problem: str = "tiny-words", *, relative_error: float = 2e-16) -> Path:
    """A report of `rino check`: two tokens, an end token, horizon 2; `ppo` is not parallel to ∇p."""
    p = np.linspace(0.05, 0.95, 19)
    constants = {"reinforce": 1.0, "f-isft-pos": 1.0, "f-isft-pm": 2.0}
    curves = {key: {"c": np.full(19, c).tolist(), "phi": (c * p).tolist()} for key, c in constants.items()}
    curves["grpo"] = {"c": (1 / np.sqrt(p * (1 - p))).tolist(), "phi": (2 * np.arcsin(np.sqrt(p))).tolist()}
    methods = {
        key: {
            "title": TITLES[key],
            "c": [None if key == "grpo" else c],
            "c_without_length": [c],
            "phi": [None],
            "phi_without_length": [0.25 * c],
            "credit_structure_index": 0.0,
            "cosine": 1.0,
            "relative_error": relative_error,
            "clip_fraction": 0.0,
        }
        for key, c in {**constants, "grpo": float(1 / np.sqrt(0.25 * 0.75))}.items()
    }
    methods["ppo"] = methods["grpo"] | {
        "title": "PPO",
        "c_without_length": [None],
        "cosine": 0.9,
        "relative_error": 0.2,
    }
    drift = {
        "grpo": {"step": [0, 1, 2], "cosine": [1.0, 0.99, 0.7], "relative_error": [0.0, 0.05, 0.8]},
        "f-isft-pm": {"step": [0, 1, 2], "cosine": [1.0, 1.0, 1.0], "relative_error": [0.0, 0.0, 0.0]},
    }
    for curve in drift.values():
        curve |= {"credit_structure_index": curve["relative_error"], "clip_fraction": [0.0, 0.0, None]}
    nodes = [{"id": 0, "parent": None, "token": None, "depth": 0, "probability": 1.0, "reward": None}]
    for parent, tokens in ((0, ("a", "b", "<eos>")), (1, ("a", "b", "<eos>")), (2, ("a", "b", "<eos>"))):
        for token in tokens:
            depth = 1 if parent == 0 else 2
            nodes.append(
                {
                    "id": len(nodes),
                    "parent": parent,
                    "token": token,
                    "depth": depth,
                    "probability": 3.0**-depth,
                    "reward": None if depth == 1 and token != "<eos>" else float(len(nodes) == 5),
                }
            )
    report = {
        "problem": problem,
        "policy": "uniform",
        "num_generations": 8,
        "reward_levels": [0.0, 1.0],
        "prompts": [{"text": "x", "p": 0.25, "probability": 1.0}],
        "assumptions": {"A1_states_are_histories": {"holds": True, "evidence": "3 states, 3 histories"}},
        "methods": methods,
        "bandit": {"open_loop_value": [1.0], "closed_loop_value": [1.0]},
        "variance": {"reward": [0.4], "baseline": [0.3], "state_baseline": [0.2], "state_advantage": [0.1]},
        "inner_steps": {"learning_rate": 1.0, "methods": drift},
        "drift": {"grpo": drift["grpo"] | {"distance": [0.0, 0.1, 1.0]}},
        "staleness": {
            "learning_rate": 4.0,
            "refresh_every": [1, None],
            "methods": {"grpo": {"success": [[0.1, 0.9], [0.1, 0.2]], "length_wrong": [[2.0, 3.0], [2.0, 2.0]]}},
        },
        "critic": {
            "responses": [4, 16],
            "relative_error": {"history": [0.6, 0.5], "state": [0.5, 0.3]},
            "exact": 0.25,
        },
        "learned_critic": {
            "critic": "exact",
            "gae_lambda": [0.0, 1.0],
            "given": {"bias": [0.1, 0.0], "variance": [2.0, 4.0]},
            "reward_to_go": 6.0,
            "errors": [0.0, 0.1, 1.0],
            "num_generations": [2, 8],
            "leave_one_out": [4.0, 1.0],
            "squared_error": [[[1.0, 0.3], [1.1, 0.4], [3.0, 2.0]], [[2.0, 0.5], [2.1, 0.6], [2.5, 1.5]]],
            "break_even": [[1.2, 0.5], [None, 0.7]],
            "fitted": {"responses": [4, 16], "by_lambda": [{"bias": [0.5, 0.1], "variance": [3.0, 2.5]}] * 2},
        },
        "critic_map": {
            "problem": "a family",
            "horizons": [4, 8],
            "gae_lambda": [0.0, 1.0],
            "num_generations": [2, 8],
            "break_even": [[[1.0, 0.5], [None, 0.6]], [[1.1, 0.5], [1.2, 0.7]]],
        },
        "level_curves": {
            "levels": [0.0, 0.5, 1.0],
            "probability": [0.5, 0.3, 0.2],
            "noise": [0.0],
            "advantage": {"0.0": {"2": [-0.5, 0.2, 0.8], "infinity": [-0.9, 0.4, 1.7]}},
        },
        "noise": {
            "floor": {
                "p": [0.1, 0.3, 0.5],
                "num_generations": 8,
                "methods": {"grpo": [1.0, 0.2, None], "rloo": [1.1, 0.3, 0.1]},
                "samples_by_size": {"2": [10.0, 5.0, 4.0], "8": [9.0, 3.0, 1.0]},
            },
            "rollouts": [
                {"name": "flat group of 8", "tokens_for_unit_noise": [40.0, 60.0]},
                {"name": "VinePPO, K = 1", "tokens_for_unit_noise": [80.0, 240.0]},
            ],
        },
        "rates": {
            "num_generations": 8,
            "starts": [0.1, 0.01],
            "target": 0.9,
            "methods": {"grpo": {"times": [6.0, 25.0], "relative_time": [0.0, 4.0], "hard": [0.01, 0.8]}},
            "limits": {"1": [13.0, 61.0], "1/√(p(1−p))": [5.3, 12.5], "1/p": [6.6, 7.9]},
        },
        "optimiser": {
            "steps": 2,
            "runs": {
                "sgd": {"learning_rate": 2.0, "methods": {"grpo": {"success": [0.1, 0.5, 0.8]}}},
                "adam": {"learning_rate": 0.05, "methods": {"grpo": {"success": [0.1, 0.4, 0.9]}}},
            },
        },
        "kl": {"k3": drift["grpo"] | {"beta": [0.0, 0.01, 0.1]}},
        "curves": {
            "p": p.tolist(),
            "num_generations": 8,
            "methods": curves,
            "grpo": {"8": curves["grpo"], "infinity": curves["grpo"]},
        },
        "tree": {"prompt": "x", "nodes": nodes},
        "checks": [{"name": "values agree", "error": 1e-16, "tolerance": 1e-12, "holds": relative_error < 1e-12}],
        "verified": relative_error < 1e-12,
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{problem}.json"
    path.write_text(json.dumps(report, allow_nan=False))
    return path


def make_proof(path: Path, *, broken: bool = False) -> Path:
    """Two theorems as `rino prove` writes them; the second fails one step if `broken`."""
    theorems = [
        {
            "id": name,
            "title": f"title of {name}",
            "statement": "a = b.",
            "verified": not (broken and name == "T4"),
            "symbolic": "group size G",
            "enumerated": "nothing",
            "steps": [{"claim": "", "verified": not (broken and name == "T4" and i == 1)} for i in range(steps)],
            "witnesses": [{"dropped": "on-policy", "numbers": "ρ = 1: 2 = 2; ρ = 2: 2 ≠ 4", "verified": True}],
            "seconds": 0.1,
        }
        for name, steps in (("T3", 6), ("T4", 3))
    ]
    path.write_text(json.dumps({"theorems": theorems}))
    return path


def make_predictions(path: Path, *, slope: float = 0.9) -> Path:
    """Eight prompts under two methods, measured on a line of this slope."""
    predicted = [0.001 * number for number in range(-2, 6)]
    rows = [
        {
            "method": method,
            "title": title,
            "horizon": "one step",
            "quantity": "success",
            "learning_rate": 1.0,
            "predicted": predicted,
            "measured": [slope * value for value in predicted],
            "correlation": 1.0,
            "slope": slope,
        }
        for method, title in (("grpo", "GRPO"), ("f-isft-pm", "F-ISFT±"))
    ]
    head = {"model": "default", "task": "countdown-small", "num_generations": 8, "responses": 512, "batches": 16}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(head | {"prompts": ["q"] * 8, "success": [0.5] * 8, "rows": rows}), encoding="utf-8")
    return path
