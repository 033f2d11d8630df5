"""How far a method is from outcome-weighted supervised fine-tuning, and what the assumptions that hold promise.

Evidence about a method is its exact population gradient, and the gradient of its loss on a probe batch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory.check.sampled import Probe, batch, compare, draw_probe
from mdp_theory.exact import population
from mdp_theory.exact.policy import SharedPolicy, pull_back_to
from mdp_theory.exact.rules import outcome_table, rule_of
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Objective
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from mdp_theory.problems.turns import speak
from rino_base.messages import InputError

PARALLEL = 1e-9
"""A gradient whose part off ∇p is below this, relative to its norm, counts as parallel to ∇p (rounding: 1e-14)."""

IDENTITY = 1e-12
"""Relative tolerance of the identities."""


def method_report(
    objective: Objective, mdp: TokenMDP, logits: EdgeLevels, probe: Probe, *, num_generations: int
) -> dict[str, Any]:
    """c(p) and Φ(p) of each prompt, with and without the length, and the comparison on the probe batch.

    c is null where the expected gradient is not parallel to ∇p, and Φ with it; `c_of_binary_reward` is what theorem T5
    says it would be, without the length, from p alone. Where no exact gradient is to be had, `refused` says why.
    """
    objective = fitted(objective, mdp)
    slope, p = population.success_gradient(mdp, logits), population.success_probability(mdp, logits)
    predicted: list[float | None] = [None] * len(p)
    phi = predicted
    if objective.advantage.estimator == "outcome":
        predicted = population.coefficient(objective, p, num_generations=num_generations).tolist()
        phi = population.effective_objective(objective, p, num_generations=num_generations).tolist()
    record: dict[str, Any] = {"c_of_binary_reward": predicted, "refused": None}
    record |= {"expected_weight": None, "outcome_dependence": None, "length_dependence": None}
    try:
        record |= _dependence(objective, mdp, logits, num_generations=num_generations)
    except InputError as error:
        record["refused"] = f"{error.problem}; {error.mend}"
    for suffix, rule in (("", objective), ("_without_length", population.without_length(objective))):
        for name in ("c", "phi", "off_direction"):
            record[f"{name}{suffix}"] = [None] * len(p)
        if record["refused"]:
            continue
        gradient = population.expected_gradient(
            rule, mdp, logits, num_generations=num_generations, ref_logits=probe.ref_logits, value=probe.value
        )
        found = population.direction(gradient, slope)
        kept = (found.residual <= PARALLEL) & (tree.inner(slope, slope) > 0)
        record[f"c{suffix}"] = [float(c) if k else None for c, k in zip(found.coefficient, kept, strict=True)]
        record[f"phi{suffix}"] = [value if k else None for value, k in zip(phi, kept, strict=True)]
        record[f"off_direction{suffix}"] = found.residual.tolist()
    return record | compare(objective, batch(probe, logits, logits), probe.drawn, logits).numbers()


def _dependence(objective: Objective, mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int) -> dict[str, Any]:
    """The expected on-policy weight of a token by outcome and length, and how much it depends on each.

    A dependence is the largest spread of the weight over outcomes (over lengths), the other held fixed, relative to the
    largest weight of the prompt; outcomes that cannot occur are null and count for nothing. The KL term is left out;
    a critic's weights are no function of the outcome.
    """
    if objective.advantage.estimator != "outcome":
        return {"expected_weight": None, "outcome_dependence": None, "length_dependence": None}
    joint = population.outcome_joint(mdp, tree.policy(logits))
    options: dict[str, Any] = {"apart": False, "noise": mdp.noise, "num_generations": num_generations}
    rule = rule_of(objective, mdp.reward_levels, mdp.horizon, chance=joint.sum(axis=2), **options)
    weight = np.where(joint > 0, outcome_table(rule, joint, num_generations=num_generations).weight, np.nan)
    largest = np.nanmax(np.abs(weight), axis=(1, 2))

    def spread(axis: int) -> float:
        gap = np.nan_to_num(np.fmax.reduce(weight, axis=axis) - np.fmin.reduce(weight, axis=axis))
        return float((gap.max(axis=1) / np.where(largest > 0, largest, 1.0)).max())

    cells = [[[None if np.isnan(w) else float(w) for w in row] for row in prompt] for prompt in weight]
    return {"expected_weight": cells, "outcome_dependence": spread(1), "length_dependence": spread(2)}


def shared_parameters(mdp: TokenMDP, keys: Iterable[str], *, num_generations: int, seed: int) -> dict[str, Any]:
    """The two claims about methods once more, where one step moves all histories: a small recurrent policy.

    By method: the relative error, in the parameters, of the on-policy loss gradient against that of its supervised
    counterpart, and of the expected gradient without the length against Σ_x P(x) c(p_x) ∇p_x (null with a critic, and
    where there is no exact gradient).
    """
    policy = SharedPolicy()
    params = policy.init(mdp, seed)
    logits = speak(mdp, policy.logits(params, mdp))
    pull = pull_back_to(policy, params, mdp)
    probe = draw_probe(mdp, logits, num_generations=num_generations, seed=seed)
    samples = batch(probe, logits, logits)
    slope, p = population.success_gradient(mdp, logits), population.success_probability(mdp, logits)

    def error(left: EdgeLevels, right: EdgeLevels) -> float | None:
        a, b = (np.concatenate([leaf.ravel() for leaf in pull(levels)]) for levels in (left, right))
        return float(np.linalg.norm(a - b) / np.linalg.norm(b)) if b.any() else None

    def mixed(levels: EdgeLevels, factor: Float[np.ndarray, " prompts"]) -> EdgeLevels:
        return tuple((factor * mdp.prompt_probability)[:, None, None] * level for level in levels)

    found: dict[str, dict[str, float | None]] = {}
    for key in keys:
        objective = fitted(METHODS[key].objective, mdp)
        compared = compare(objective, samples, probe.drawn, logits)
        record = {"sft_relative_error": error(compared.gradient, compared.supervised), "direction_relative_error": None}
        if objective.advantage.estimator == "outcome":
            rule = population.without_length(objective)
            try:
                gradient = population.expected_gradient(
                    rule, mdp, logits, num_generations=num_generations, ref_logits=probe.ref_logits
                )
            except InputError:  # there is no exact gradient here; `method_report` says why
                found[key] = record
                continue
            c = population.coefficient(objective, p, num_generations=num_generations)
            record["direction_relative_error"] = error(mixed(gradient, np.ones_like(c)), mixed(slope, c))
        found[key] = record
    return {"parameters": sum(np.size(leaf) for leaf in params), "methods": found}


def identities(
    facts: Mapping[str, Mapping[str, Any]],
    bandit: Mapping[str, Any],
    methods: Mapping[str, Mapping[str, Any]],
    shared: Mapping[str, Mapping[str, float | None]],
    *,
    binary: bool,
) -> list[dict[str, Any]]:
    """What the assumptions that hold promise, each with its measured relative error.

    `methods` and `shared` are the records of `method_report` and `shared_parameters`, by method. `binary` says that
    rewards are 0 and 1: then every expected gradient without the length is c(p) ∇p.
    """
    found: list[tuple[str, float]] = []

    def difference(left: str, right: str) -> float:
        a, b = np.asarray(bandit[left]), np.asarray(bandit[right])
        return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))

    if facts["deterministic"]["holds"]:
        found.append(("the value equals the bandit's", difference("value_sequential", "value_bandit")))
        found.append(("the best response is worth the best policy", difference("open_loop_value", "closed_loop_value")))
        if facts["undiscounted"]["holds"] and bandit["gradient_relative_error"] is not None:
            found.append(("the gradient equals the bandit's", max(bandit["gradient_relative_error"])))
            if facts["A2_terminal_reward"]["holds"]:
                found.append(("every token's return-to-go is the response's reward", bandit["return_to_go_gap"]))
    for key, record in methods.items():
        objective = METHODS[key].objective
        if objective.kl is not None or objective.advantage.estimator != "outcome":
            continue
        if record["cosine"] is not None:
            error = max(record["relative_error"], record["credit_structure_index"])
            found.append((f"{key}: the on-policy gradient is that of outcome-weighted SFT", error))
        if binary and not record["refused"]:
            pairs = zip(record["c_without_length"], record["c_of_binary_reward"], strict=True)
            # A prompt whose gradient vanishes has no direction to compare.
            gaps = [abs(c - expected) / max(abs(expected), 1.0) for c, expected in pairs if c is not None]
            error = max([*gaps, *record["off_direction_without_length"]])
            found.append((f"{key}: without the length the expected gradient is c(p) ∇p", error))
        names = ("sft_relative_error", "direction_relative_error")[: 1 + binary]
        errors = [e for name in names if (e := shared.get(key, {}).get(name)) is not None]
        if errors:
            found.append((f"{key}: the same with shared parameters", max(errors)))
    return [
        {"name": name, "error": float(error), "tolerance": IDENTITY, "holds": bool(error <= IDENTITY)}
        for name, error in found
    ]


def two_claims(
    bandit: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]], spread: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Apart, for one does not imply the other: *the loss is weighted SFT* (T3) and *the problem is a bandit* (T1).

    The first is about losses: the largest relative error of the on-policy gradient against the supervised one, over the
    methods without a critic and without a KL term. The second is about the problem: what the best policy gains over
    the best fixed plan, for each prompt. `holds` is None where there is no method to test. `credit_cost` is the
    variance of one sample's gradient with uniform credit over that with credit by state advantages.
    """
    errors = [
        max(record["relative_error"], record["credit_structure_index"])
        for key, record in methods.items()
        if METHODS[key].objective.kl is None
        and METHODS[key].objective.advantage.estimator == "outcome"
        and record["cosine"] is not None
    ]
    pairs = zip(bandit["closed_loop_value"], bandit["open_loop_value"], strict=True)
    gap = [None if opened is None else closed - opened for closed, opened in pairs]
    known = [step for step in gap if step is not None]
    worst = max(errors) if errors else None
    loss: dict[str, Any] = {"holds": None if worst is None else worst <= IDENTITY, "relative_error": worst}
    holds = None if len(known) < len(gap) else bool(max(known) <= IDENTITY)
    problem: dict[str, Any] = {"holds": holds, "gap": gap}
    if spread is not None:
        pairs = zip(spread["baseline"], spread["state_advantage"], strict=True)
        problem["credit_cost"] = [uniform / state if state > 0 else None for uniform, state in pairs]
    return {"the_loss_is_weighted_sft": loss, "the_problem_is_a_bandit": problem}


def fitted(objective: Objective, mdp: TokenMDP) -> Objective:
    """The objective with the horizon as its limit on completion length, where it has one."""
    if objective.needs_limit:
        return replace(objective, max_completion_length=mdp.horizon)
    return objective
