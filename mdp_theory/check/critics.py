"""What a learned critic does to the gradient on one problem, and where it beats group baselines: for the report."""

from typing import Any

import numpy as np

from mdp_theory.exact.process import BreakEven, break_even, estimate
from mdp_theory.exact.values import MAX_FITTED, critic_values, fitted_values
from mdp_theory.problems import graph
from mdp_theory.problems.controls import running_sum
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels

DECAYS = (0.0, 0.5, 0.9, 0.95, 1.0)
ERRORS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
GROUP_SIZES = (2, 4, 8, 16, 64)
FITTED_TO = (4, 16, 64, 256, 1024)
FITS = 8
"""Critics of each number of responses, over which their errors are averaged."""

HORIZONS = (4, 8, 16, 32, 64)
MAX_ENTRIES = 500_000
"""Logits of problems that this section is computed for: several critics at once are kept in memory."""


def learned_critic(mdp: TokenMDP, logits: EdgeLevels, *, critic: str) -> dict[str, Any] | None:
    """Bias and variance of one response's gradient by λ, for the given critic, and for critics of every error.

    All is relative to ‖∇J‖² and averaged over prompts by their probabilities. None for large problems, for rewards
    with noise, and where ∇J is 0.
    """
    responses = FITTED_TO[-1] * len(mdp.prompts) * mdp.horizon
    if mdp.noise or sum(level.size for level in mdp.rewards) > MAX_ENTRIES or responses > MAX_FITTED:
        return None
    chance, given = mdp.prompt_probability, critic_values(mdp, logits, critic)
    signal = float(chance @ estimate(mdp, logits, given, decay=1.0).signal)
    if signal == 0:
        return None

    def relative(value: Any, decay: float) -> dict[str, float]:
        found = estimate(mdp, logits, value, decay=decay)
        bias, variance = (part.reshape(-1, len(chance)).mean(axis=0) for part in (found.bias, found.variance))
        return {"bias": float(chance @ bias) / signal, "variance": float(chance @ variance) / signal}

    entries = break_even(mdp, logits, decays=DECAYS, group_sizes=GROUP_SIZES)
    fitted = [_side_by_side(mdp, logits, count) for count in FITTED_TO]
    return {
        "critic": critic,
        "gae_lambda": list(DECAYS),
        "given": _columns([relative(given, decay) for decay in DECAYS]),
        "reward_to_go": relative(critic_values(mdp, logits, "zero"), 1.0)["variance"],
        "errors": list(ERRORS),
        "num_generations": list(GROUP_SIZES),
        "leave_one_out": [entries[0].groups[size] for size in GROUP_SIZES],
        "squared_error": [
            [[entry.squared_error(error, size) for size in GROUP_SIZES] for error in ERRORS] for entry in entries
        ],
        "break_even": [_errors(entry) for entry in entries],
        "fitted": {
            "responses": list(FITTED_TO),
            "by_lambda": [_columns([relative(value, decay) for value in fitted]) for decay in DECAYS],
        },
    }


def critic_map() -> dict[str, Any]:
    """The break-even error by horizon, λ and G on one family: the running sum modulo 5, ended in one of H/2 steps."""
    rows = []
    for horizon in HORIZONS:
        mdp = graph.from_control(running_sum("sum", modulus=5, horizon=horizon))
        # Both numbers are equally likely; were the end as likely as they, the horizon would rarely be met.
        odds = np.log([0.5 - 1 / horizon, 0.5 - 1 / horizon, 2 / horizon])
        logits = tuple(np.broadcast_to(odds, level.shape) for level in mdp.rewards)
        entries = break_even(mdp, logits, decays=DECAYS, group_sizes=GROUP_SIZES)
        rows.append([_errors(entry) for entry in entries])
    return {
        "problem": "running sum modulo 5; the policy ends with probability 2/H and adds 1 or 2 alike",
        "horizons": list(HORIZONS),
        "gae_lambda": list(DECAYS),
        "num_generations": list(GROUP_SIZES),
        "break_even": rows,
    }


def _side_by_side(mdp: TokenMDP, logits: EdgeLevels, responses: int) -> tuple[np.ndarray, ...]:
    """Several critics, each fitted to responses of its own, as rows."""
    found = [fitted_values(mdp, logits, responses=responses, seed=seed) for seed in range(FITS)]
    return tuple(np.concatenate(levels) for levels in zip(*found, strict=True))


def _errors(entry: BreakEven) -> list[float | None]:
    found = [entry.error(size) for size in GROUP_SIZES]
    return [error if np.isfinite(error) else None for error in found]


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
