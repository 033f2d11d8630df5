"""What c(p) does not say: the noise of a rule, the rate at which it learns, and what an optimiser makes of it."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory.check.claims import fitted
from mdp_theory.check.curves import TRAINABLE_HORIZON, TRAINABLE_PREFIXES
from mdp_theory.exact import noise, population, rates, rollout_trees
from mdp_theory.exact.dynamics import Run, exact_runs
from mdp_theory.exact.groups import count_compositions
from mdp_theory.exact.optimisers import SGD, Optimiser
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from rino_base.messages import InputError

RULES = ("reinforce", "rloo", "grpo", "mean-positive", "f-isft-pm-adv")
"""Rules of T5 whose c(p) differ in form; the catalogue's others share one of these, or mix them."""

OPTIMISED = ("reinforce", "f-isft-pm", "grpo", "mean-positive", "f-isft-neg-adv")
"""The second is twice the first in expectation: what an optimiser makes of a constant."""

MAX_RESPONSES = 300_000
"""Problems up to this size have their noise computed here; larger ones would make the report slow, not wrong."""

MAX_GROUP, MAX_COMPOSITIONS = 512, 50_000
"""The same of groups, and of the ways to spread one over the reward levels."""

STARTS = (0.1, 0.01, 0.001)
TARGET = 0.9
EASY, HARD = 0.5, 0.02
OVERLAPS = (-0.9, -0.5, 0.0, 0.5)
GROUP_SIZES = (2, 4, 8, 16, 32, 64)
SGD_RATE = 2.0
ADAM_RATE = 0.05
"""Learning rates at which a few hundred steps show whole curves on the zoo."""


def noise_record(mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int) -> dict[str, Any] | None:
    """The noise of one group's gradient by method, without lengths and as catalogued, and of trees of rollouts.

    `scale` is ρ, the number of groups of a prompt on which noise and signal are equal; None where there is no signal,
    and of a method that averages over all tokens of a group. None for a problem or groups that are too large, or
    whose rewards have noise.
    """
    many = count_compositions(num_generations, len(mdp.reward_levels)) > MAX_COMPOSITIONS
    if mdp.num_responses > MAX_RESPONSES or mdp.noise or many or num_generations > MAX_GROUP:
        return None
    plain = noise.score_moments(mdp, logits, np.ones(mdp.horizon))
    shared = noise.score_moments(mdp, logits, 1 / np.arange(1.0, mdp.horizon + 1))
    methods: dict[str, Any] = {}
    for key, method in METHODS.items():
        objective = fitted(method.objective, mdp)
        if objective.advantage.estimator != "outcome" or objective.kl is not None or method.static:
            continue
        bare = population.without_length(objective)
        divided = objective.aggregation == "sequence-mean-token-mean"
        try:
            without = noise.group_noise(bare, mdp, logits, num_generations=num_generations, scores=plain)
            whole = without
            if divided:
                whole = noise.group_noise(objective, mdp, logits, num_generations=num_generations, scores=shared)
        except InputError:  # Too many reward levels for so large a group.
            continue
        methods[key] = {
            "scale_without_length": _finite(without.scale),
            "outcome_share": _finite(without.outcome / np.where(without.trace > 0, without.trace, np.nan)),
            "scale": None if objective.aggregation == "token-mean" else _finite(whole.scale),
            "prompts_without_length": _finite(np.array([noise.batch_noise(without, mdp, prompts=1)["scale"]]))[0],
        }
    return {
        "methods": methods,
        "rollouts": [] if mdp.moves is not None else _rollouts(mdp, logits, num_generations=num_generations),
        "floor": floor_record(num_generations),
    }


def _rollouts(mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int) -> list[dict[str, Any]]:
    """Flat groups, trees and VinePPO by the tokens that they need for a squared relative error of 1.

    "4, split after 2" are four responses of which each branches in two after two tokens.
    """
    half = max(num_generations // 2, 2)
    trees: dict[str, dict[int, int]] = {f"flat group of {num_generations}": {0: num_generations}}
    for depth in range(1, min(mdp.horizon, 4)):
        trees[f"{half}, split after {depth}"] = {0: half, depth: 2}
    if mdp.horizon > 1:
        trees["two at every token"] = dict.fromkeys(range(mdp.horizon), 2)
    found = [(name, rollout_trees.branching(mdp, logits, branches)) for name, branches in trees.items()]
    found += [(f"VinePPO, K = {count}", rollout_trees.vine(mdp, logits, rollouts=count)) for count in (1, 2, 4, 8)]
    return [
        {
            "name": name,
            "tokens": one.tokens.tolist(),
            "relative_noise": _finite(one.trace / np.where(one.signal > 0, one.signal, np.nan)),
            "tokens_for_unit_noise": _finite(one.tokens_for_unit_noise),
        }
        for name, one in found
    ]


def floor_record(num_generations: int, points: int = 49) -> dict[str, Any]:
    """ρ that no model is below, against p up to ½ for every rule, and of RLOO in samples against the group size."""
    p = np.arange(1, points + 1) / (2 * points)

    def floor(key: str, size: int) -> list[float | None]:
        return _finite(noise.noise_scale(METHODS[key].objective, p, num_generations=size))

    return {
        "p": p.tolist(),
        "num_generations": num_generations,
        "methods": {key: floor(key, num_generations) for key in RULES},
        "samples_by_size": {
            str(size): [None if x is None else x * size for x in floor("rloo", size)] for size in GROUP_SIZES
        },
    }


def rates_record(num_generations: int, points: int = 121) -> dict[str, Any]:
    """Times to learn one prompt, success against time, and two prompts under one flow.

    Of a table with many responses (κ = 1); RLOO is REINFORCE here. Times of paths are divided by the rule's own time
    from the first start to the target, so that a learning rate is no difference.
    """
    methods: dict[str, Any] = {}
    coefficients = {key: rates.of_method(METHODS[key].objective, num_generations) for key in RULES if key != "rloo"}
    for key, c in coefficients.items():
        unit = rates.time_between(c, STARTS[0], TARGET)
        times = np.linspace(0, 12, points)
        methods[key] = {
            "times": [rates.time_between(c, start, TARGET) for start in STARTS],
            "relative_time": times.tolist(),
            "hard": rates.path(c, STARTS[1], times * unit).tolist(),
            "easy": rates.path(c, STARTS[0], times * unit).tolist(),
            "competition": [_competition(c, overlap) for overlap in OVERLAPS],
        }
    limits = {name: [rates.limit_time(flow, start, TARGET) for start in STARTS] for name, flow in rates.LIMITS.items()}
    return {
        "num_generations": num_generations,
        "starts": list(STARTS),
        "target": TARGET,
        "methods": methods,
        "limits": limits,
        "competition": {"easy": EASY, "hard": HARD, "overlaps": list(OVERLAPS)},
    }


def _competition(c: rates.Coefficient, overlap: float) -> dict[str, Any]:
    found = rates.compete(c, EASY, HARD, overlap=overlap)
    return {"learned": found.learned, "cost": found.cost}


def optimiser_record(
    mdp: TokenMDP,
    logits: EdgeLevels,
    optimiser: Optimiser,
    *,
    num_generations: int,
    steps: int,
    learning_rate: float | None,
) -> dict[str, Any] | None:
    """Exact training under an optimiser beside plain gradient ascent, without lengths; None where it would be slow.

    `spread` is the largest difference in success between two rules at one step, `constant_factor` that between
    REINFORCE and its double.
    """
    if mdp.num_prefixes > TRAINABLE_PREFIXES or mdp.horizon > TRAINABLE_HORIZON or mdp.noise:
        return None
    adaptive = optimiser.kind in ("adam", "adamw")
    rate = learning_rate or (ADAM_RATE if adaptive else SGD_RATE)
    name = "sgd, as asked for" if optimiser.kind == "sgd" else optimiser.kind
    used = {"sgd": (SGD, SGD_RATE), name: (optimiser, rate)}
    runs = [
        Run(population.without_length(fitted(METHODS[key].objective, mdp)), its_rate, optimiser=one)
        for one, its_rate in used.values()
        for key in OPTIMISED
    ]
    curves, _ = exact_runs(runs, mdp, logits, steps=steps, num_generations=num_generations)
    success = curves.success.reshape(len(used), len(OPTIMISED), -1)
    entropy = curves.entropy.reshape(success.shape)
    return {
        "steps": steps,
        "runs": {
            name: {
                "learning_rate": its_rate,
                "max_grad_norm": one.max_grad_norm,
                "weight_decay": one.weight_decay,
                "spread": float(np.ptp(values, axis=0).max()),
                "constant_factor": float(np.abs(values[0] - values[1]).max()),
                "methods": {
                    key: {"success": curve.tolist(), "entropy": other.tolist()}
                    for key, curve, other in zip(OPTIMISED, values, its_entropy, strict=True)
                },
            }
            for (name, (one, its_rate)), values, its_entropy in zip(used.items(), success, entropy, strict=True)
        },
    }


def samples_record(
    keys: Iterable[str], p: float, sizes: Iterable[int], *, progress: float, score_noise: float, target: float
) -> list[dict[str, Any]]:
    """How many samples a step at success probability p needs, and how long it takes to learn, by rule and group size.

    `groups` are of this prompt; a step on them makes the share `progress` of the progress that it would make without
    noise. `time` is that of the flow from p to the target in learning rates, κ = 1.
    """
    rows = []
    for key in keys:
        objective = METHODS[key].objective
        for size in sizes:
            point = np.array([p])
            moments = noise.moments(objective, point, num_generations=size)
            scale = noise.noise_scale(objective, point, num_generations=size, score_noise=score_noise)[0]
            groups = float(noise.groups_needed(float(scale), progress))
            finite = math.isfinite(groups)
            rows.append(
                {
                    "method": key,
                    "num_generations": size,
                    "c": float(moments.coefficient[0]),
                    "silent_groups": float(moments.silent[0]),
                    "noise_scale": float(scale) if finite else None,
                    "groups": max(1, math.ceil(groups)) if finite else None,
                    "samples": max(1, math.ceil(groups)) * size if finite else None,
                    "time": rates.time_between(rates.of_method(objective, size), p, target) if p < target else None,
                }
            )
    return rows


def _finite(values: Float[np.ndarray, " prompts"]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
