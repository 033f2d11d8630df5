"""How far a problem and a method are from the degenerate form: outcome-weighted supervised fine-tuning on a bandit.

Three kinds of evidence: the structure of the problem (histories per state, rewards before the end, randomness), exact
population gradients, and gradients of the losses themselves on a probe batch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory import population, tree
from mdp_theory.catalogue import METHODS
from mdp_theory.mdp import TokenMDP, flatten
from mdp_theory.objectives import Objective
from mdp_theory.probe import Probe, batch, compare, draw_probe, inner_step_curve
from mdp_theory.tree import EdgeLevels

PARALLEL = 1e-9
"""A gradient whose part off ∇p is below this, relative to its norm, counts as parallel to ∇p (rounding: 1e-14)."""

IDENTITY = 1e-12
"""Relative tolerance of the identities."""

INNER_STEP_METHODS = ("grpo", "dapo", "gspo", "cispo", "f-isft-pm-adv", "f-isft-pm")
"""Methods whose curves against inner steps are reported: the last one has no ratio, and so no drift."""


def assumptions(mdp: TokenMDP) -> dict[str, dict[str, Any]]:
    """Which assumptions of the degeneracy claim hold, and on what evidence."""
    inside = max(float(np.abs(r[..., ~mdp.ends(d)]).max(initial=0.0)) for d, r in enumerate(mdp.rewards))
    return {
        "A1_states_are_histories": {
            "holds": True,
            "evidence": f"{mdp.num_prefixes} states, {mdp.num_prefixes} histories: each state has one history",
        },
        "A2_terminal_reward": {"holds": inside == 0, "evidence": f"largest reward before the end: {inside:g}"},
        "undiscounted": {"holds": True, "evidence": "discount 1"},
        "deterministic": {"holds": True, "evidence": "the next state is the prefix and the token"},
    }


def bandit_reduction(mdp: TokenMDP, logits: EdgeLevels) -> dict[str, Any]:
    """The value and the gradient as a sequential problem and as a bandit over whole responses (theorem T1)."""
    probability = tree.policy(logits)
    action, state = tree.expectation(probability, mdp.rewards)
    sequential = tree.logit_gradient(probability, action)
    chance, reward = flatten(tree.response_probability(probability)), mdp.response_rewards
    value = (chance * reward).sum(axis=1)
    arm = [weight * r for weight, r in zip(tree.response_probability(probability), mdp.rewards, strict=True)]
    as_bandit = _score_sum(probability, tuple(arm))
    best = [_best(mdp.rewards, x) for x in range(len(mdp.prompts))]
    gap = tree.inner(*[tuple(a - b for a, b in zip(sequential, as_bandit, strict=True))] * 2)
    norm = tree.inner(sequential, sequential)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(np.where(norm > 0, gap / norm, 0.0))
    return {
        "value_sequential": state[0][:, 0].tolist(),
        "value_bandit": value.tolist(),
        "gradient_relative_error": error.tolist(),
        "closed_loop_value": best,
        "open_loop_value": reward.max(axis=1).tolist(),
    }


def method_report(
    objective: Objective, mdp: TokenMDP, logits: EdgeLevels, probe: Probe, *, num_generations: int
) -> dict[str, Any]:
    """c(p) and Φ(p) of each prompt, with and without the length, and the comparison on the probe batch.

    c is null where the expected gradient is not parallel to ∇p, and Φ with it.
    """
    objective = fitted(objective, mdp)
    slope, p = population.success_gradient(mdp, logits), population.success_probability(mdp, logits)
    phi: list[float | None] = [None] * len(p)
    if objective.advantage.estimator == "outcome":
        phi = population.effective_objective(objective, p, num_generations=num_generations).tolist()
    record: dict[str, Any] = {}
    for suffix, rule in (("", objective), ("_without_length", population.without_length(objective))):
        gradient = population.expected_gradient(
            rule, mdp, logits, num_generations=num_generations, ref_logits=probe.ref_logits
        )
        found = population.direction(gradient, slope)
        kept = (found.residual <= PARALLEL) & (tree.inner(slope, slope) > 0)
        record[f"c{suffix}"] = [float(c) if k else None for c, k in zip(found.coefficient, kept, strict=True)]
        record[f"phi{suffix}"] = [value if k else None for value, k in zip(phi, kept, strict=True)]
        record[f"off_direction{suffix}"] = found.residual.tolist()
    return record | compare(objective, batch(probe, logits, logits), probe.drawn, logits).numbers()


def fitted(objective: Objective, mdp: TokenMDP) -> Objective:
    """The objective with the horizon as its limit on completion length, where it has one."""
    if objective.aggregation == "sequence-mean-token-sum-norm":
        return replace(objective, max_completion_length=mdp.horizon)
    return objective


def report(
    mdp: TokenMDP,
    logits: EdgeLevels,
    *,
    num_generations: int,
    policy: str = "",
    inner_steps: int = 8,
    learning_rate: float = 1.0,
    seed: int = 0,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, Any]:
    """Everything `rino check` writes, ready for JSON; the fields are documented in docs/json.md."""
    probe = draw_probe(mdp, logits, num_generations=num_generations, seed=seed)
    p = population.success_probability(mdp, logits)
    methods = {
        key: method_report(METHODS[key].objective, mdp, logits, probe, num_generations=num_generations)
        for key in progress(tuple(METHODS))
    }
    curves = {
        key: inner_step_curve(METHODS[key].objective, probe, logits, steps=inner_steps, learning_rate=learning_rate)
        for key in INNER_STEP_METHODS
    }
    bandit = bandit_reduction(mdp, logits)
    checks = _checks(mdp, bandit, methods)
    return {
        "problem": mdp.name,
        "policy": policy,
        "num_generations": num_generations,
        "seed": seed,
        "responses": mdp.num_responses,
        "prefixes": mdp.num_prefixes,
        "reward_levels": mdp.reward_levels.tolist(),
        "prompts": [
            {"text": text, "p": float(q), "probability": float(chance)}
            for text, q, chance in zip(mdp.prompts, p, mdp.prompt_probability, strict=True)
        ],
        "assumptions": assumptions(mdp),
        "bandit": bandit,
        "methods": methods,
        "inner_steps": {"learning_rate": learning_rate, "methods": curves},
        "curves": coefficient_curves(num_generations),
        "tree": drawing(mdp, logits),
        "checks": checks,
        "verified": all(check["holds"] for check in checks),
    }


def coefficient_curves(num_generations: int, points: int = 99) -> dict[str, Any]:
    """c(p) and Φ(p) of every on-policy method with outcome advantages, and of GRPO at several group sizes."""
    p = np.arange(1, points + 1) / (points + 1)
    methods = {}
    for key, method in METHODS.items():
        if method.objective.advantage.estimator == "outcome" and not method.static:
            methods[key] = _curve(method.objective, p, num_generations)
    grpo = METHODS["grpo"].objective
    sizes = {str(size): _curve(grpo, p, size) for size in (2, 4, 8, 16, 64)}
    limit = {"c": (1 / np.sqrt(p * (1 - p))).tolist(), "phi": (2 * np.arcsin(np.sqrt(p))).tolist()}
    return {
        "p": p.tolist(),
        "num_generations": num_generations,
        "methods": methods,
        "grpo": sizes | {"infinity": limit},
    }


def drawing(mdp: TokenMDP, logits: EdgeLevels, *, max_nodes: int = 64) -> dict[str, Any] | None:
    """The first prompt's tree, for a figure: every node with its parent and probability; None if it is too large."""
    nodes = [{"id": 0, "parent": None, "token": None, "depth": 0, "probability": 1.0, "reward": None}]
    parents = [0]
    if 1 + sum(level[0].size for level in mdp.rewards) > max_nodes:
        return None
    reach = tree.visits(tree.policy(logits))
    for depth, chosen in enumerate(tree.policy(logits)):
        children = []
        for prefix, parent in enumerate(parents):
            for token, ends in enumerate(mdp.ends(depth)):
                if not ends:
                    children.append(len(nodes))
                nodes.append(
                    {
                        "id": len(nodes),
                        "parent": parent,
                        "token": mdp.vocabulary[token],
                        "depth": depth + 1,
                        "probability": float(reach[depth][0, prefix] * chosen[0, prefix, token]),
                        "reward": float(mdp.rewards[depth][0, prefix, token]) if ends else None,
                    }
                )
        parents = children
    return {"prompt": mdp.prompts[0], "nodes": nodes}


def _curve(objective: Objective, p: Float[np.ndarray, " points"], num_generations: int) -> dict[str, list[float]]:
    return {
        "c": population.coefficient(objective, p, num_generations=num_generations).tolist(),
        "phi": population.effective_objective(objective, p, num_generations=num_generations).tolist(),
    }


def _checks(mdp: TokenMDP, bandit: Mapping[str, Any], methods: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The identities that A1, A2, γ = 1 and determinism promise, each with its measured error."""
    scale = max(1.0, float(np.abs(mdp.reward_levels).max()))

    def difference(left: str, right: str) -> float:
        return float(np.abs(np.subtract(bandit[left], bandit[right])).max()) / scale

    found = [
        ("the value equals the bandit's", difference("value_sequential", "value_bandit")),
        ("the gradient equals the bandit's", max(bandit["gradient_relative_error"])),
        ("the best plan is worth the best policy", difference("open_loop_value", "closed_loop_value")),
    ]
    for key, record in methods.items():
        objective = METHODS[key].objective
        if objective.kl is None and objective.advantage.estimator == "outcome" and record["cosine"] is not None:
            error = max(record["relative_error"], record["credit_structure_index"])
            found.append((f"{key}: on-policy gradient equals outcome-weighted SFT", error))
    return [{"name": name, "error": error, "tolerance": IDENTITY, "holds": error <= IDENTITY} for name, error in found]


def _score_sum(probability: EdgeLevels, terminal: EdgeLevels) -> EdgeLevels:
    """Σ_y f(y) ∇ log π(y) by adding up the responses below every edge: no values, no recursion on rewards."""
    below: list[Any] = list(terminal)
    for depth in reversed(range(len(terminal) - 1)):
        inside = below[depth + 1].sum(axis=-1).reshape(*below[depth].shape[:2], -1)
        below[depth] = np.concatenate([inside, below[depth][..., -1:]], axis=-1)
    return tuple(b - p * b.sum(axis=-1, keepdims=True) for b, p in zip(below, probability, strict=True))


def _best(rewards: EdgeLevels, prompt: int) -> float:
    """The optimal value by backward induction over states."""
    value: Any = None
    for depth in reversed(range(len(rewards))):
        action = rewards[depth][prompt]
        if value is not None:
            action = np.concatenate([value.reshape(len(action), -1), action[:, -1:]], axis=1)
        value = action.max(axis=1)
    return float(value[0])
