"""An objective as arrays: what outcomes, lengths and probability ratios do to the weight of a token, in expectation.

A group enters the weight of one of its members only through the outcomes of the others. So condition on one member and
take the expectation over the other G - 1: a sum over how many of them fall on each reward level (`Compositions`), or,
where those are too many, a sum of powers (`exact.powers`). The denominator may be random as well, where it counts
tokens, or responses over several groups; 1/D = ∫₀¹ x^(D-1) dx turns its expectation into an integral of generating
functions, which a quadrature graded towards x = 1 takes to rounding. What is left is one number for each (reward level,
length).

Nothing here knows a method by name. As rules are arrays, methods are a batch axis like any other: `stack` and vmap.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from mdp_theory.exact.groups import compositions, count_compositions, group_advantage, members_kept, of_one_group
from mdp_theory.exact.powers import Powers, powers
from mdp_theory.exact.quadrature import reciprocals
from mdp_theory.methods.kl import Penalty, penalty_of
from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.methods.ratio import Ratio, ratio_of
from mdp_theory.problems.tree import Array
from rino_base.messages import InputError

FEW_COMPOSITIONS = 5_000
"""Up to here the sum over compositions is quicker than any other."""

_BLOCK = 4_000_000  # Numbers in one temporary of a sum: 32 MB.


class Compositions(NamedTuple):
    """A group rule by how many members are on each level, one row for each way to spread them.

    Attributes:
        advantage: of a member on each level.
        kept: 1 where such a member takes part.
        denominator: of the group, where it is not left to the quadrature.
    """

    advantage: Float[Array, "compositions levels"]
    kept: Float[Array, "compositions levels"]
    denominator: Float[Array, " compositions"]


class Rule(NamedTuple):
    """An objective for groups of one size, on one set of reward levels and lengths.

    Attributes:
        group: what a group gives its members.
        measure: what a kept response of each length adds to the denominator.
        per_token: what its tokens' terms are multiplied with besides.
        nodes, node_weight: the quadrature for 1/D; the single node 1 where the group decides the denominator.
        ratio, penalty: what happens away from the sampling and the reference policy.
    """

    group: Compositions | Powers
    measure: Float[Array, " lengths"]
    per_token: Float[Array, " lengths"]
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
    apart: bool = True,
    chance: Float[np.ndarray, "prompts levels"] | None = None,
    noise: float = 0.0,
) -> Rule:
    """The rule of an objective; `quadrature` forces it where it is not needed, so that rules can be stacked.

    `apart` keeps the weights of advantages above and below zero apart, as clipping off-policy needs; on-policy, do
    without, and many levels cost no more than a few. `chance`, the probabilities of the levels where they are known,
    may spare work (`exact.powers`); `noise` is that of a problem with continuous rewards.

    Raises:
        InputError: the weights do not depend on outcomes and lengths alone, or groups are neither few compositions nor
            a short sum of powers.
    """
    _check_outcome_only(objective, groups)
    lengths = np.arange(1.0, horizon + 1)
    by_token = objective.aggregation == "token-mean"
    law = _group_law(objective, levels, num_generations=num_generations, apart=apart, chance=chance, noise=noise)
    nodes, node_weight = np.ones(1), np.ones(1)
    random = isinstance(law, Powers) and objective.keep == "correct"
    if by_token or groups > 1 or quadrature or random:
        largest = groups * num_generations * (horizon if by_token or quadrature else 1)
        nodes, node_weight = reciprocals(largest, 1 if quadrature or objective.keep == "correct" else num_generations)
        if isinstance(law, Compositions):
            law = law._replace(denominator=np.ones_like(law.denominator))
    elif isinstance(law, Powers):
        node_weight = node_weight / num_generations
    return Rule(
        group=law,
        measure=lengths if by_token else np.ones(horizon),
        per_token=length_factor(objective, lengths),
        nodes=nodes,
        node_weight=node_weight,
        ratio=_as_arrays(ratio_of(objective)),
        penalty=_as_arrays(penalty_of(objective)),
    )


def composition_law(
    objective: Objective, levels: Float[np.ndarray, " levels"], *, num_generations: int
) -> Compositions:
    """What a group gives its members, by how many are on each level; raises `InputError` where those are too many."""
    counts = compositions(num_generations, len(levels))
    kept = members_kept(objective, levels, counts).astype(np.float64)
    advantage = group_advantage(objective.advantage, levels, counts)
    return Compositions(advantage, kept, np.maximum((counts * kept).sum(axis=1), 1.0))


def stack(rules: Sequence[Rule]) -> Rule:
    """Several rules as one with a leading axis, for vmap."""
    laws = [rule.group for rule in rules]
    most = max(law.base.shape[1] if isinstance(law, Powers) else 0 for law in laws)
    padded = [
        rule._replace(group=_padded(law, most)) if isinstance(law, Powers) else rule
        for rule, law in zip(rules, laws, strict=True)
    ]
    return jax.tree.map(lambda *parts: np.stack(parts), *padded)


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
    node_powers = rule.nodes ** rule.measure[:, None]  # [lengths, nodes]
    seen, dropped = joint @ node_powers, joint.sum(axis=2)[..., None]  # kept members count, dropped ones do not
    if isinstance(rule.group, Powers):
        found, whole = _by_powers(rule.group, seen, dropped, num_generations)
    else:
        found, whole = _by_compositions(rule.group, seen, dropped, num_generations)
    others = xp.ones(node_powers.shape[1])
    if groups > 1:
        probability = xp.full(len(joint), 1 / len(joint)) if prompt_probability is None else prompt_probability
        others = (probability @ whole) ** (groups - 1)
    integrate = rule.node_weight[:, None] * (node_powers / rule.nodes).T * rule.per_token  # [nodes, lengths]
    positive, negative, share = (groups * num_generations * (part * others) @ integrate for part in found)
    return Table(positive, negative, share)


def _group_law(
    objective: Objective,
    levels: Float[np.ndarray, " levels"],
    *,
    num_generations: int,
    apart: bool,
    chance: Float[np.ndarray, "prompts levels"] | None,
    noise: float,
) -> Compositions | Powers:
    if objective.advantage.estimator == "gae":  # its weights are a critic's; the group decides denominators alone
        plain = Advantage(threshold=objective.advantage.threshold)
        objective = Objective(advantage=plain, surrogate="ratio", keep=objective.keep)
    options: dict[str, Any] = {"num_generations": num_generations, "apart": apart, "chance": chance}
    if noise:
        return powers(objective, levels, noise=noise, **options)
    number = count_compositions(num_generations, len(levels))
    if len(levels) == 2 or number <= FEW_COMPOSITIONS:
        return composition_law(objective, levels, num_generations=num_generations)
    try:
        return powers(objective, levels, **options)
    except InputError as refused:
        try:
            return composition_law(objective, levels, num_generations=num_generations)
        except InputError as error:
            raise InputError(f"{error.problem}; and {refused.problem}", mend=refused.mend) from None


def _by_compositions(law: Compositions, seen: Array, dropped: Array, size: int) -> tuple[Sequence[Array], Array]:
    """Positive, negative and share by prompt, level and node; and the generating function of a whole group."""
    xp = seen.__array_namespace__()
    levels = seen.shape[1]
    counts = compositions(size, levels)
    with np.errstate(divide="ignore"):
        # A level of probability 0 must give exp(-inf) = 0 where it occurs and 0 * log = 0 where it does not.
        seen, dropped = (xp.maximum(xp.log(part), -1e300) for part in (seen, dropped))
    whole = _sum_compositions(counts, law.kept, xp.ones((len(counts), 1)), seen, dropped)[:, 0]
    terms = xp.stack([xp.maximum(law.advantage, 0), xp.minimum(law.advantage, 0), xp.ones_like(law.advantage)])
    weighted = terms * law.kept / law.denominator[:, None]  # [terms, compositions, levels]
    found = []
    for level in range(levels):
        rows = np.flatnonzero(counts[:, level])
        rest = counts[rows] - np.eye(levels, dtype=int)[level]
        found.append(_sum_compositions(rest, law.kept[rows], weighted[:, rows, level].T, seen, dropped))
    return [xp.stack([part[:, term] for part in found], axis=1) for term in range(3)], whole


def _by_powers(law: Powers, seen: Array, dropped: Array, size: int) -> tuple[Sequence[Array], Array]:
    """The same from a sum of powers; where its weights are not kept apart, all of them are called positive."""
    xp = seen.__array_namespace__()
    prompts, _, nodes = seen.shape
    one = law.kept[:, None] * seen + (1 - law.kept[:, None]) * dropped
    everyone = raised(one.sum(axis=1), size - 1)
    share = law.kept[:, None] * (everyone[:, None] - law.mixed * raised(one, size - 1))
    whole = everyone * one.sum(axis=1) + law.mixed * (raised(dropped, size) - raised(one, size)).sum(axis=1)
    step = max(1, _BLOCK // (prompts * nodes))
    rows = one.transpose(0, 2, 1)  # [prompts, nodes, levels]
    total: Any = 0.0
    for start in range(0, law.base.shape[-1], step):
        block = slice(start, start + step)
        powers_of = raised(rows @ law.base[:, block], size - 1)
        total = total + (powers_of[:, None] @ law.coefficient[:, :, block].swapaxes(1, 2)).real
    weight = total.swapaxes(2, 3)  # [prompts, parts, levels, nodes]
    below = weight[:, 1] if weight.shape[1] == 2 else xp.zeros_like(weight[:, 0])
    return [weight[:, 0], below, share], whole


def raised(base: Array, exponent: int) -> Array:
    """By squaring: a dozen products where `**` takes a logarithm and an exponential."""
    result: Any = None
    while exponent:
        if exponent & 1:
            result = base if result is None else result * base
        exponent >>= 1
        if exponent:
            base = base * base
    return base * 0 + 1 if result is None else result


def _padded(law: Powers, nodes: int) -> Powers:
    """With two parts and so many nodes, the further ones nought; complex, as any of its companions may be."""
    parts, levels, own = law.coefficient.shape
    coefficient, base = np.zeros((2, levels, nodes), dtype=complex), np.zeros((levels, nodes), dtype=complex)
    coefficient[:parts, :, :own], base[:, :own] = law.coefficient, law.base
    return law._replace(coefficient=coefficient, base=base)


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


def length_factor(objective: Objective, lengths: Float[np.ndarray, " lengths"]) -> Float[np.ndarray, " lengths"]:
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
    of_one_group(objective.advantage)
    if objective.advantage.scale == "batch-std" and groups > 1:
        raise InputError(
            f"the batch standard deviation couples {groups} groups",
            mend="use one group a batch, or average over samples",
        )
