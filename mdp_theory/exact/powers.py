"""What a member earns in expectation over the others, as a sum of powers: polynomial in group size and levels.

The others are independent, so the expectation of a product of one factor for each is a power. An advantage is no
product, but an integral or a sum of products:

- (u - m) / σ: with Q = Σ (u_i - m)², 1/√Q = (2/√π) ∫ exp(-t²Q) dt and
  exp(-t²Q) = t √(G/π) ∫ Π_i exp(-t²(u_i - c)²) dc. Each inner integrand is a Gaussian in c around the mean m, so that
  u - m may be written u - c inside;
- u / m: 1/m is an integral of exp(-mτ);
- anything that sees the others through the sum of their rewards alone, where rewards are multiples of one step: a
  discrete Fourier transform takes the law of that sum from powers of the characteristic function;
- u - m itself: the derivative of a power, taken with a complex step (no difference of nearby numbers, hence exact).

So weight(k) = Re Σ_q coefficient[k, q] (Σ_j base[j, q] ψ_j)^(G-1), where ψ_j is the probability (or the generating
function of lengths) of level j. Compositions would be C(G+K-1, K-1) terms; these are a few thousand.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.special import ndtr

from mdp_theory.exact.groups import fixed_outcome
from mdp_theory.exact.quadrature import inverse, inverse_root
from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.problems.tree import Array
from rino_base.messages import InputError

MAX_NUMBERS = 20_000_000
"""Entries (levels times nodes) of one sum of powers: 160 MB of float64."""

_STEP = 1e-30  # Of the complex step; its square vanishes against 1.
_SPACING = 0.75  # Trapezoidal nodes for exp(-x²/2), in units of its width: off by exp(-2π²/0.75²) = 6e-16.
_REACH = 6.2  # exp(-6.2²) = 2e-17.


class Powers(NamedTuple):
    """A group rule as a sum of powers; `kept` and `mixed` say who takes part.

    Attributes:
        coefficient: of the parts of the weight: above and below zero, or one part that holds both.
        base: of each level in each power.
        kept: 1 for levels whose members take part.
        mixed: 1 where groups of one level are dropped.
    """

    coefficient: Shaped[Array, "parts levels nodes"]
    base: Shaped[Array, "levels nodes"]
    kept: Float[Array, " levels"]
    mixed: Float[Array, ""]


def powers(
    objective: Objective,
    levels: Float[np.ndarray, " levels"],
    *,
    num_generations: int,
    apart: bool,
    chance: Float[np.ndarray, "prompts levels"] | None = None,
    noise: float = 0.0,
) -> Powers:
    """The rule of an objective with outcome advantages; `apart` keeps weights above and below zero apart.

    `chance` (the probabilities of the levels, if they are known and fixed) leaves out what cannot matter there: groups
    that are nearly of one reward though not quite, where no reward is likely. `noise` is the standard deviation of
    normal noise on every reward, which makes rewards continuous. Raises `InputError` with the reason where the rule is
    no short sum of powers.
    """
    rule, size = objective.advantage, num_generations
    if noise:
        return _noisy(objective, levels, size, noise, apart=apart)
    outcome = fixed_outcome(rule, levels)
    if rule.baseline == "none" and rule.scale == "none" and outcome is not None:
        terms = _constant(outcome)
    elif rule.scale == "none" and outcome is not None and not apart:
        terms = _centred(rule, outcome, size)
    elif rule.scale in ("group-std", "batch-std") and rule.baseline != "none" and outcome is not None and not apart:
        terms = _standardised(rule, outcome, size, chance)
    elif rule.scale == "group-mean" and outcome is not None and not apart and outcome.min() >= 0:
        terms = _over_the_mean(rule, outcome, size)
    else:
        terms = _of_the_sum(rule, levels, outcome, size)
    coefficient, base = terms
    if objective.keep == "mixed-groups":  # less what groups of one level would have earned
        pure = np.diag(_alone(rule, outcome, len(levels)))
        pure = np.stack([np.maximum(pure, 0), np.minimum(pure, 0)]) if len(coefficient) == 2 else pure[None]
        coefficient = np.concatenate([coefficient, -pure], axis=2)
        base = np.concatenate([base, np.eye(len(levels))], axis=1)
    kept = (levels >= rule.threshold).astype(np.float64) if objective.keep == "correct" else np.ones(len(levels))
    return Powers(coefficient * kept[:, None], base, kept, np.float64(objective.keep == "mixed-groups"))


def _noisy(objective: Objective, levels: np.ndarray, size: int, noise: float, *, apart: bool) -> Powers:
    """With normal noise on every reward no two are equal, and integrals over it are in closed form."""
    rule = objective.advantage
    plain, centred = rule.baseline == "none" and rule.scale == "none", rule.baseline != "none"
    odds = ndtr((levels - rule.threshold) / noise)  # of counting as correct
    outcome = levels if rule.outcome == "reward" else rule.positive * odds - rule.negative * (1 - odds)
    if apart or objective.keep == "correct":
        terms = None
    elif plain and rule.outcome != "above-mean":
        terms = _constant(outcome)
    elif plain:
        terms = _of_the_sum(rule, levels, None, size, noise)
    elif rule.scale == "none" and rule.outcome == "reward":
        terms = _centred(rule, outcome, size)
    elif rule.scale in ("group-std", "batch-std") and centred and rule.outcome == "reward":
        terms = _standardised_noise(rule, outcome, size, noise)
    else:
        terms = None
    if terms is None:
        raise InputError(
            "this rule of rewards with continuous noise is not exact here",
            mend="take grpo, rloo, dr-grpo, reinforce or the cross-entropies, on-policy; or a reward without noise",
        )
    return Powers(*terms, np.ones(len(levels)), np.float64(0))


def _standardised_noise(rule: Advantage, outcome: np.ndarray, size: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """As `_standardised`, with E exp(-t²(u-c)²) over normal u: a wider and lower Gaussian."""
    spread = max(float(np.ptp(outcome)), noise)
    width = math.sqrt(size - rule.ddof) if size > rule.ddof else 1.0
    # Groups within a q-th of the noise are rare, as q^(G-1), and their advantages cancel; left out is less than 1e-14.
    smallest = (noise * min(1e-24 ** (1 / size), 1e-3)) ** 2
    t, weight = inverse_root(smallest, (spread + 12 * noise) ** 2 * size, offset=rule.eps * width)
    distinct = np.unique(outcome)
    places, found = [], []
    for now, w in zip(t.tolist(), weight.tolist(), strict=True):
        deviation = math.sqrt((1 + 2 * (now * noise) ** 2) / (2 * now**2))
        step = 2.0 ** math.floor(math.log2(_SPACING * deviation / math.sqrt(size)))
        reach = _REACH * math.sqrt(2) * deviation
        nodes = step * _near(distinct, reach, step)
        places.append(np.stack([np.full(len(nodes), now), nodes]))
        found.append(np.full(len(nodes), w * now * step * math.sqrt(size / math.pi) * width * _factor(rule, size)))
    now, centre = np.concatenate(places, axis=1)
    if now.size * len(outcome) > MAX_NUMBERS:
        raise InputError(
            f"noise {noise:g} on {len(outcome)} rewards and groups of {size} need {now.size:,} nodes, the limit is "
            f"{MAX_NUMBERS // len(outcome):,}",
            mend="round the rewards to fewer levels, or leave so small a noise out",
        )
    lower = 1 + 2 * (now * noise) ** 2
    distance = outcome[:, None] - centre
    base = np.exp(-((now * distance) ** 2) / lower) / np.sqrt(lower)
    return (np.concatenate(found) * distance / lower * base)[None], base


def _constant(outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = np.stack([np.maximum(outcome, 0), np.minimum(outcome, 0)])
    return parts[..., None], np.ones((len(outcome), 1))


def _centred(rule: Advantage, outcome: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """α (u - mean of the others), α = 1 leave-one-out and (G - 1) / G otherwise."""
    share = _factor(rule, size) * (size - 1) / size
    centre = outcome.mean()  # moves nothing, and keeps digits
    coefficient = np.stack([share * (outcome - centre), np.full(len(outcome), 1j * share / ((size - 1) * _STEP))], 1)
    return coefficient[None], np.stack([np.ones(len(outcome)), 1 + 1j * _STEP * (outcome - centre)], axis=1)


def _standardised(
    rule: Advantage, outcome: np.ndarray, size: int, chance: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(u - m) / (σ + ε), as a double integral over t and c."""
    distinct = np.unique(outcome)
    if len(distinct) == 1:
        return np.zeros((1, len(outcome), 1)), np.ones((len(outcome), 1))
    gap, spread = np.diff(distinct).min(), distinct[-1] - distinct[0]
    width = math.sqrt(size - rule.ddof) if size > rule.ddof else 1.0
    t, weight = inverse_root(gap**2 * (1 - 1 / size), spread**2 * size / 4, offset=rule.eps * width)
    if chance is not None:
        t, weight = _where_groups_spread(t, weight, outcome, chance, size)
    places, found, total = [], [], 0
    for now, w in zip(t.tolist(), weight.tolist(), strict=True):
        # A power of two, so that nodes are exact: their rounding would be the error where levels are close.
        step = 2.0 ** math.floor(math.log2(_SPACING / (now * math.sqrt(2 * size))))
        nodes = step * _near(distinct, _REACH / now, step)
        total += len(nodes)
        if total * len(outcome) > MAX_NUMBERS:
            raise InputError(
                f"{len(distinct)} reward levels, the closest {gap:.2g} apart, and groups of {size}: the "
                f"advantage needs more than {MAX_NUMBERS // len(outcome):,} nodes",
                mend="round the rewards to fewer levels, or take larger groups",
            )
        places.append(np.stack([np.full(len(nodes), now), nodes]))
        found.append(np.full(len(nodes), w * now * step * math.sqrt(size / math.pi) * width * _factor(rule, size)))
    now, centre = np.concatenate(places, axis=1)
    distance = outcome[:, None] - centre
    base = np.exp(-((now * distance) ** 2))
    return (np.concatenate(found) * distance * base)[None], base


def _where_groups_spread(
    t: np.ndarray, weight: np.ndarray, outcome: np.ndarray, chance: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Only the nodes at which a group can still be within 1/t of one place, to 1e-17 of a weight."""
    rows = np.argsort(outcome)
    at, mass = outcome[rows], np.concatenate([np.zeros((len(chance), 1)), np.cumsum(chance[:, rows], axis=1)], axis=1)
    most = []
    for now in t:
        reach = _REACH / now
        low, high = np.searchsorted(at, at - reach), np.searchsorted(at, at + 2 * reach, side="right")
        most.append((mass[:, high] - mass[:, low]).max())
    seen = np.array(most) ** (size - 1) > 1e-17 / size
    return t[seen], weight[seen]


def _near(levels: np.ndarray, reach: float, step: float) -> Int[np.ndarray, " nodes"]:
    """Multiples of `step` within `reach` of some level, as whole numbers, ascending and each once."""
    low, high = np.floor((levels - reach) / step), np.ceil((levels + reach) / step)
    joined, ends = [0], np.maximum.accumulate(high)
    joined += (np.flatnonzero(low[1:] > ends[:-1]) + 1).tolist()
    last = [*(i - 1 for i in joined[1:]), len(levels) - 1]
    return np.concatenate([np.arange(low[i], ends[j] + 1) for i, j in zip(joined, last, strict=True)])


def _over_the_mean(rule: Advantage, outcome: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """u / (m + ε), or (u - m) / (m + ε) = (u + ε) / (m + ε) - 1, for outcomes that are not negative."""
    rest = size * rule.eps
    positive = outcome[outcome > 0]
    if not len(positive):
        return np.zeros((1, len(outcome), 1)), np.ones((len(outcome), 1))
    node, weight = inverse(positive.min() + rest if rest == 0 else rest, size * outcome.max() + rest)
    base = np.exp(-outcome[:, None] * node)
    top = outcome if rule.baseline == "none" else outcome + rule.eps
    coefficient = size * top[:, None] * weight * np.exp(-rest * node) * base
    if rule.baseline != "none":
        factor = _factor(rule, size)
        none = (outcome + rule.eps == 0).astype(np.float64)  # a group of zeros has no mean to divide by
        coefficient = factor * np.concatenate([coefficient, np.full((len(outcome), 1), -1.0), none[:, None]], axis=1)
        base = np.concatenate([base, np.ones((len(outcome), 1)), none[:, None]], axis=1)
    return coefficient[None], base


def _of_the_sum(
    rule: Advantage, levels: np.ndarray, outcome: np.ndarray | None, size: int, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Any function of the own reward and of the sum of the others', for rewards that are multiples of one step."""
    plain = rule.baseline == "none" and rule.scale == "none"
    if rule.scale.endswith("std") or (outcome is None and not plain):
        raise InputError(
            "advantages above and below zero apart, or of this kind, are no function of the group's sum of rewards",
            mend="lower the group size or round the rewards to fewer levels; on-policy GRPO and its kin need neither",
        )
    seen = levels if outcome is None else outcome
    place, step = lattice(seen)
    longest = (size - 1) * int(place.max()) + 1
    if longest * len(levels) > MAX_NUMBERS:
        raise InputError(
            f"{len(levels)} rewards that are multiples of {step:g} and groups of {size} make {longest:,} sums, "
            f"the limit is {MAX_NUMBERS // len(levels):,}",
            mend="round the rewards to multiples of something larger",
        )
    total = np.arange(longest) + place[:, None]  # of the whole group, in steps above the lowest
    if outcome is None:
        above = size * place[:, None] - total
        advantage = np.where(above > 0, rule.positive, np.where(above < 0, -rule.negative, 0.0))
        if noise:
            odds = ndtr(step * above / (noise * math.sqrt(size * (size - 1))))
            advantage = rule.positive * odds - rule.negative * (1 - odds)
    else:
        mean = seen.min() + step * total / size
        advantage = np.broadcast_to(seen[:, None], mean.shape)
        if rule.baseline != "none":
            # Exactly 0 where a group is at its mean.
            advantage = step * (size * place[:, None] - total) / size * _factor(rule, size)
        if rule.scale == "group-mean":
            divisor = mean + rule.eps
            divisor = np.where(np.abs(divisor) < 1e-12 * np.abs(seen).max(), 0.0, divisor)
            advantage = np.where(divisor != 0, advantage / np.where(divisor != 0, divisor, 1.0), 0.0)
    parts = np.stack([np.maximum(advantage, 0), np.minimum(advantage, 0)])
    wave = np.arange(longest // 2 + 1)
    twice = np.where((wave > 0) & (2 * wave < longest), 2.0, 1.0) / longest  # the other half is conjugate
    coefficient = np.fft.rfft(parts, axis=2) * twice
    angle = 2 * math.pi * ((place[:, None] * wave) % longest) / longest
    return coefficient, np.exp(1j * angle)


def lattice(values: Float[np.ndarray, " levels"]) -> tuple[Int[np.ndarray, " levels"], float]:
    """Values as whole numbers of steps above the lowest, and the step; raises `InputError` where there is none."""
    above = values - values.min()
    scale = above.max() if above.max() > 0 else 1.0
    parts = [Fraction(float(value)).limit_denominator(10_000) for value in above / scale]
    whole = math.lcm(*(part.denominator for part in parts))
    close = all(abs(float(part) - value) < 1e-12 for part, value in zip(parts, above / scale, strict=True))
    if not close or whole > 10_000_000:
        raise InputError(
            "which side of the group's mean a reward is on needs rewards that are multiples of one step",
            mend="round the rewards, to three decimals for instance, or take fewer levels or smaller groups",
        )
    return np.array([int(part * whole) for part in parts]), float(scale) / whole


def _alone(rule: Advantage, outcome: np.ndarray | None, levels: int) -> Float[np.ndarray, " levels"]:
    """The advantage in a group of one level."""
    if outcome is None or rule.baseline != "none" or rule.scale.endswith("std"):
        return np.zeros(levels)
    if rule.scale == "group-mean":
        divisor = outcome + rule.eps
        return np.where(divisor != 0, outcome / np.where(divisor != 0, divisor, 1.0), 0.0)
    return outcome


def _factor(rule: Advantage, size: int) -> float:
    return size / max(size - 1, 1) if rule.baseline == "leave-one-out" else 1.0
