"""Exact population quantities at any group size: expected gradients on- and off-policy, c(p), Φ(p).

Groups are never enumerated (see `exact.rules`): a table with one weight for each (reward level, length) goes to
the responses of the tree, and one backward and one forward pass turn it into the expected gradient. Functions follow
their arguments, as those of `problems.tree` do: numpy arrays are computed by numpy, jax arrays by jax.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdp_theory.exact.kl_reward import credit_of_kl, without_kl
from mdp_theory.exact.quadrature import unit_quadrature
from mdp_theory.exact.rules import Rule, Table, outcome_table, rule_of
from mdp_theory.methods.kl import penalty_slope
from mdp_theory.methods.objectives import Objective
from mdp_theory.methods.ratio import ratio_factor
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import Array, EdgeLevels, StateLevels
from mdp_theory.problems.turns import learned, own_lengths, speak
from rino_base.messages import InputError

_BLOCK = 512  # Responses that are added up one by one.


def expected_gradient(
    objective: Objective,
    mdp: TokenMDP,
    logits: EdgeLevels,
    *,
    num_generations: int,
    groups: int = 1,
    old_logits: EdgeLevels | None = None,
    ref_logits: EdgeLevels | None = None,
    value: StateLevels | None = None,
) -> EdgeLevels:
    """The expected ascent direction -∇ E[loss] in the logits, given the prompt; exact, on-policy and off.

    Multiply by `mdp.prompt_probability` for the mixture over prompts. Responses are drawn from `old_logits`, by default
    the current policy; `ref_logits` is the reference policy of a KL term, by default the current one; `value` holds a
    critic's estimates, by default the exact V(s) of the sampling policy. Time and memory are linear in the number of
    prefixes.

    Raises:
        InputError: the weights depend on more than outcomes and lengths, there are too many compositions of a group, or
            a critic is used off-policy (the sign of a sampled advantage decides what is clipped).
    """
    given, inside = objective, objective.kl is not None and objective.kl.placement == "reward"
    if inside:
        objective = without_kl(objective, off_policy=old_logits is not None)
    if old_logits is not None:
        check_ratio(objective, mdp)
    logits, old_logits, ref_logits = _spoken(mdp, logits, old_logits, ref_logits)
    sampled = tree.policy(logits if old_logits is None else old_logits)
    joint = outcome_joint(mdp, sampled)
    options: dict[str, Any] = {"num_generations": num_generations, "groups": groups}
    clips = old_logits is not None and objective.surrogate == "clipped-ratio"
    levels, chance = mdp.reward_levels, joint.sum(axis=2) if isinstance(joint, np.ndarray) else None
    rule = rule_of(objective, levels, mdp.horizon, apart=clips, chance=chance, noise=mdp.noise, **options)
    if objective.advantage.estimator == "outcome":
        if not inside:
            return rule_gradient(rule, mdp, logits, old_logits=old_logits, ref_logits=ref_logits, **options)
        plain = rule_gradient(rule, mdp, logits, old_logits=old_logits, **options)
        table = outcome_table(rule, joint, prompt_probability=mdp.prompt_probability, **options)
        ref = logits if ref_logits is None else ref_logits
        log_sampled = tree.log_policy(logits if old_logits is None else old_logits)
        policies: dict[str, Any] = {"sampled": sampled, "log_sampled": log_sampled, "log_ref": tree.log_policy(ref)}
        credit = credit_of_kl(given, rule, table, mdp, **policies, **options)
        added = learned(mdp, tree.logit_gradient(sampled, credit, current=tree.policy(logits), moves=mdp.moves))
        return tuple(a + b for a, b in zip(plain, added, strict=True))
    if old_logits is not None and objective.surrogate != "log-likelihood":
        raise InputError("a critic's clipped credit is not exact off-policy", mend="pass no old_logits, or sample")
    table = outcome_table(rule, joint, prompt_probability=mdp.prompt_probability, **options)
    value = tree.expectation(sampled, mdp.earned, moves=mdp.moves)[1] if value is None else value
    share = tree.expectation(sampled, _spread(mdp, table.share), moves=mdp.moves)[0]
    decay, discount = objective.advantage.gae_lambda, objective.advantage.discount
    speaks = None if mdp.environment is None else mdp.environment.speaks
    told = (sampled, mdp.earned, share, value)
    credit = tree.generalised_advantage(*told, decay=decay, discount=discount, speaks=speaks, moves=mdp.moves)
    return learned(mdp, tree.logit_gradient(sampled, credit, current=tree.policy(logits), moves=mdp.moves))


def rule_gradient(
    rule: Rule,
    mdp: TokenMDP,
    logits: EdgeLevels,
    *,
    num_generations: int,
    groups: int = 1,
    old_logits: EdgeLevels | None = None,
    ref_logits: EdgeLevels | None = None,
) -> EdgeLevels:
    """`expected_gradient` of an outcome rule that is already made; traceable, also in the rule."""
    logits, old_logits, ref_logits = _spoken(mdp, logits, old_logits, ref_logits)
    sampled = tree.policy(logits if old_logits is None else old_logits)
    joint = outcome_joint(mdp, sampled)
    table = outcome_table(
        rule,
        joint,
        num_generations=num_generations,
        groups=groups,
        prompt_probability=mdp.prompt_probability,
    )
    if old_logits is None:
        weight = _spread(mdp, _without_commonest(table.weight, joint))
        credit = tree.expectation(sampled, weight, moves=mdp.moves)[0]
    else:
        credit = _off_policy_credit(rule, mdp, table, sampled, tree.log_policy(logits), tree.log_policy(old_logits))
    if ref_logits is not None:
        share = tree.expectation(sampled, _spread(mdp, table.share), moves=mdp.moves)[0]
        log_pi, log_ref = tree.log_policy(logits), tree.log_policy(ref_logits)
        credit = tuple(
            u - penalty_slope(rule.penalty, ref - now) * part
            for u, now, ref, part in zip(credit, log_pi, log_ref, share, strict=True)
        )
    return learned(mdp, tree.logit_gradient(sampled, credit, current=tree.policy(logits), moves=mdp.moves))


def check_ratio(objective: Objective, mdp: TokenMDP) -> None:
    """Raises `InputError` where one ratio does not decide a token's weight, or where states do not tell the ratio."""
    if not objective.of_ratios_alone:
        raise InputError(
            "what is clipped token by token within a response, or by probabilities, is not exact off-policy",
            mend="stay on-policy, take a method that clips one ratio, or average over samples",
        )
    whole = objective.importance_sampling_level != "token" and objective.surrogate != "log-likelihood"
    if mdp.moves is not None and whole:
        raise InputError(
            f"{mdp.name}: histories share states, and the ratio of a whole response is a matter of histories",
            mend="stay on-policy, take a method with a ratio per token, or a problem that is a tree",
        )


def outcome_joint(mdp: TokenMDP, probability: EdgeLevels) -> Float[Array, "prompts levels lengths"]:
    """P(reward level, length | prompt) of a response; a length counts the learner's tokens."""
    shape = (len(mdp.reward_levels), mdp.horizon)
    total: Array = 0.0
    for chance, outcome, length in zip(
        tree.response_probability(probability, moves=mdp.moves), mdp.outcome, own_lengths(mdp), strict=True
    ):
        cell = outcome * mdp.horizon + length - 1
        total = total + _add_up(cell, chance, shape[0] * shape[1])
    return total.reshape(len(mdp.prompts), *shape)


def success(mdp: TokenMDP, threshold: float = 1.0) -> EdgeLevels:
    """1 on the endings whose reward reaches `threshold`."""
    return tree.on_endings(tuple((reward >= threshold).astype(np.float64) for reward in mdp.rewards))


def success_probability(mdp: TokenMDP, logits: EdgeLevels, threshold: float = 1.0) -> Float[Array, " prompts"]:
    """p, the probability of a reward of at least `threshold`, for each prompt."""
    probability = tree.policy(speak(mdp, logits))
    return mdp.at_start(tree.expectation(probability, success(mdp, threshold), moves=mdp.moves)[1])


def success_gradient(mdp: TokenMDP, logits: EdgeLevels, threshold: float = 1.0) -> EdgeLevels:
    """∇p in the logits, for each prompt."""
    probability = tree.policy(speak(mdp, logits))
    action = tree.expectation(probability, success(mdp, threshold), moves=mdp.moves)[0]
    return learned(mdp, tree.logit_gradient(probability, action, moves=mdp.moves))


@dataclass(frozen=True)
class Direction:
    """How a gradient lies to a reference: its coefficient by least squares, and what is left relative to its norm."""

    coefficient: Float[np.ndarray, " prompts"]
    residual: Float[np.ndarray, " prompts"]
    cosine: Float[np.ndarray, " prompts"]


def direction(gradient: EdgeLevels, reference: EdgeLevels) -> Direction:
    """Compare `gradient` with `reference`, prompt by prompt; residual 0 means that they are parallel."""
    square, cross = tree.inner(reference, reference), tree.inner(gradient, reference)
    norm = tree.inner(gradient, gradient)
    with np.errstate(divide="ignore", invalid="ignore"):
        coefficient = np.where(square > 0, cross / square, 0.0)
        left = tuple(g - coefficient[:, None, None] * r for g, r in zip(gradient, reference, strict=True))
        residual = np.sqrt(np.where(norm > 0, tree.inner(left, left) / norm, 0.0))
        cosine = np.where(norm * square > 0, cross / np.sqrt(norm * square), 0.0)
    return Direction(coefficient, residual, cosine)


def without_length(objective: Objective) -> Objective:
    """The same objective with its tokens summed, not averaged: theorem T5 speaks of these."""
    return replace(objective, aggregation="sequence-mean-token-sum", max_completion_length=None)


def coefficient(
    objective: Objective, p: Float[np.ndarray, " points"], *, num_generations: int
) -> Float[np.ndarray, " points"]:
    """c(p) of theorem T5 at group size G: binary reward, no division by the length."""
    rule = rule_of(without_length(objective), np.array([0.0, 1.0]), 1, num_generations=num_generations)
    table = outcome_table(rule, np.stack([1 - p, p], axis=1)[..., None], num_generations=num_generations)
    return table.weight[:, 1, 0] - table.weight[:, 0, 0]


def effective_objective(
    objective: Objective, p: Float[np.ndarray, " points"], *, num_generations: int
) -> Float[np.ndarray, " points"]:
    """Φ(p) = ∫₀^p c: what gradient ascent with c(p) ∇p climbs (theorem T6). Exact, for c is a polynomial in p."""
    nodes, weight = unit_quadrature(num_generations)
    values = coefficient(objective, np.outer(p, nodes).ravel(), num_generations=num_generations)
    return p * (values.reshape(len(p), -1) @ weight)


def _off_policy_credit(
    rule: Rule, mdp: TokenMDP, table: Table, sampled: EdgeLevels, log_pi: EdgeLevels, log_old: EdgeLevels
) -> EdgeLevels:
    """E[weight of the token | s, a] with the ratio and its clip.

    A token's ratio belongs to the edge and multiplies the expectation over what follows; a response's belongs to the
    outcome and goes into it.
    """
    xp = log_pi[0].__array_namespace__()
    log_ratio = tuple(now - old for now, old in zip(log_pi, log_old, strict=True))
    total = tree.returns(log_ratio) if mdp.moves is None else log_ratio  # on a graph, of no use and not used
    credit: list[Array] = [0.0] * len(log_pi)
    for above, part in ((True, table.positive), (False, table.negative)):
        weighted = []
        for base, whole, length in zip(_spread(mdp, part), total, own_lengths(mdp), strict=True):
            sequence = xp.exp(xp.where(rule.ratio.mean > 0, whole / length, whole))
            factor = ratio_factor(rule.ratio, sequence, above=above)
            weighted.append(base * xp.where(rule.ratio.sequence > 0, factor, 1.0))
        expected = tree.expectation(sampled, tuple(weighted), moves=mdp.moves)[0]
        for depth, (u, step) in enumerate(zip(expected, log_ratio, strict=True)):
            factor = ratio_factor(rule.ratio, xp.exp(step), above=above)
            credit[depth] = credit[depth] + u * xp.where(rule.ratio.token > 0, factor, 1.0)
    return tuple(credit)


def _without_commonest(
    weight: Float[Array, "prompts levels lengths"], joint: Float[Array, "prompts levels lengths"]
) -> Float[Array, "prompts levels lengths"]:
    """The weights less that of the likeliest outcome.

    On-policy a constant weight moves nothing, for scores have mean zero; but where success is rare, the rounding of the
    weight that nearly all responses have would drown the rest.
    """
    xp = joint.__array_namespace__()
    flat, prompts = weight.reshape(len(joint), -1), np.arange(len(joint))
    likeliest = xp.argmax(joint.reshape(len(joint), -1), axis=1)
    return weight - flat[prompts, likeliest][:, None, None]


def _spread(mdp: TokenMDP, table: Float[Array, "prompts levels lengths"]) -> EdgeLevels:
    """The table's entry of each complete response."""
    prompt = np.arange(len(mdp.prompts))[:, None, None]
    parts = zip(mdp.outcome, own_lengths(mdp), strict=True)
    return tree.on_endings(tuple(table[prompt, outcome, length - 1] for outcome, length in parts))


def _spoken(mdp: TokenMDP, *policies: EdgeLevels | None) -> tuple[Any, ...]:
    """Every policy with the environment's logits where it speaks, so that ratios and penalties are nought there."""
    return tuple(None if logits is None else speak(mdp, logits) for logits in policies)


def _add_up(cell: Int[np.ndarray, "prompts prefixes tokens"], mass: Array, cells: int) -> Float[Array, "prompts cells"]:
    """The mass in every cell, for each prompt."""
    rows = len(cell)
    if isinstance(mass, np.ndarray):
        # One prompt at a time: bincount takes copies. It adds one by one, which a hundred thousand responses would
        # notice at 1e-12, so it adds up blocks, and the blocks are added then.
        block = np.arange(cell[0].size) // _BLOCK
        shape = (block[-1] + 1, cells)
        size = shape[0] * shape[1]
        parts = (np.bincount(cells * block + cell[x].ravel(), mass[x].ravel(), minlength=size) for x in range(rows))
        return np.stack([part.reshape(shape).sum(axis=0) for part in parts])
    xp = mass.__array_namespace__()
    where = (cell + cells * np.arange(rows)[:, None, None]).ravel()
    return xp.zeros(rows * cells).at[where].add(mass.ravel()).reshape(rows, cells)
