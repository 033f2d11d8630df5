"""An objective as arrays: what outcomes, lengths and probability ratios do to the weight of a token, in expectation.

A group enters the weight of one of its members only through the outcomes of the others. So condition on one member and
sum over how many of the other G - 1 fall on each reward level (a multinomial). The denominator may be random as well,
where it counts tokens, or responses over several groups; 1/D = ∫₀¹ x^(D-1) dx turns its expectation into an integral
of generating functions, which a quadrature graded towards x = 1 takes to rounding. What is left is one number for each
(reward level, length).

Nothing here knows a method by name: advantages come from `objectives.assign_credit` on a group of each composition. As
rules are arrays, methods are a batch axis like any other: `stack` them and vmap.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from mdp_theory.methods.batch import Batch
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.kl import Penalty, penalty_of
from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.methods.ratio import Ratio, ratio_of
from mdp_theory.precision import QUICK_COMPILATION, in_float64
from mdp_theory.problems.tree import Array
from rino_base.messages import InputError

MAX_COMPOSITIONS = 200_000
"""Ways to spread a group over the reward levels; each needs one evaluation of the advantage rule."""

_BLOCK = 4_000_000  # Numbers in one temporary of the sum over compositions: 32 MB.


class Rule(NamedTuple):
    """An objective for groups of one size, on one set of reward levels and lengths.

    Attributes:
        advantage: of a member on each level, in a group of each composition.
        kept: 1 where such a member takes part.
        measure: what a kept response of each length adds to the denominator.
        per_token: what its tokens' terms are multiplied with besides.
        denominator: of a group of each composition, where it is not left to the quadrature.
        nodes, node_weight: the quadrature for 1/D; the single node 1 where the composition decides the denominator.
        ratio, penalty: what happens away from the sampling and the reference policy.
    """

    advantage: Float[Array, "compositions levels"]
    kept: Float[Array, "compositions levels"]
    measure: Float[Array, " lengths"]
    per_token: Float[Array, " lengths"]
    denominator: Float[Array, " compositions"]
    nodes: Float[Array, " nodes"]
    node_weight: Float[Array, " nodes"]
    ratio: Ratio
    penalty: Penalty


class Table(NamedTuple):
    """What a response earns in expectation, by prompt, reward level and length (column l is length l + 1).

    `positive` and `negative` are the parts of the expected weight of each of its tokens that come from advantages above
    and below zero (clipping tells them apart), `share` is the expected scale of each token's term (what a KL penalty or
    a critic's credit is multiplied with). All are summed over the batch, so that on-policy
    Σ_y P(y) weight(y) Σ_t ∇log π(a_t) is the expected ascent direction.
    """

    positive: Float[Array, "prompts levels lengths"]
    negative: Float[Array, "prompts levels lengths"]
    share: Float[Array, "prompts levels lengths"]

    @property
    def weight(self) -> Float[Array, "prompts levels lengths"]:
        """The expected weight of each token of a response."""
        return self.positive + self.negative


def rule_of(
    objective: Objective,
    levels: Float[np.ndarray, " levels"],
    horizon: int,
    *,
    num_generations: int,
    groups: int = 1,
    quadrature: bool = False,
) -> Rule:
    """The rule of an objective; `quadrature` forces it where it is not needed, so that rules can be stacked.

    Raises `InputError` when the weights do not depend on outcomes and lengths alone, or compositions are too many.
    """
    _check_outcome_only(objective, groups)
    counts = compositions(num_generations, len(levels))
    advantage, kept = _group_rule(_bare(objective), tuple(levels.tolist()), num_generations)
    lengths = np.arange(1.0, horizon + 1)
    by_token = objective.aggregation == "token-mean"
    nodes, node_weight = np.ones(1), np.ones(1)
    denominator = np.maximum((counts * kept).sum(axis=1), 1.0)
    if by_token or groups > 1 or quadrature:
        nodes, node_weight = reciprocals(groups * num_generations * (horizon if by_token or quadrature else 1))
        denominator = np.ones(len(counts))
    return Rule(
        advantage=advantage,
        kept=kept.astype(np.float64),
        measure=lengths if by_token else np.ones(horizon),
        per_token=_length_factor(objective, lengths),
        denominator=denominator,
        nodes=nodes,
        node_weight=node_weight,
        ratio=_as_arrays(ratio_of(objective)),
        penalty=_as_arrays(penalty_of(objective)),
    )


def stack(rules: Sequence[Rule]) -> Rule:
    """Several rules as one with a leading axis, for vmap."""
    return jax.tree.map(lambda *parts: np.stack(parts), *rules)


def outcome_table(
    rule: Rule,
    joint: Float[Array, "prompts levels lengths"],
    *,
    num_generations: int,
    groups: int = 1,
    prompt_probability: Float[Array, " prompts"] | None = None,
) -> Table:
    """Expected weights of each outcome and length, exact for `groups` groups of `num_generations` responses a batch.

    `joint[x, k, l]` is the probability that a response to prompt x has reward level k and length l + 1. The prompts of
    the other groups of the batch are drawn from `prompt_probability`, by default uniformly.
    """
    xp = joint.__array_namespace__()
    counts = compositions(num_generations, joint.shape[1])
    powers = rule.nodes ** rule.measure[:, None]  # [lengths, nodes]
    # A level of probability 0 must give exp(-inf) = 0 where it occurs and 0 * log = 0 where it does not.
    with np.errstate(divide="ignore"):
        seen = xp.maximum(xp.log(joint @ powers), -1e300)  # [prompts, levels, nodes]: kept members count
        dropped = xp.maximum(xp.log(joint.sum(axis=2)), -1e300)[..., None]  # dropped ones do not
    others = xp.ones(powers.shape[1])
    if groups > 1:
        chance = xp.full(len(joint), 1 / len(joint)) if prompt_probability is None else prompt_probability
        group = _sum_compositions(counts, rule.kept, xp.ones((len(counts), 1)), seen, dropped)[:, 0]
        others = (chance @ group) ** (groups - 1)
    terms = xp.stack([xp.maximum(rule.advantage, 0), xp.minimum(rule.advantage, 0), xp.ones_like(rule.advantage)])
    weighted = terms * rule.kept / rule.denominator[:, None]  # [terms, compositions, levels]
    integrate = rule.node_weight[:, None] * (powers / rule.nodes).T * rule.per_token  # [nodes, lengths]
    found = []
    for level in range(joint.shape[1]):
        rows = np.flatnonzero(counts[:, level])
        rest = counts[rows] - np.eye(joint.shape[1], dtype=int)[level]
        summed = _sum_compositions(rest, rule.kept[rows], weighted[:, rows, level].T, seen, dropped)
        found.append(groups * num_generations * ((summed * others) @ integrate))  # [prompts, terms, lengths]
    positive, negative, share = (xp.stack([part[:, term] for part in found], axis=1) for term in range(3))
    return Table(positive, negative, share)


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


def unit_quadrature(degree: int) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Gauss-Legendre nodes and weights on [0, 1], exact for polynomials of the given degree."""
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    return (nodes + 1) / 2, weights / 2


def reciprocals(largest: int) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Nodes x and weights with Σ weight x^(D-1) = 1/D for D = 1 ... `largest`: to 2e-15 for 1,000, 5e-13 for 100,000.

    x^(D-1) is close to exp(-D (1-x)), so the panels halve towards 1 until the last is as narrow as 1 / `largest`. One
    rule over all of [0, 1] would need more nodes, and numpy's lose three digits at a few hundred.
    """
    places, weights = unit_quadrature(31)
    edges = np.concatenate([[0.0], 0.5 ** np.arange(math.ceil(math.log2(largest)), -1, -1)])
    width = np.diff(edges)[:, None]
    return 1 - (edges[:-1, None] + width * places).ravel(), (width * weights).ravel()


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

    many = jax.jit(jax.vmap(one), compiler_options=QUICK_COMPILATION)
    # In blocks, for each group holds a few [size, size] arrays.
    blocks = [many(rewards[i : i + 256], first[i : i + 256]) for i in range(0, len(counts), 256)]
    advantage, kept = (np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*blocks, strict=True))
    return advantage, kept


def _sum_compositions(
    counts: Int[np.ndarray, "compositions levels"],
    kept: Float[Array, "compositions levels"],
    coefficients: Float[Array, "compositions terms"],
    seen: Float[Array, "prompts levels nodes"],
    dropped: Float[Array, "prompts levels 1"],
) -> Float[Array, "prompts terms nodes"]:
    """Σ_n coefficient(n) (Σn)! Π_k ψ_k(x)^n_k / n_k!, with ψ_k the generating function of level k."""
    xp = seen.__array_namespace__()
    prompts, _, nodes = seen.shape
    log_factorial = np.array([math.lgamma(n + 1) for n in range(int(counts.sum(axis=1).max()) + 1)])
    ways = log_factorial[counts.sum(axis=1)] - log_factorial[counts].sum(axis=1)
    step = max(1, _BLOCK // (prompts * nodes))
    total: Any = 0.0
    for start in range(0, len(counts), step):
        block = slice(start, start + step)
        n, keep = counts[block].astype(np.float64), kept[block]
        exponent = (n * keep) @ seen + (n * (1 - keep)) @ dropped + ways[block, None]
        total = total + coefficients[block].T @ xp.exp(exponent)
    return total


def _length_factor(objective: Objective, lengths: Float[np.ndarray, " lengths"]) -> Float[np.ndarray, " lengths"]:
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


def _as_arrays(numbers: Any) -> Any:
    """Numbers as arrays, so that rules stack."""
    return type(numbers)(*map(np.float64, numbers))


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
