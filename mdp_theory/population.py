"""Exact population quantities at any group size, without enumerating groups.

A group enters the weight of one of its members only through the outcomes of the others. So condition on one member and
sum over how many of the other G - 1 fall on each reward level (a multinomial). Where the denominator counts tokens, or
responses over several groups, it is random as well; 1/D = ∫₀¹ x^(D-1) dx turns its expectation into an integral of
generating functions. These are polynomials in x, which Gauss-Legendre quadrature integrates exactly. What is left is
one number for each (reward level, length), and one pass over the tree.

Nothing here knows a method by name: advantages come from `objectives.assign_credit` on a group of each composition.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from console import InputError
from mdp_theory import tree
from mdp_theory.mdp import TokenMDP
from mdp_theory.objectives import Advantage, Batch, Objective, assign_credit
from mdp_theory.precision import in_float64
from mdp_theory.tree import EdgeLevels, StateLevels

MAX_COMPOSITIONS = 200_000
"""Ways to spread a group over the reward levels; each needs one evaluation of the advantage rule."""

MAX_NODES = 512
"""Quadrature nodes: exact for denominators up to 1,024, and to rounding for denominators up to about 50,000."""

_BLOCK = 4_000_000  # Numbers in one temporary of the sum over compositions: 32 MB.


class Table(NamedTuple):
    """What a response earns in expectation, by prompt, reward level and length (column l is length l + 1).

    `positive` and `negative` are the parts of the expected weight of each of its tokens that come from advantages above
    and below zero (clipping tells them apart), `share` is the expected scale of each token's term (what a KL penalty or
    a critic's credit is multiplied with). All are summed over the batch, so that on-policy
    Σ_y P(y) weight(y) Σ_t ∇log π(a_t) is the expected ascent direction.
    """

    positive: Float[np.ndarray, "prompts levels lengths"]
    negative: Float[np.ndarray, "prompts levels lengths"]
    share: Float[np.ndarray, "prompts levels lengths"]

    @property
    def weight(self) -> Float[np.ndarray, "prompts levels lengths"]:
        """The expected weight of each token of a response."""
        return self.positive + self.negative


def outcome_table(
    objective: Objective,
    levels: Float[np.ndarray, " levels"],
    joint: Float[np.ndarray, "prompts levels lengths"],
    *,
    num_generations: int,
    groups: int = 1,
    prompt_probability: Float[np.ndarray, " prompts"] | None = None,
) -> Table:
    """Expected on-policy weights, exact for `num_generations` responses a group and `groups` groups a batch.

    `joint[x, k, l]` is the probability that a response to prompt x has reward `levels[k]` and length l + 1. The other
    groups of the batch have prompts drawn from `prompt_probability`. Raises `InputError` when the weights do not depend
    on outcomes and lengths alone, or the compositions are too many.
    """
    _check_outcome_only(objective, groups)
    size = num_generations
    counts = compositions(size, len(levels))
    advantage, kept = _group_rule(_bare(objective), tuple(levels.tolist()), size)
    lengths = np.arange(1, joint.shape[2] + 1)
    by_token = objective.aggregation == "token-mean"
    measure = lengths if by_token else np.ones_like(lengths)
    fixed = groups == 1 and not by_token
    if fixed:
        # The composition decides the denominator; x = 1 makes every generating function a probability.
        nodes, node_weight = np.ones(1), np.ones(1)
        denominator = np.maximum((counts * kept).sum(axis=1), 1)
    else:
        nodes, node_weight = _unit_quadrature(groups * size * int(measure[-1]))
        denominator = np.ones(len(counts))
    with np.errstate(divide="ignore"):
        seen = np.log(joint @ nodes ** measure[:, None])  # [prompts, levels, nodes]: kept members count
        dropped = np.log(joint.sum(axis=2))  # [prompts, levels]: dropped ones do not
    # A level of probability 0 must give exp(-inf) = 0 when it occurs and 0 * log = 0 when it does not.
    seen, dropped = np.maximum(seen, -1e300), np.maximum(dropped, -1e300)
    others = np.ones(len(nodes))
    if groups > 1:
        probability = np.full(len(joint), 1 / len(joint)) if prompt_probability is None else prompt_probability
        chance = _sum_compositions(counts, kept, np.ones((len(counts), 1)), seen, dropped)[:, 0]
        others = (probability @ chance) ** (groups - 1)

    table = Table(*(np.zeros(joint.shape) for _ in range(3)))
    per_token = _length_factor(objective, lengths)
    for level in range(len(levels)):
        rows = (counts[:, level] > 0) & kept[:, level]
        rest = counts[rows].copy()
        rest[:, level] -= 1
        own = advantage[rows, level]
        terms = np.stack([np.maximum(own, 0), np.minimum(own, 0), np.ones(len(own))], axis=1)
        coefficients = terms / denominator[rows, None]
        summed = _sum_compositions(rest, kept[rows], coefficients, seen, dropped) * others
        powers = node_weight[:, None] * nodes[:, None] ** (measure - 1)
        expected = groups * size * per_token * (summed @ powers)  # [prompts, terms, lengths]
        for term, part in enumerate(table):
            part[:, level] = expected[:, term]
    return table


def outcome_joint(mdp: TokenMDP, probability: EdgeLevels) -> Float[np.ndarray, "prompts levels lengths"]:
    """P(reward level, length | prompt) of a response."""
    parts = []
    for chance, outcome in zip(tree.response_probability(probability), mdp.outcome, strict=True):
        parts.append(np.stack([np.where(outcome == k, chance, 0.0).sum((1, 2)) for k in range(len(mdp.reward_levels))]))
    return np.stack(parts).transpose(2, 1, 0)


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
    prefixes. Raises `InputError` for a critic off-policy: the sign of its advantages decides what is clipped.
    """
    old_logits = logits if old_logits is None else old_logits
    sampled, current = tree.policy(old_logits), tree.policy(logits)
    table = outcome_table(
        objective,
        mdp.reward_levels,
        outcome_joint(mdp, sampled),
        num_generations=num_generations,
        groups=groups,
        prompt_probability=mdp.prompt_probability,
    )
    critic, kl = objective.advantage.estimator == "gae", objective.kl
    needs_share = critic or (kl is not None and ref_logits is not None)
    share = tree.expectation(sampled, _spread(mdp, table.share))[0] if needs_share else ()
    if critic:
        if old_logits is not logits and objective.surrogate != "log-likelihood":
            raise InputError("a critic's clipped credit is not exact off-policy", mend="pass no old_logits, or sample")
        value = tree.expectation(sampled, mdp.rewards)[1] if value is None else value
        decay, discount = objective.advantage.gae_lambda, objective.advantage.discount
        credit = tree.generalised_advantage(sampled, mdp.rewards, share, value, decay=decay, discount=discount)
    elif old_logits is logits or objective.surrogate == "log-likelihood":
        credit = tree.expectation(sampled, _spread(mdp, table.weight))[0]
    else:
        credit = _off_policy_credit(
            objective, mdp, table, sampled, tree.log_policy(logits), tree.log_policy(old_logits)
        )
    if kl is not None and ref_logits is not None:
        slopes = _kl_slope(kl.estimator, tree.log_policy(logits), tree.log_policy(ref_logits))
        credit = tuple(
            u - kl.sign * kl.beta * slope * part for u, slope, part in zip(credit, slopes, share, strict=True)
        )
    return tree.logit_gradient(sampled, credit, current=current)


def _off_policy_credit(
    objective: Objective,
    mdp: TokenMDP,
    table: Table,
    sampled: EdgeLevels,
    log_pi: EdgeLevels,
    log_old: EdgeLevels,
) -> EdgeLevels:
    """E[weight of the token | s, a] with the ratio and its clip."""
    parts = [_spread(mdp, part) for part in (table.positive, table.negative)]
    log_ratio = tuple(now - old for now, old in zip(log_pi, log_old, strict=True))
    if objective.importance_sampling_level == "token":
        # The ratio belongs to the edge: it multiplies the expectation over what follows.
        ups, downs = (tree.expectation(sampled, part)[0] for part in parts)
        return tuple(
            u * _ratio_factor(objective, np.exp(r), above=True) + d * _ratio_factor(objective, np.exp(r), above=False)
            for u, d, r in zip(ups, downs, log_ratio, strict=True)
        )
    # The ratio belongs to the whole response: it multiplies the outcome.
    total = tree.returns(log_ratio)
    mean = objective.importance_sampling_level != "sequence-product"
    ratios = tuple(np.exp(level / (depth + 1) if mean else level) for depth, level in enumerate(total))
    weighted = tuple(
        u * _ratio_factor(objective, ratio, above=True) + d * _ratio_factor(objective, ratio, above=False)
        for u, d, ratio in zip(*parts, ratios, strict=True)
    )
    return tree.expectation(sampled, weighted)[0]


def _ratio_factor(objective: Objective, ratio: Float[np.ndarray, "..."], *, above: bool) -> Float[np.ndarray, "..."]:
    """What the ratio multiplies the on-policy weight with, for advantages above or below zero."""
    clip = objective.clip
    high = np.inf if clip is None or clip.high is None else 1 + clip.high
    low = -np.inf if clip is None or clip.low is None else 1 - clip.low
    if objective.surrogate == "truncated-weight":
        return np.clip(ratio, low, high)
    dual = np.inf if clip is None or clip.dual is None else clip.dual
    return np.where(ratio <= high if above else (ratio >= low) & (ratio <= dual), ratio, 0.0)


def success(mdp: TokenMDP, threshold: float = 1.0) -> EdgeLevels:
    """1 on the endings whose reward reaches `threshold`."""
    return tree.on_endings(tuple((reward >= threshold).astype(np.float64) for reward in mdp.rewards))


def success_probability(mdp: TokenMDP, logits: EdgeLevels, threshold: float = 1.0) -> Float[np.ndarray, " prompts"]:
    """p, the probability of a reward of at least `threshold`, for each prompt."""
    return tree.expectation(tree.policy(logits), success(mdp, threshold))[1][0][:, 0]


def success_gradient(mdp: TokenMDP, logits: EdgeLevels, threshold: float = 1.0) -> EdgeLevels:
    """∇p in the logits, for each prompt."""
    probability = tree.policy(logits)
    return tree.logit_gradient(probability, tree.expectation(probability, success(mdp, threshold))[0])


@dataclass(frozen=True)
class Direction:
    """How a gradient lies to ∇p: its coefficient by least squares, and what is left relative to its own norm."""

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
    joint = np.stack([1 - p, p], axis=1)[..., None]
    table = outcome_table(without_length(objective), np.array([0.0, 1.0]), joint, num_generations=num_generations)
    return table.weight[:, 1, 0] - table.weight[:, 0, 0]


def effective_objective(
    objective: Objective, p: Float[np.ndarray, " points"], *, num_generations: int
) -> Float[np.ndarray, " points"]:
    """Φ(p) = ∫₀^p c: what gradient ascent with c(p) ∇p climbs (theorem T6). Exact, for c is a polynomial in p."""
    nodes, weight = _unit_quadrature(2 * num_generations + 2)
    values = coefficient(objective, np.outer(p, nodes).ravel(), num_generations=num_generations)
    return p * (values.reshape(len(p), -1) @ weight)


def compositions(total: int, parts: int) -> Int[np.ndarray, "compositions parts"]:
    """All ways to write `total` as an ordered sum of `parts` counts."""
    number = math.comb(total + parts - 1, parts - 1)
    if number > MAX_COMPOSITIONS:
        raise InputError(
            f"{parts} reward levels and groups of {total} make {number:,} compositions, the limit is "
            f"{MAX_COMPOSITIONS:,}",
            mend="lower the group size, or round the rewards to fewer levels",
        )
    rows = np.zeros((1, 0), dtype=np.int64)
    for _ in range(parts - 1):
        left = total - rows.sum(axis=1)
        repeated = np.repeat(rows, left + 1, axis=0)
        last = np.concatenate([np.arange(n + 1) for n in left])
        rows = np.concatenate([repeated, last[:, None]], axis=1)
    return np.concatenate([rows, (total - rows.sum(axis=1))[:, None]], axis=1)


def _bare(objective: Objective) -> Objective:
    """What of an objective decides advantages and who is kept, so that methods that agree in it share the result."""
    advantage = objective.advantage
    if advantage.estimator == "gae":
        advantage = Advantage(threshold=advantage.threshold)
    return Objective(
        advantage=advantage, surrogate="log-likelihood", aggregation="sequence-mean-token-sum", keep=objective.keep
    )


@lru_cache(maxsize=256)
@in_float64
def _group_rule(
    rule: Objective, levels: tuple[float, ...], size: int
) -> tuple[Float[np.ndarray, "compositions levels"], Bool[np.ndarray, "compositions levels"]]:
    """Advantage of a member on each level, and whether it is kept, for a group of each composition."""
    counts = compositions(size, len(levels))
    rewards = np.repeat(np.tile(levels, len(counts)), counts.ravel()).reshape(len(counts), size)
    first = np.minimum(np.cumsum(counts, axis=1) - counts, size - 1)

    def one(reward: jax.Array, at: jax.Array) -> tuple[jax.Array, jax.Array]:
        token = jnp.zeros((size, 1))
        batch = Batch(token, token, token, jnp.ones_like(token), reward, jnp.zeros(size, dtype=jnp.int32))
        credit = assign_credit(rule, batch)
        return credit.advantage[at, 0], credit.scale[at, 0] > 0

    many = jax.jit(jax.vmap(one))
    # In blocks, for each group holds a few [size, size] arrays.
    blocks = [many(rewards[i : i + 256], first[i : i + 256]) for i in range(0, len(counts), 256)]
    advantage, kept = (np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*blocks, strict=True))
    return advantage, kept


def _sum_compositions(
    counts: Int[np.ndarray, "compositions levels"],
    kept: Bool[np.ndarray, "compositions levels"],
    coefficients: Float[np.ndarray, "compositions terms"],
    seen: Float[np.ndarray, "prompts levels nodes"],
    dropped: Float[np.ndarray, "prompts levels"],
) -> Float[np.ndarray, "prompts terms nodes"]:
    """Σ_n coefficient(n) (Σn)! Π_k ψ_k(x)^n_k / n_k!, with ψ_k the generating function of level k."""
    prompts, _, nodes = seen.shape
    total = np.zeros((prompts, coefficients.shape[1], nodes))
    if not len(counts):
        return total
    log_factorial = np.array([math.lgamma(n + 1) for n in range(int(counts.sum(axis=1).max()) + 1)])
    ways = log_factorial[counts.sum(axis=1)] - log_factorial[counts].sum(axis=1)
    step = max(1, _BLOCK // (prompts * nodes))
    for start in range(0, len(counts), step):
        block = slice(start, start + step)
        n, keep = counts[block].astype(np.float64), kept[block]
        exponent = (n * keep) @ seen + ((n * ~keep) @ dropped[..., None]) + ways[block, None]
        total += np.einsum("ct,xcq->xtq", coefficients[block], np.exp(exponent), optimize=True)
    return total


def _unit_quadrature(degree: int) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Gauss-Legendre nodes and weights on [0, 1], exact for polynomials of the given degree."""
    nodes, weights = np.polynomial.legendre.leggauss(min(degree // 2 + 1, MAX_NODES))
    return (nodes + 1) / 2, weights / 2


def _length_factor(objective: Objective, lengths: Int[np.ndarray, " lengths"]) -> Float[np.ndarray, " lengths"]:
    """What the aggregation divides a token's term by, besides the number of responses or tokens."""
    factor = np.ones(len(lengths))
    if objective.aggregation == "sequence-mean-token-mean":
        factor = 1 / lengths
    elif objective.aggregation == "sequence-mean-token-sum-norm":
        if objective.max_completion_length is None:
            raise ValueError("aggregation 'sequence-mean-token-sum-norm' needs max_completion_length")
        factor = factor / objective.max_completion_length
    if objective.importance_sampling_level == "sequence-product" and objective.surrogate in ("ratio", "clipped-ratio"):
        # Each of the L terms holds the ratio of the whole response, and with it every token's log-probability.
        factor = factor * lengths
    return factor


def _kl_slope(estimator: str, log_pi: EdgeLevels, log_ref: EdgeLevels) -> EdgeLevels:
    """d(estimate)/d(log π) of each token."""
    log_q = [ref - now for ref, now in zip(log_ref, log_pi, strict=True)]
    if estimator == "k1":
        return tuple(np.ones_like(level) for level in log_q)
    return tuple(-level if estimator == "k2" else -np.expm1(level) for level in log_q)


def _spread(mdp: TokenMDP, table: Float[np.ndarray, "prompts levels lengths"]) -> EdgeLevels:
    """The table's entry of each complete response."""
    prompt = np.arange(len(mdp.prompts))[:, None, None]
    return tree.on_endings(tuple(table[prompt, outcome, depth] for depth, outcome in enumerate(mdp.outcome)))


def _check_outcome_only(objective: Objective, groups: int) -> None:
    if objective.kl is not None and objective.kl.placement == "reward":
        raise InputError(
            "a KL term inside the reward makes every response an outcome of its own",
            mend="put the KL into the loss, or average over samples",
        )
    if objective.advantage.scale == "batch-std" and groups > 1:
        raise InputError(
            f"the batch standard deviation couples {groups} groups",
            mend="use one group a batch, or average over samples",
        )
