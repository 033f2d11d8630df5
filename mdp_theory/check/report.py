"""The report of `rino check`, as plain data for JSON; docs/json.md documents its fields."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory.check.claims import (
    assumptions,
    bandit_reduction,
    fitted,
    identities,
    method_report,
    shared_parameters,
)
from mdp_theory.check.sampled import Estimator, draw_probe, drift_curve, inner_step_curve, penalty_curve
from mdp_theory.exact import population
from mdp_theory.exact.critics import critic_curve
from mdp_theory.exact.dynamics import Metrics, Run, exact_run
from mdp_theory.exact.policy import parse
from mdp_theory.exact.variance import variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Objective
from mdp_theory.problems import tree
from mdp_theory.problems.controls import Control, unroll
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels

CURVE_METHODS = ("grpo", "dapo", "gspo", "cispo", "f-isft-pm-adv", "f-isft-pm")
"""Methods with curves against inner steps and drift. The last has no ratio, and so nothing to lose by drifting."""

DRIFTS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8)
BETAS = (0.0, 0.001, 0.01, 0.04, 0.1, 0.3, 1.0)
GROUP_SIZES = (2, 4, 8, 16, 64)
REFRESH_EVERY = (1, 4, 16, None)
CRITIC_RESPONSES = (4, 16, 64, 256, 1024)
TRAINED_METHODS = ("grpo", "dr-grpo", "rloo", "maxrl", "f-isft-pos", "f-isft-neg", "f-isft-pm", "f-isft-pm-adv")
TRAINABLE_PREFIXES = 2_000
"""Problems up to this size are also trained on; larger ones would make the report slow, not wrong."""


def report(
    problem: TokenMDP | Control,
    *,
    num_generations: int = 8,
    policy: str = "uniform",
    inner_steps: int = 8,
    learning_rate: float = 1.0,
    seed: int = 0,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> dict[str, Any]:
    """Hold the degeneracy claim against one problem.

    For a control the methods see its unrolled tree, with the undiscounted sum of rewards as the outcome; a problem with
    stochastic transitions has none, so its report stops at the optimal values.
    """
    facts = assumptions(problem)
    head = {"problem": problem.name, "policy": policy, "num_generations": num_generations, "seed": seed}
    if isinstance(problem, Control) and not problem.deterministic:
        prompts = _prompts(problem, [None] * len(problem.prompts))
        bandit = bandit_reduction(problem, None)
        return head | {"prompts": prompts, "assumptions": facts, "bandit": bandit, "methods": {}} | _verdict([])
    mdp = unroll(problem).mdp if isinstance(problem, Control) else problem
    family, policy_seed = parse(policy)
    logits = family.logits(family.init(mdp, policy_seed), mdp)
    bandit = bandit_reduction(problem, logits)
    probe = draw_probe(mdp, logits, num_generations=num_generations, seed=seed)
    size = num_generations

    def inner_steps_of(key: str) -> dict[str, Any]:
        return inner_step_curve(_objective(key, mdp), probe, logits, steps=inner_steps, learning_rate=learning_rate)

    def drift_of(key: str) -> dict[str, Any]:
        return drift_curve(_objective(key, mdp), probe, logits, distances=DRIFTS, seed=seed)

    def penalty_of(estimator: Estimator) -> dict[str, Any]:
        return penalty_curve(_objective("grpo", mdp), probe, logits, estimator=estimator, betas=BETAS)

    estimators: tuple[Estimator, ...] = ("k1", "k2", "k3")
    sections: dict[str, Callable[[], Any]] = {
        "variance": lambda: {name: total.tolist() for name, total in variances(mdp, logits).totals().items()},
        "inner_steps": lambda: {
            "learning_rate": learning_rate,
            "methods": {key: inner_steps_of(key) for key in CURVE_METHODS},
        },
        "drift": lambda: {key: drift_of(key) for key in CURVE_METHODS},
        "kl": lambda: {estimator: penalty_of(estimator) for estimator in estimators},
        "shared_parameters": lambda: shared_parameters(mdp, METHODS, num_generations=size, seed=seed),
        "training": lambda: training_curves(mdp, logits, num_generations=size),
        "staleness": lambda: staleness_curves(mdp, logits, num_generations=size),
        "critic": lambda: _critic(problem, logits),
        "curves": lambda: coefficient_curves(size),
        "tree": lambda: drawing(mdp, logits),
    }
    found: dict[str, Any] = {"methods": {}}
    for name in progress((*METHODS, *sections)):
        if name in METHODS:
            record = method_report(METHODS[name].objective, mdp, logits, probe, num_generations=size)
            found["methods"][name] = {"title": METHODS[name].title, **record}
        else:
            found[name] = sections[name]()
    binary = mdp.reward_levels.tolist() == [0.0, 1.0]
    checks = identities(facts, bandit, found["methods"], found["shared_parameters"]["methods"], binary=binary)
    return {
        **head,
        "responses": mdp.num_responses,
        "prefixes": mdp.num_prefixes,
        "reward_levels": mdp.reward_levels.tolist(),
        "prompts": _prompts(mdp, population.success_probability(mdp, logits).tolist()),
        "assumptions": facts,
        "bandit": bandit,
        **found,
        **_verdict(checks),
    }


def coefficient_curves(num_generations: int, points: int = 99) -> dict[str, Any]:
    """c(p) and Φ(p) of every on-policy method with outcome advantages, and of GRPO at several group sizes."""
    p = np.arange(1, points + 1) / (points + 1)
    methods = {
        key: _curve(method.objective, p, num_generations)
        for key, method in METHODS.items()
        if method.objective.advantage.estimator == "outcome" and not method.static
    }
    sizes = {str(size): _curve(METHODS["grpo"].objective, p, size) for size in GROUP_SIZES}
    limit = {"c": (1 / np.sqrt(p * (1 - p))).tolist(), "phi": (2 * np.arcsin(np.sqrt(p))).tolist()}
    return {
        "p": p.tolist(),
        "num_generations": num_generations,
        "methods": methods,
        "grpo": sizes | {"infinity": limit},
    }


def training_curves(
    mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int, steps: int = 100, learning_rate: float = 2.0
) -> dict[str, Any] | None:
    """Exact training on-policy, by method; None for a problem that is too large to be trained on here."""
    if mdp.num_prefixes > TRAINABLE_PREFIXES:
        return None
    methods = {}
    for key in TRAINED_METHODS:
        run = Run(_objective(key, mdp), learning_rate)
        found, _ = exact_run(run, mdp, logits, steps=steps, num_generations=num_generations)
        methods[key] = {name: column.tolist() for name, column in zip(Metrics._fields, found, strict=True)}
    return {"learning_rate": learning_rate, "methods": methods}


def staleness_curves(
    mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int, steps: int = 100, learning_rate: float = 4.0
) -> dict[str, Any] | None:
    """Exact training from one policy with samples refreshed every n steps, n = never being supervised fine-tuning.

    None for a problem that is too large to be trained on here.
    """
    if mdp.num_prefixes > TRAINABLE_PREFIXES:
        return None
    methods = {}
    for key in ("grpo", "raft", "f-isft-pm-adv"):
        runs = [Run(_objective(key, mdp), learning_rate, every or steps + 1) for every in REFRESH_EVERY]
        found = [exact_run(run, mdp, logits, steps=steps, num_generations=num_generations)[0] for run in runs]
        methods[key] = {name: [getattr(curve, name).tolist() for curve in found] for name in Metrics._fields}
    return {"learning_rate": learning_rate, "refresh_every": list(REFRESH_EVERY), "methods": methods}


def drawing(mdp: TokenMDP, logits: EdgeLevels, *, max_nodes: int = 64) -> dict[str, Any] | None:
    """The first prompt's tree, for a figure: every node with its parent and probability; None if it is too large."""
    if 1 + sum(level[0].size for level in mdp.rewards) > max_nodes:
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


def _critic(problem: TokenMDP | Control, logits: EdgeLevels) -> dict[str, Any] | None:
    """What a critic of states gains over one of histories; None where every history is a state of its own."""
    if isinstance(problem, TokenMDP) or assumptions(problem)["A1_states_are_histories"]["holds"]:
        return None
    return critic_curve(unroll(problem), logits, responses=CRITIC_RESPONSES)


def _prompts(problem: TokenMDP | Control, success: Sequence[float | None]) -> list[dict[str, Any]]:
    rows = zip(problem.prompts, success, problem.prompt_probability, strict=True)
    return [{"text": text, "p": p, "probability": float(chance)} for text, p, chance in rows]


def _objective(key: str, mdp: TokenMDP) -> Objective:
    return fitted(METHODS[key].objective, mdp)


def _curve(objective: Objective, p: Float[np.ndarray, " points"], num_generations: int) -> dict[str, list[float]]:
    return {
        "c": population.coefficient(objective, p, num_generations=num_generations).tolist(),
        "phi": population.effective_objective(objective, p, num_generations=num_generations).tolist(),
    }


def _verdict(checks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"checks": checks, "verified": all(check["holds"] for check in checks)}
