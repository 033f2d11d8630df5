"""Recover the advantage rule of a loss from its weights on responses of equal length: baseline, scale, ddof, ε.

Candidates are the rules of `objectives.Advantage`; the loss is recognised as the one that leaves no residual. Several
reward patterns and two group sizes tell apart what a single one could not: ddof 0 and 1 differ by a factor that depends
on the group size, and ε shows on rewards shrunk towards 0.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from mdp_theory.audit.departures import Evidence
from mdp_theory.audit.probes import EQUAL, GRADED, REWARDS, ROWS, SHRINKAGE, lay
from mdp_theory.audit.rules import EPS_FORMS, EpsForm, Keep, advantages, divides, fraction, kept_responses
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.objectives import Advantage

RECOGNISED = 1e-6


@dataclass(frozen=True)
class AdvantageFit:
    """The advantage rule found.

    Attributes:
        rule: the rule; its threshold is the least reward seen to count as correct.
        above: the greatest reward seen not to: the threshold lies between the two.
        keep: which responses take part.
        grouping: `ids`, or what the loss takes for groups instead: the whole `batch`, or so many consecutive rows.
        coefficient: weights at equal lengths are `coefficient · A / (responses kept)`; negative where the reward is
            minimised.
        eps_form: how ε enters the divisor.
        residual: relative distance left over.
    """

    rule: Advantage
    above: float
    keep: Keep
    grouping: str
    coefficient: float
    eps_form: EpsForm
    residual: float


class _Candidate(NamedTuple):
    """One rule, or two whose weighted sum is meant: that of positives and that of negatives."""

    rules: tuple[Advantage, ...]
    keep: Keep
    grouping: str


def recover_advantage(evidence: Evidence, *, offset: np.ndarray, ids_ignored: bool) -> AdvantageFit | None:
    """The rule that explains the weights at equal lengths.

    Args:
        offset: weights that do not come from the rewards (those of a k1 in the loss), [rows].
        ids_ignored: the loss does not look at group ids, so other groupings are tried.

    Returns:
        None where no candidate leaves a relative residual below `RECOGNISED`.
    """
    measured, room = [evidence[name] for name in _names()], evidence.fits(RECOGNISED)
    target = np.stack([each.response - offset for each in measured])
    usable = np.isfinite(target).all(axis=1)
    size = np.sqrt((target**2).sum(axis=1))
    if not usable.any() or not size[usable].max() > 0:
        return None
    # Each pattern counts alike; one without any weight counts by the largest of the others.
    row_weight = np.where(usable, 1 / np.where(size > 1e-9 * size[usable].max(), size, size[usable].max()), 0.0)
    target = np.where(usable[:, None], target, 0.0)
    plain = np.arange(len(target)) < len(REWARDS)

    def residual(columns: list[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, float]:
        scale = (row_weight * rows)[:, None]
        design = np.stack([(column * scale).ravel() for column in columns], axis=1)
        wanted = (target * scale).ravel()
        solution = np.linalg.lstsq(design, wanted, rcond=None)[0]
        return solution, float(np.linalg.norm(wanted - design @ solution) / np.linalg.norm(wanted))

    fits = []
    for candidate in _candidates(ids_ignored):
        shares = _shares(candidate.keep, candidate.rules[0].threshold)
        columns = [_advantages(rule, candidate.grouping) * shares for rule in candidate.rules]
        solution, error = residual(columns, plain)
        fits.append((error, candidate, solution))
    # A constant ε is a small disturbance at rewards of order 1: the right rule is among the nearest few. Rules that fit
    # exactly are the same rule on these probes; the sort is stable, and the simplest comes first.
    fits.sort(key=lambda fit: max(fit[0], room))
    best = next((fit for fit in fits if fit[0] < room), None)
    everywhere = np.ones(len(target), bool)
    if best is not None and not divides(best[1].rules[0]):
        error, candidate, solution = best
        return _fit(candidate, solution, "added", error)
    for _, candidate, _ in fits[:12]:
        if not divides(candidate.rules[0]):
            continue
        rule, form = _with_eps(candidate, lambda column: residual([column], everywhere)[1])
        divided = _divided(candidate, rule.eps, form)
        solution, error = residual([divided], everywhere)
        if error < room:
            return _fit(candidate._replace(rules=(rule,)), solution, form, error)
    if best is None:
        return None
    error, candidate, solution = best
    return _fit(candidate, solution, "added", error)


def reward_power(evidence: Evidence) -> float | None:
    """The power of a common factor of all rewards that the weights go with, roughly: 0 for a standardised advantage."""
    whole, shrunk = (evidence[name].response for name in ("reward: graded", f"shrunk: {SHRINKAGE[0]:g}"))
    factor = float(np.linalg.norm(shrunk)) / max(float(np.linalg.norm(whole)), 1e-300)
    return float(np.log(factor) / np.log(SHRINKAGE[0])) if np.isfinite(factor) and factor > 0 else None


def _names() -> list[str]:
    return [f"reward: {name}" for name in REWARDS] + [f"shrunk: {factor:g}" for factor in SHRINKAGE]


@cache
def _patterns() -> tuple[Batch, ...]:
    laid = [lay(reward=reward, group=group, length=EQUAL) for reward, group in REWARDS.values()]
    return (*laid, *(lay(reward=factor * GRADED, length=EQUAL) for factor in SHRINKAGE))


def levels() -> np.ndarray:
    """Every positive reward of the probes, in order: what a threshold can be told apart by."""
    rewards = np.concatenate([batch.reward for batch in _patterns()[: len(REWARDS)]])
    return np.unique(np.round(rewards[rewards > 0], 9))


def _candidates(ids_ignored: bool) -> Iterator[_Candidate]:
    keeps: tuple[Keep, ...] = ("all", "mixed-groups", "correct")
    divisors = [Advantage(), Advantage(scale="group-mean")]
    divisors += [Advantage(scale="group-std"), Advantage(scale="group-std", ddof=1)]
    divisors += [Advantage(scale="batch-std"), Advantage(scale="batch-std", ddof=1)]
    plain = [dataclasses.replace(rule, baseline="none") for rule in divisors]
    centred = [
        dataclasses.replace(rule, baseline=name) for name in ("group-mean", "leave-one-out") for rule in divisors
    ]
    whitened = [
        Advantage(baseline=baseline, whiten="responses", ddof=ddof)
        for baseline in ("none", "group-mean", "leave-one-out")
        for ddof in (0, 1)
    ]
    groupings = ["ids"] + (["batch", *(f"{n} rows" for n in (2, 3, 4, 6, 8, 12))] if ids_ignored else [])
    for grouping in groupings:
        for keep in keeps:
            yield from (_Candidate((rule,), keep, grouping) for rule in plain + centred)
            if grouping == "ids":
                yield from (_Candidate((rule,), keep, grouping) for rule in whitened)
            yield _Candidate(_pair("above-mean", 1.0), keep, grouping)
    for threshold in map(float, levels()[::-1]):
        yield from (_Candidate(_pair("correct", threshold), keep, "ids") for keep in keeps)
        for rule in centred:
            yield _Candidate((dataclasses.replace(rule, outcome="correct", threshold=threshold),), "all", "ids")


def _pair(outcome: Literal["correct", "above-mean"], threshold: float) -> tuple[Advantage, Advantage]:
    return (
        Advantage(outcome=outcome, positive=1.0, negative=0.0, threshold=threshold),
        Advantage(outcome=outcome, positive=0.0, negative=1.0, threshold=threshold),
    )


@cache
def _advantages(rule: Advantage, grouping: str) -> np.ndarray:
    """Advantages of every response of every pattern, [patterns, rows]."""
    return np.stack([advantages(rule, *_seen(batch, grouping), length=EQUAL) for batch in _patterns()])


@cache
def _fractions(rule: Advantage, grouping: str) -> tuple[np.ndarray, np.ndarray]:
    found = [fraction(rule, *_seen(batch, grouping), length=EQUAL) for batch in _patterns()]
    return np.stack([numerator for numerator, _ in found]), np.stack([divisor for _, divisor in found])


def _seen(batch: Batch, grouping: str) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and groups of a pattern, as the loss sees them."""
    group = np.asarray(batch.group)
    if grouping != "ids":
        group = np.arange(ROWS) // (ROWS if grouping == "batch" else int(grouping.split()[0]))
    return np.asarray(batch.reward), group


@cache
def _shares(keep: Keep, threshold: float) -> np.ndarray:
    """1 / (responses kept), 0 on those dropped, [patterns, rows]."""
    kept = np.stack([kept_responses(batch, keep, threshold) for batch in _patterns()])
    return kept / np.maximum(kept.sum(axis=1, keepdims=True), 1)


def _divided(candidate: _Candidate, eps: float, form: EpsForm) -> np.ndarray:
    """The rule's advantages over the responses kept, with ε in its divisor."""
    (rule,) = candidate.rules
    numerator, divisor = _fractions(dataclasses.replace(rule, eps=0.0), candidate.grouping)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(numerator != 0, numerator / EPS_FORMS[form](divisor, eps), 0.0)
    return np.where(np.isfinite(found), found, 0.0) * _shares(candidate.keep, rule.threshold)


def _with_eps(candidate: _Candidate, error: Callable[[np.ndarray], float]) -> tuple[Advantage, EpsForm]:
    """The ε that explains the shrunk rewards best."""

    def at(exponent: float, form: EpsForm) -> float:
        return error(_divided(candidate, 10.0**exponent, form))

    (rule,) = candidate.rules
    without = error(_divided(candidate, 0.0, "added"))
    coarse = min((at(exponent, form), exponent, form) for form in EPS_FORMS for exponent in np.arange(-16.0, 0.51, 0.5))
    if without < max(1e-9, 0.1 * coarse[0]):
        return dataclasses.replace(rule, eps=0.0), "added"
    _, centre, form = coarse
    eps = 10.0 ** _minimum(lambda exponent: at(exponent, form), centre - 0.5, centre + 0.5)
    short = float(f"{eps:.3g}")
    return dataclasses.replace(rule, eps=short if abs(short / eps - 1) < 1e-4 else eps), form


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search."""
    golden = (5**0.5 - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if function(left) < function(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def _fit(candidate: _Candidate, solution: np.ndarray, form: EpsForm, error: float) -> AdvantageFit:
    rule, coefficient = candidate.rules[0], float(solution[0])
    if len(solution) == 2:
        # The larger of the two weights becomes 1; both are negative where the reward is minimised.
        coefficient = float(np.copysign(np.abs(solution).max(), solution.sum()))
        positive, negative = (_short(weight / coefficient) for weight in solution)
        rule = dataclasses.replace(rule, positive=positive, negative=negative)
    below = levels()[levels() < rule.threshold - 1e-9]
    above = float(below[-1]) if len(below) else 0.0
    return AdvantageFit(rule, above, candidate.keep, candidate.grouping, coefficient, form, error)


def _short(number: float) -> float:
    """The number without its rounding."""
    return float(f"{number:.9g}") if abs(number) > 1e-12 else 0.0
