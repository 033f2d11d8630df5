"""The noise of a group's gradient ĝ = (1/G) Σ A_i s_i, exactly at every G, with no group visited (theorem T17).

Two members of a group are independent but for their advantages, which see each other's outcomes. So the second moment
needs the advantages of one member, and of two, averaged over the outcomes of the others; what the scores contribute are
moments of one response. Besides the exact noise on a problem there is a floor that holds on every problem and for every
model: the part that the outcomes alone cause, a function of p, G and the rule.

How many groups a step needs: on n groups the mean gradient has the squared relative error ρ/n, ρ = tr Cov / ‖E ĝ‖² (the
"simple noise scale" of 1812.06162 in units of groups), and the expected progress of the best step is n/(n + ρ) of what
it would be without noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mdp_theory.exact.groups import compositions
from mdp_theory.exact.rules import Compositions, composition_law, length_factor
from mdp_theory.exact.variance import second_moment
from mdp_theory.methods.objectives import Objective
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from mdp_theory.problems.turns import learned, own_lengths, speak
from rino_base.messages import InputError

Points = Float[np.ndarray, " points"]


class Moments(NamedTuple):
    """Moments of the advantages of a group's members, by success probability.

    Attributes:
        coefficient: c(p) of theorem T5.
        right, wrong: E[A²] of a right and of a wrong response.
        pair: m, such that the pairs contribute ((G−1)/G) m ∇p∇pᵀ to E[ĝĝᵀ].
        silent: the probability of a group without a gradient: all its advantages are 0.
    """

    coefficient: Points
    right: Points
    wrong: Points
    pair: Points
    silent: Points


def moments(objective: Objective, p: Points, *, num_generations: int) -> Moments:
    """The moments of a rule at group size G: binary reward, no division by the length.

    Raises:
        InputError: a method with a critic, or a group of fewer than two.
    """
    wrong, right = binary_weights(objective, num_generations)
    size = num_generations
    others, rest, all_ = (binomial(n, p) for n in (size - 1, size - 2, size))
    two_right, mixed, two_wrong = right[2:] ** 2, right[1:-1] * wrong[1:-1], wrong[:-2] ** 2
    lively = np.arange(size + 1) * right**2 + (size - np.arange(size + 1)) * wrong**2 > 0
    return Moments(
        coefficient=others @ (right[1:] - wrong[:-1]),
        right=others @ right[1:] ** 2,
        wrong=others @ wrong[:-1] ** 2,
        pair=rest @ (two_right - 2 * mixed + two_wrong),
        silent=all_ @ ~lively,
    )


def noise_scale(objective: Objective, p: Points, *, num_generations: int, score_noise: float = 0.0) -> Points:
    """ρ in groups, from p, G and the rule alone; with `score_noise` 0 the floor that no model is below (theorem T17).

    The floor is the variance of E[ĝ | outcomes] over c(p)² ‖∇p‖². `score_noise` is χ: how much scores vary among
    responses of one outcome, over how much the mean score varies between the two, ‖∇p‖²/(p(1−p)); taken to be the same
    for right and wrong responses. Infinite where c(p) is 0.

    Raises:
        InputError: a probability outside (0, 1), or a negative `score_noise`.
    """
    p = np.asarray(p, dtype=np.float64)
    if not ((p > 0) & (p < 1)).all():
        raise InputError("a success probability is not between 0 and 1", mend="there is no signal at 0 and at 1")
    if score_noise < 0:
        raise InputError(f"score_noise is {score_noise:g}", mend="a variance is at least 0")
    found, size, q = moments(objective, p, num_generations=num_generations), num_generations, 1 - p
    outcomes = (found.right / p + found.wrong / q) / size + (size - 1) / size * found.pair
    scores = score_noise * (p * found.right + q * found.wrong) / (p * q * size)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(found.coefficient != 0, (outcomes + scores) / found.coefficient**2 - 1, np.inf)


def groups_needed(scale: Points | float, progress: float) -> Points | float:
    """n such that a step on n groups makes this share of the progress of a step without noise: n/(n + ρ) = `progress`.

    Raises:
        InputError: a share outside (0, 1).
    """
    if not 0 < progress < 1:
        raise InputError(
            f"the share of the progress is {progress:g}", mend="give a number between 0 and 1, such as 0.9"
        )
    return scale * progress / (1 - progress)


@dataclass(frozen=True)
class Noise:
    """The noise of one group's gradient in the logits, for each prompt.

    Attributes:
        signal: ‖E ĝ‖².
        trace: tr Cov ĝ.
        outcome: the part of the trace that the outcomes cause: tr Cov E[ĝ | outcomes].
        variance: Var ĝ in every logit.
    """

    signal: Float[np.ndarray, " prompts"]
    trace: Float[np.ndarray, " prompts"]
    outcome: Float[np.ndarray, " prompts"]
    variance: EdgeLevels

    @property
    def scale(self) -> Float[np.ndarray, " prompts"]:
        """ρ = tr Cov / ‖E ĝ‖²: the number of groups at which noise and signal are equal; infinite without signal."""
        return np.where(self.signal > 0, self.trace / np.where(self.signal > 0, self.signal, 1.0), np.inf)


class Scores(NamedTuple):
    """Moments of one response's score by its reward level: what a problem contributes to the noise of every rule.

    Attributes:
        chance: the probability of each level.
        first, second: for each level E[f(L) s; level] and E[f(L)² s²; level] in every logit, with the factor f of the
            length.
    """

    chance: Float[np.ndarray, "prompts levels"]
    first: tuple[EdgeLevels, ...]
    second: tuple[EdgeLevels, ...]


def score_moments(mdp: TokenMDP, logits: EdgeLevels, per_token: Float[np.ndarray, " lengths"]) -> Scores:
    """The moments, for a factor `per_token` by length 1, 2, …; linear in the number of prefixes."""
    mdp.refuse_noise("the noise of a group")
    probability = tree.policy(speak(mdp, logits))
    factor = [per_token[length - 1] for length in own_lengths(mdp)]
    first, second, mass = [], [], []
    for level in range(len(mdp.reward_levels)):
        hit = tuple((outcome == level).astype(np.float64) for outcome in mdp.outcome)
        weight = tree.on_endings(tuple(h * f for h, f in zip(hit, factor, strict=True)))
        square = tree.on_endings(tuple(h * f**2 for h, f in zip(hit, factor, strict=True)))
        reached = tree.expectation(probability, weight, moves=mdp.moves)[0]
        first.append(learned(mdp, tree.logit_gradient(probability, reached, moves=mdp.moves)))
        told = tree.expectation(probability, square, moves=mdp.moves)[0]
        second.append(learned(mdp, second_moment(probability, told, moves=mdp.moves)))
        mass.append(mdp.at_start(tree.expectation(probability, tree.on_endings(hit), moves=mdp.moves)[1]))
    return Scores(np.stack(mass, axis=1), tuple(first), tuple(second))


def group_noise(
    objective: Objective, mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int, scores: Scores | None = None
) -> Noise:
    """Mean and variance of one group's gradient, given the prompt; any reward levels, with 1/L or without.

    On-policy; a KL term is left out. Time and memory are linear in the number of prefixes. `scores` are those of
    `score_moments` with the rule's factor of the length, where they are known.

    Raises:
        InputError: the weights depend on more than outcomes and lengths, the denominator counts tokens, or there are
            too many compositions of a group.
    """
    law = _law(objective, mdp, num_generations)
    if scores is None:
        scores = score_moments(mdp, logits, length_factor(objective, np.arange(1.0, mdp.horizon + 1)))
    chance, first, second = scores
    one, one_square, two = _tables(law, chance, num_generations)
    size, levels = num_generations, range(chance.shape[1])
    mean = _combine(one, first)
    crossed = [np.zeros_like(level) for level in mean]
    for j in levels:
        for k in levels:
            for total, a, b in zip(crossed, first[j], first[k], strict=True):
                total += two[:, j, k][:, None, None] * a * b
    own = _combine(one_square, second)
    variance = tuple(s / size + (size - 1) / size * pair - m**2 for s, pair, m in zip(own, crossed, mean, strict=True))
    trace = sum(level.sum(axis=(1, 2)) for level in variance)
    within = 0.0
    for k in levels:
        # Given its outcome, a score varies around the mean score of that outcome.
        share = np.where(chance[:, k] > 0, 1 / np.where(chance[:, k] > 0, chance[:, k], 1.0), 0.0)
        spread = sum(level.sum(axis=(1, 2)) for level in second[k]) - share * tree.inner(first[k], first[k])
        within = within + one_square[:, k] * spread / size
    return Noise(tree.inner(mean, mean), trace, trace - within, variance)


def batch_noise(noise: Noise, mdp: TokenMDP, *, prompts: int) -> dict[str, float]:
    """The same for a step on several prompts drawn from the problem, one group each: `signal`, `trace`, `scale`.

    Which prompts are drawn is part of the noise. Logits of different prompts are different parameters here, so that a
    prompt that is not drawn teaches nothing about another; `scale` is in batches.
    """
    if prompts < 1:
        raise InputError(f"a batch of {prompts} prompts", mend="give at least 1")
    chance = mdp.prompt_probability
    signal = float(chance**2 @ noise.signal)
    trace = (float(chance @ (noise.trace + noise.signal)) - signal) / prompts
    return {"signal": signal, "trace": trace, "scale": trace / signal if signal > 0 else math.inf}


def _law(objective: Objective, mdp: TokenMDP, num_generations: int) -> Compositions:
    _refuse(objective, num_generations)
    if objective.aggregation == "token-mean":
        raise InputError(
            "a mean over all tokens of a group has a random denominator, whose square the exact noise would need",
            mend="use an aggregation over sequences, such as population.without_length(objective)",
        )
    return composition_law(objective, mdp.reward_levels, num_generations=num_generations)


def _refuse(objective: Objective, num_generations: int) -> None:
    if objective.advantage.estimator != "outcome":
        raise InputError("the weights of a critic are no function of the outcomes", mend="see exact.variance for those")
    if num_generations < 2:
        raise InputError(f"num_generations is {num_generations}", mend="a group needs two responses to be compared")


def binary_weights(objective: Objective, size: int) -> tuple[Points, Points]:
    """What a wrong and a right response of a group with 0 … G right ones is weighed with: A, and 0 where dropped."""
    _refuse(objective, size)
    law = composition_law(objective, np.array([0.0, 1.0]), num_generations=size)
    weight = law.advantage * law.kept * (size / law.denominator)[:, None]
    order = np.argsort(compositions(size, 2)[:, 1])
    return weight[order, 0], weight[order, 1]


def binomial(n: int, p: Points) -> Float[np.ndarray, "points counts"]:
    """The probabilities of 0 … n right ones."""
    k = np.arange(n + 1)
    if n <= 1_000:
        return np.array([float(math.comb(n, int(j))) for j in k]) * p[:, None] ** k * (1 - p[:, None]) ** (n - k)
    ways = math.lgamma(n + 1) - np.array([math.lgamma(j + 1) + math.lgamma(n - j + 1) for j in k])
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(np.stack([p, 1 - p])), -1e300)
    return np.exp(ways + logs[0][:, None] * k + logs[1][:, None] * (n - k))


def _tables(
    law: Compositions, chance: Float[np.ndarray, "prompts levels"], size: int
) -> tuple[
    Float[np.ndarray, "prompts levels"], Float[np.ndarray, "prompts levels"], Float[np.ndarray, "prompts levels levels"]
]:
    """E[A] and E[A²] of a member on each level, and E[A A'] of two members, over the outcomes of the others."""
    counts = compositions(size, chance.shape[1])
    weight = law.advantage * law.kept * (size / law.denominator)[:, None]
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(chance), -1e300)
    factorial = np.array([math.lgamma(n + 1) for n in range(size + 1)])

    def probability(rest: Float[np.ndarray, "compositions levels"]) -> Float[np.ndarray, "prompts compositions"]:
        """Of these outcomes of the others; 0 where a count is negative."""
        possible = (rest >= 0).all(axis=1)
        n = np.maximum(rest, 0).astype(int)
        ways = factorial[n.sum(axis=1)] - factorial[n].sum(axis=1)
        return np.exp(logs @ n.T.astype(np.float64) + ways) * possible

    unit = np.eye(chance.shape[1], dtype=int)
    one, square = np.zeros_like(chance), np.zeros_like(chance)
    two = np.zeros((*chance.shape, chance.shape[1]))
    for j in range(chance.shape[1]):
        rest = probability(counts - unit[j])
        one[:, j], square[:, j] = rest @ weight[:, j], rest @ weight[:, j] ** 2
        for k in range(chance.shape[1]):
            two[:, j, k] = probability(counts - unit[j] - unit[k]) @ (weight[:, j] * weight[:, k])
    return one, square, two


def _combine(table: Float[np.ndarray, "prompts levels"], parts: Sequence[EdgeLevels]) -> EdgeLevels:
    """Σ_k table[:, k] parts[k]."""
    columns = zip(*parts, strict=True)
    return tuple(sum(table[:, k][:, None, None] * part for k, part in enumerate(column)) for column in columns)
