"""Curves of `rino check` that need no sampled batch: c(p) and Φ(p), exact training, and the tree for its drawing."""

from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory.check.claims import fitted
from mdp_theory.exact import population
from mdp_theory.exact.dynamics import Metrics, Run, exact_run
from mdp_theory.exact.groups import count_compositions
from mdp_theory.exact.rules import FEW_COMPOSITIONS, outcome_table, rule_of
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Objective
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels

GROUP_SIZES = (2, 4, 8, 16, 64)
LEVEL_GROUPS = (2, 4, 8, 16, 64)
LEVEL_NOISE = (0.0, 0.2)
REFRESH_EVERY = (1, 4, 16, None)
TRAINED_METHODS = ("grpo", "dr-grpo", "rloo", "maxrl", "f-isft-pos", "f-isft-neg", "f-isft-pm", "f-isft-pm-adv")
TRAINABLE_PREFIXES = 2_000
TRAINABLE_HORIZON = 12
"""Problems up to this size are also trained on; larger ones would make the report slow, not wrong."""


def coefficient_curves(num_generations: int, points: int = 99) -> dict[str, Any]:
    """c(p) and Φ(p) of every on-policy method with outcome advantages, and of GRPO at several group sizes."""
    p = np.arange(1, points + 1) / (points + 1)
    methods = {
        key: _curve(method.objective, p, num_generations)
        for key, method in METHODS.items()
        if method.objective.advantage.of_outcomes_alone and not method.static
    }
    sizes = {str(size): _curve(METHODS["grpo"].objective, p, size) for size in GROUP_SIZES}
    limit = {"c": (1 / np.sqrt(p * (1 - p))).tolist(), "phi": (2 * np.arcsin(np.sqrt(p))).tolist()}
    return {
        "p": p.tolist(),
        "num_generations": num_generations,
        "methods": methods,
        "grpo": sizes | {"infinity": limit},
    }


def level_curves() -> dict[str, Any]:
    """What GRPO makes of eleven reward levels: the expected advantage of each, by group size, with noise and without.

    The levels are tenths, the likelier the lower; `infinity` is the standardised reward, which large groups tend to.
    """
    levels = np.arange(11) / 10
    chance = 0.7 ** np.arange(11)
    chance = chance / chance.sum()
    objective = population.without_length(METHODS["grpo"].objective)

    def advantage(size: int, noise: float) -> list[float]:
        rule = rule_of(objective, levels, 1, num_generations=size, apart=False, noise=noise)
        return outcome_table(rule, chance[None, :, None], num_generations=size).weight[0, :, 0].tolist()

    mean = chance @ levels
    spread = chance @ (levels - mean) ** 2
    limits = {str(noise): ((levels - mean) / np.sqrt(spread + noise**2)).tolist() for noise in LEVEL_NOISE}
    return {
        "levels": levels.tolist(),
        "probability": chance.tolist(),
        "noise": list(LEVEL_NOISE),
        "advantage": {
            str(noise): {str(size): advantage(size, noise) for size in LEVEL_GROUPS} | {"infinity": limits[str(noise)]}
            for noise in LEVEL_NOISE
        },
    }


def training_curves(
    mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int, steps: int = 100, learning_rate: float = 2.0
) -> dict[str, Any] | None:
    """Exact training on-policy, by method; None for a problem that is too large to be trained on here."""
    if not _trainable(mdp, num_generations):
        return None
    methods = {}
    for key in TRAINED_METHODS:
        run = Run(fitted(METHODS[key].objective, mdp), learning_rate)
        found, _ = exact_run(run, mdp, logits, steps=steps, num_generations=num_generations)
        methods[key] = {name: column.tolist() for name, column in zip(Metrics._fields, found, strict=True)}
    return {"learning_rate": learning_rate, "methods": methods}


def staleness_curves(
    mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int, steps: int = 100, learning_rate: float = 4.0
) -> dict[str, Any] | None:
    """Exact training from one policy with samples refreshed every n steps, n = never being supervised fine-tuning.

    None for a problem that is too large to be trained on here.
    """
    if not _trainable(mdp, num_generations):
        return None
    methods = {}
    for key in ("grpo", "raft", "f-isft-pm-adv"):
        runs = [Run(fitted(METHODS[key].objective, mdp), learning_rate, every or steps + 1) for every in REFRESH_EVERY]
        found = [exact_run(run, mdp, logits, steps=steps, num_generations=num_generations)[0] for run in runs]
        methods[key] = {name: [getattr(curve, name).tolist() for curve in found] for name in Metrics._fields}
    return {"learning_rate": learning_rate, "refresh_every": list(REFRESH_EVERY), "methods": methods}


def _trainable(mdp: TokenMDP, num_generations: int) -> bool:
    few = count_compositions(num_generations, len(mdp.reward_levels)) <= FEW_COMPOSITIONS
    return few and mdp.num_prefixes <= TRAINABLE_PREFIXES and mdp.horizon <= TRAINABLE_HORIZON and not mdp.noise


def drawing(mdp: TokenMDP, logits: EdgeLevels, *, max_nodes: int = 64) -> dict[str, Any] | None:
    """The first prompt's tree, for a figure: every node with its parent and probability; None if it is too large."""
    if mdp.moves is not None or 1 + sum(level[0].size for level in mdp.rewards) > max_nodes:
        return None
    nodes: list[dict[str, Any]] = [
        {"id": 0, "parent": None, "token": None, "depth": 0, "probability": 1.0, "reward": None}
    ]
    parents = [0]
    probability = tree.policy(logits)
    for depth, (reach, chosen) in enumerate(zip(tree.visits(probability), probability, strict=True)):
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
                        "probability": float(reach[0, prefix] * chosen[0, prefix, token]),
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
