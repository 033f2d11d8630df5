"""How far a problem and a method are from the degenerate form: outcome-weighted supervised fine-tuning on a bandit.

Evidence about a problem is its structure (histories for each state, rewards before the end, randomness) and the two
ways to compute its value and gradient. Evidence about a method is its exact population gradient, and the gradient of
its loss on a probe batch.
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
from mdp_theory.problems.controls import Control, closed_loop_values, open_loop_values, unroll
from mdp_theory.problems.mdp import TokenMDP, flatten
from mdp_theory.problems.tree import EdgeLevels

PARALLEL = 1e-9
"""A gradient whose part off ∇p is below this, relative to its norm, counts as parallel to ∇p (rounding: 1e-14)."""

IDENTITY = 1e-12
"""Relative tolerance of the identities."""


def assumptions(problem: TokenMDP | Control) -> dict[str, dict[str, Any]]:
    """Which assumptions of the degeneracy claim hold for a problem, and on what evidence."""
    if isinstance(problem, TokenMDP):
        histories = states = problem.num_prefixes
        inside = max(float(np.abs(r[..., ~problem.ends(d)]).max(initial=0.0)) for d, r in enumerate(problem.rewards))
        discount, chance = 1.0, 1.0
    else:
        reached = problem.reachable()
        states = int(reached.sum())
        m = len(problem.vocabulary) - 1
        histories = len(problem.prompts) * sum(m**depth for depth in range(problem.horizon))
        on_the_way = np.abs(problem.reward[:-1, :, :-1]) * reached[:-1, :, None]
        inside = float(on_the_way.max(initial=0.0))
        discount, chance = problem.discount, float(problem.transition.max(axis=2).min())
    return {
        "A1_states_are_histories": {
            "holds": states >= histories,
            "evidence": f"{histories} histories of tokens lead to {states} (time, state) pairs",
        },
        "A2_terminal_reward": {"holds": inside == 0, "evidence": f"largest reward before the end: {inside:g}"},
        "undiscounted": {"holds": discount == 1, "evidence": f"discount {discount:g}"},
        "deterministic": {
            "holds": chance == 1,
            "evidence": f"the likeliest next state has probability {chance:g} or more",
        },
    }


def bandit_reduction(problem: TokenMDP | Control, logits: EdgeLevels | None) -> dict[str, Any]:
    """A problem as a sequence of choices and as a bandit whose arms are whole responses (theorems T1, T2).

    `logits` are a policy on the tree, or None where there is none (stochastic transitions): then the optimal values
    alone, of the best response (open loop) and of the best policy (closed loop).
    """
    if isinstance(problem, TokenMDP):
        views = {} if logits is None else _two_views(problem.rewards, 1.0, logits)
        return views | _optima_of_tree(problem)
    views = {} if logits is None else _two_views(unroll(problem).step_reward, problem.discount, logits)
    closed, opened = closed_loop_values(problem), open_loop_values(problem)
    return views | {"closed_loop_value": closed.tolist(), "open_loop_value": opened.tolist()}


def method_report(
    objective: Objective, mdp: TokenMDP, logits: EdgeLevels, probe: Probe, *, num_generations: int
) -> dict[str, Any]:
    """c(p) and Φ(p) of each prompt, with and without the length, and the comparison on the probe batch.

    c is null where the expected gradient is not parallel to ∇p, and Φ with it; `c_of_binary_reward` is what theorem T5
    says it would be, without the length, from p alone.
    """
    objective = fitted(objective, mdp)
    slope, p = population.success_gradient(mdp, logits), population.success_probability(mdp, logits)
    predicted: list[float | None] = [None] * len(p)
    phi = predicted
    if objective.advantage.estimator == "outcome":
        predicted = population.coefficient(objective, p, num_generations=num_generations).tolist()
        phi = population.effective_objective(objective, p, num_generations=num_generations).tolist()
    record: dict[str, Any] = {"c_of_binary_reward": predicted}
    record |= _dependence(objective, mdp, logits, num_generations=num_generations)
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


def _dependence(objective: Objective, mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int) -> dict[str, Any]:
    """The expected on-policy weight of a token by outcome and length, and how much it depends on each.

    A dependence is the largest spread of the weight over outcomes (over lengths), the other held fixed, relative to the
    largest weight of the prompt; outcomes that cannot occur are null and count for nothing. The KL term is left out;
    a critic's weights are no function of the outcome.
    """
    if objective.advantage.estimator != "outcome":
        return {"expected_weight": None, "outcome_dependence": None, "length_dependence": None}
    joint = population.outcome_joint(mdp, tree.policy(logits))
    rule = rule_of(objective, mdp.reward_levels, mdp.horizon, num_generations=num_generations)
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
    counterpart, and of the expected gradient without the length against Σ_x P(x) c(p_x) ∇p_x (null with a critic).
    """
    policy = SharedPolicy()
    params = policy.init(mdp, seed)
    logits = policy.logits(params, mdp)
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
            gradient = population.expected_gradient(
                rule, mdp, logits, num_generations=num_generations, ref_logits=probe.ref_logits
            )
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
        if facts["undiscounted"]["holds"]:
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
        if binary:
            pairs = zip(record["c_without_length"], record["c_of_binary_reward"], strict=True)
            # A prompt whose gradient vanishes has no direction to compare.
            gaps = [abs(c - expected) / max(abs(expected), 1.0) for c, expected in pairs if c is not None]
            error = max([*gaps, *record["off_direction_without_length"]])
            found.append((f"{key}: without the length the expected gradient is c(p) ∇p", error))
        names = ("sft_relative_error", "direction_relative_error")[: 1 + binary]
        errors = [e for name in names if (e := shared[key][name]) is not None]
        if errors:
            found.append((f"{key}: the same with shared parameters", max(errors)))
    return [
        {"name": name, "error": float(error), "tolerance": IDENTITY, "holds": bool(error <= IDENTITY)}
        for name, error in found
    ]


def fitted(objective: Objective, mdp: TokenMDP) -> Objective:
    """The objective with the horizon as its limit on completion length, where it has one."""
    if objective.aggregation == "sequence-mean-token-sum-norm":
        return replace(objective, max_completion_length=mdp.horizon)
    return objective


def _two_views(step_reward: EdgeLevels, discount: float, logits: EdgeLevels) -> dict[str, Any]:
    probability = tree.policy(logits)
    chance = tree.response_probability(probability)
    total = tree.returns(step_reward, discount=discount)
    arms = tuple(c * r for c, r in zip(chance, total, strict=True))
    as_bandit = _score_sum(probability, arms)
    action, state = tree.expectation(probability, step_reward, discount=discount)
    to_go = tree.logit_gradient(probability, action)
    return {
        "value_sequential": state[0][:, 0].tolist(),
        "value_bandit": flatten(arms).sum(axis=1).tolist(),
        "gradient_relative_error": _relative(to_go, as_bandit).tolist(),
        "return_to_go_gap": _return_to_go_gap(step_reward, total, discount),
        "reward_to_go_split_error": _relative(_split_to_go(probability, total), as_bandit).tolist(),
    }


def _split_to_go(probability: EdgeLevels, total: EdgeLevels) -> EdgeLevels:
    """The gradient when each token gets r / L and is credited with what is still to come: (L - t) / L of the reward."""
    share = tuple(level / (depth + 1) for depth, level in enumerate(total))
    whole, part = tree.expectation(probability, total)[0], tree.expectation(probability, share)[0]
    return tree.logit_gradient(probability, tuple(q - t * s for t, (q, s) in enumerate(zip(whole, part, strict=True))))


def _score_sum(probability: EdgeLevels, arms: EdgeLevels) -> EdgeLevels:
    """Σ_y f(y) ∇ log π(y) by adding up the responses below every edge: whole responses, no values of states."""
    below: list[Any] = list(arms)
    for depth in reversed(range(len(arms) - 1)):
        inside = below[depth + 1].sum(axis=-1).reshape(*below[depth].shape[:2], -1)
        below[depth] = np.concatenate([inside, below[depth][..., -1:]], axis=-1)
    return tuple(b - p * b.sum(axis=-1, keepdims=True) for b, p in zip(below, probability, strict=True))


def _return_to_go_gap(step_reward: EdgeLevels, total: EdgeLevels, discount: float) -> float:
    """The largest |return-to-go - return of the response| over responses and tokens, relative to the largest return."""
    gap, largest = 0.0, max(float(np.abs(level).max()) for level in total)
    to_go: list[Any] = []  # for each response that has passed: its return-to-go at this depth, and its return
    for depth in reversed(range(len(total))):
        level = step_reward[depth]
        prompts, prefixes, tokens = level.shape
        own = slice(None) if depth + 1 == len(total) else slice(-1, None)
        here = [(level[..., own], total[depth][..., own])]
        for later, whole in to_go:
            grouped = later.reshape(prompts, prefixes, tokens - 1, -1)
            now = level[..., :-1, None] + discount * grouped
            here.append((now.reshape(prompts, prefixes, -1), whole.reshape(prompts, prefixes, -1)))
        gap = max([gap, *(float(np.abs(now - whole).max()) for now, whole in here)])
        to_go = here
    return gap / max(largest, 1.0)


def _optima_of_tree(mdp: TokenMDP) -> dict[str, list[float]]:
    """The best policy by backward induction, the best response by looking at all."""
    value: Any = None
    for reward in reversed(mdp.rewards):
        action = reward
        if value is not None:
            action = np.concatenate([value.reshape(*reward.shape[:2], -1), reward[..., -1:]], axis=-1)
        value = action.max(axis=-1)
    return {"closed_loop_value": value[:, 0].tolist(), "open_loop_value": mdp.response_rewards.max(axis=1).tolist()}


def _relative(left: EdgeLevels, right: EdgeLevels) -> Float[np.ndarray, " prompts"]:
    gap = tuple(a - b for a, b in zip(left, right, strict=True))
    norm = tree.inner(right, right)
    return np.sqrt(np.where(norm > 0, tree.inner(gap, gap) / np.where(norm > 0, norm, 1.0), 0.0))
