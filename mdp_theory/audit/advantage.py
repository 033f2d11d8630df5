"""Candidates for a loss's advantage rule, and which of them its weights on responses of equal length leave.

A candidate says what stands over the last division and under it: which responses have weight, of which sign, and what
they are divided by. To which power, and beside what else, is for the fit to say (`form`).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from mdp_theory.audit.departures import Evidence
from mdp_theory.audit.fit import RECOGNISED, Column, digits, least
from mdp_theory.audit.probes import REWARDS, ROWS, SHRINKAGE, probes
from mdp_theory.audit.rules import EPS_FORMS, EpsForm, Keep, fraction, kept_responses
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.credit import divides
from mdp_theory.methods.objectives import Advantage

PLAIN = tuple(f"reward: {name}" for name in REWARDS)
SHRUNK = tuple(f"shrunk: {factor:g}" for factor in SHRINKAGE)
_SIZE, NEGATIVE = "G/(G - 1)", "negative"


class Credit(NamedTuple):
    """A rule on a probe: its numerator, 0 where a response has no weight; its divisor without ε; 1 for responses that
    take part; logarithms of what else may multiply the weight; all [rows]."""

    numerator: Column
    divisor: Column
    kept: Column
    features: Mapping[str, Column]


@dataclass(frozen=True)
class AdvantageFit:
    """An advantage rule, found or still a candidate.

    Attributes:
        rule: the rule; its threshold is the least reward seen to count as correct.
        keep: which responses take part.
        grouping: `ids`, or what the loss takes for groups instead: the whole `batch`, or so many consecutive rows.
        eps_form: how ε enters the divisor.
    """

    rule: Advantage
    keep: Keep = "all"
    grouping: str = "ids"
    eps_form: EpsForm = "added"

    @property
    def above(self) -> float:
        """The greatest reward seen not to count as correct: the threshold lies between this and the rule's."""
        return float(max(levels()[levels() < self.rule.threshold - 1e-9], default=0.0))

    @property
    def divisor(self) -> str:
        """What is divided by, in words."""
        return f"std of {self.rule.whiten}" if self.rule.whiten != "none" else self.rule.scale.replace("-", " ")

    @property
    def numerator(self) -> str:
        """What stands over the divisor, in words."""
        rule, pool = self.rule, {"ids": "group", "batch": "batch"}.get(self.grouping, self.grouping)
        negative = f"{-rule.negative:g}" if rule.negative else "0"
        outcome = {
            "reward": "the reward",
            "above-mean": f"{rule.positive:g} above the {pool} mean, {negative} below it",
            "correct": f"{rule.positive:g} where correct, {negative} elsewhere (correct: from a reward in "
            f"({self.above:g}, {rule.threshold:g}] on)",
        }[rule.outcome]
        baseline = {
            "none": "no baseline",
            "group-mean": f"less the {pool} mean",
            "leave-one-out": "less the others' mean",
            "length-weighted": f"less the {pool} mean weighted by length",
        }[rule.baseline]
        white = "" if rule.whiten == "none" else f", centred over the batch's {rule.whiten}"
        return f"{outcome}, {baseline}{white}"

    def credit(self, probe: str) -> Credit:
        """The rule on a probe."""
        return _credit(dataclasses.replace(self.rule, eps=0.0), self.keep, self.grouping, probe)

    def named(self, exponents: Mapping[str, float]) -> tuple["AdvantageFit", float] | None:
        """The rule that exponents make of this one, and what the scale is to be multiplied by; None: no rule."""
        left, rule, unit = dict(exponents), self.rule, 1.0
        if divides(rule) and left.pop(self.divisor, 0.0) != -1:
            return None
        if left.get(_SIZE) == 1 and rule.baseline == "group-mean":
            rule = dataclasses.replace(rule, baseline="leave-one-out")
            del left[_SIZE]
        if NEGATIVE in left:
            other = float(np.exp(left.pop(NEGATIVE)))
            unit = max(other, 1.0)  # the larger of the two weights becomes 1
            positive, negative = (digits(x / unit, 9) for x in (1.0, other * rule.negative))
            rule = dataclasses.replace(rule, positive=positive, negative=negative)
        return None if left else (dataclasses.replace(self, rule=rule), unit)


@cache
def _batches() -> dict[str, Batch]:
    return probes()


@cache
def _credit(rule: Advantage, keep: Keep, grouping: str, name: str) -> Credit:
    batch = _batches()[name]
    reward, group = np.asarray(batch.reward), np.asarray(batch.group)
    if grouping != "ids":
        group = np.arange(ROWS) // (ROWS if grouping == "batch" else int(grouping.split()[0]))
    length, kept = np.asarray(batch.mask).sum(axis=1), kept_responses(keep, rule.threshold, batch)
    numerator, divisor = fraction(rule, reward, group, length=length)
    numerator = kept * np.where(np.abs(numerator) > 1e-9 * np.abs(numerator).max(), numerator, 0.0)
    same = group[:, None] == group
    size, mean = same.sum(axis=1), (same * reward).sum(axis=1) / same.sum(axis=1)
    features = {_SIZE: size / np.maximum(size - 1, 1), "group mean": mean, "1 - group mean": 1 - mean}
    features["rewards not 0"] = np.count_nonzero(reward) / len(reward) + 0 * mean
    features = {key: _log(column) for key, column in features.items()}
    if rule.positive and rule.negative:
        other, _ = fraction(dataclasses.replace(rule, positive=0.0), reward, group, length=length)
        features[NEGATIVE] = 1.0 * (other != 0)
    return Credit(numerator, divisor, kept, features)


def _log(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.log(np.maximum(np.abs(x), 1e-300))
    return found


Layout = Callable[[Batch, Column], dict[str, np.ndarray]]


def nothing(batch: Batch, kept: Column) -> dict[str, np.ndarray]:
    """The layout of equal lengths: nothing of them can be seen."""
    return {}


class Table(NamedTuple):
    """A row for each weight that is not 0: logarithms by name, without the divisor; the divisor without ε; logarithm of
    weight times responses kept, over the numerator; size of the weight, in the unit of its probe; all [n]. The sign is
    -1 where weights are of the sign opposite to their numerators'."""

    features: dict[str, Column]
    divisor: Column
    wanted: Column
    share: Column
    sign: float

    def complete(self, rule: AdvantageFit) -> dict[str, Column]:
        """All features, where ε is known."""
        value = EPS_FORMS[rule.eps_form](self.divisor, rule.rule.eps)
        return {**self.features, **({rule.divisor: _log(value)} if divides(rule.rule) else {})}


def table(
    credit_of: Callable[[str], Credit], weights: Mapping[str, np.ndarray], layout: Layout, *, tolerance: float
) -> Table | None:
    """The rows to be fitted; None where weights are of other signs than the numerators.

    Args:
        weights: by probe, [rows, columns].
        layout: what of lengths and positions may enter, [rows, columns] or what broadcasts to it.
    """
    parts: list[dict[str, np.ndarray]] = []
    for name, weight in weights.items():
        credit, size = credit_of(name), np.abs(weight).max()
        numerator = (credit.numerator * np.sign(credit.divisor))[:, None] + 0 * weight
        large, seen = np.abs(weight) > tolerance * size, (numerator != 0) & (weight != 0)
        if large[numerator == 0].any():
            return None
        columns = {key: column[:, None] for key, column in credit.features.items()}
        columns |= layout(_batches()[name], credit.kept)
        columns["/"], columns["+"] = credit.divisor[:, None], large * np.sign(weight * numerator)
        columns["="] = _log(np.where(seen, weight, 1.0) / np.where(seen, numerator, 1.0) * credit.kept.sum())
        columns["#"] = np.abs(weight) / max(np.linalg.norm(weight), 1e-300)
        parts.append({key: (column + 0 * weight)[seen] for key, column in columns.items()})
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {"+": np.zeros(0)}
    signs = np.unique(found.pop("+"))
    signs = signs[signs != 0]
    if len(signs) != 1:
        return None
    return Table(divisor=found.pop("/"), wanted=found.pop("="), share=found.pop("#"), features=found, sign=signs[0])


def at_equal_lengths(evidence: Evidence, *, offset: Column, ids_ignored: bool) -> dict[AdvantageFit, tuple[str, ...]]:
    """The candidates that explain the weights at equal lengths, with their ε, and the probes on which they do.

    Args:
        offset: weights that do not come from the rewards (those of a k1 in the loss), [rows].
        ids_ignored: the loss does not look at group ids, so other groupings are tried.
    """
    weights = {name: (evidence[name].response - offset)[:, None] for name in (*PLAIN, *SHRUNK)}
    weights = {name: row for name, row in weights.items() if np.isfinite(row).all()}
    plain = tuple(name for name in weights if name in PLAIN)
    none = {name: np.abs(weights[name][:, 0]) <= 1e-9 * np.abs(weights[name]).max() for name in plain}
    found = {}
    for candidate in _candidates(ids_ignored):
        if any(none[name][candidate.credit(name).numerator != 0].any() for name in plain):
            continue
        # Rounding may leave nothing of small rewards, and no ε to be seen.
        for names in (tuple(weights), plain) if divides(candidate.rule) else (plain,):
            seen = {name: weights[name] for name in names}
            rows = table(candidate.credit, seen, nothing, tolerance=evidence.tolerance)
            if rows is None:
                continue
            settled = candidate if names == plain else _with_eps(candidate, rows)
            if least(list(rows.complete(settled).values()), rows.wanted, rows.share) < evidence.fits(RECOGNISED):
                found[settled] = names
                break
    return found


def reward_power(evidence: Evidence) -> float | None:
    """The power of a common factor of all rewards that the weights go with, roughly: 0 for a standardised advantage."""
    whole, shrunk = (evidence[name].response for name in ("reward: graded", SHRUNK[0]))
    factor = float(np.linalg.norm(shrunk)) / max(float(np.linalg.norm(whole)), 1e-300)
    return float(np.log(factor) / np.log(SHRINKAGE[0])) if np.isfinite(factor) and factor > 0 else None


@cache
def levels() -> np.ndarray:
    """Every positive reward of the probes, in order: what a threshold can be told apart by."""
    rewards = np.concatenate([_batches()[name].reward for name in PLAIN])
    return np.unique(np.round(rewards[rewards > 0], 9))


def _candidates(ids_ignored: bool) -> Iterator[AdvantageFit]:
    keeps: tuple[Keep, ...] = ("all", "mixed-groups", "correct")
    groupings = ["ids"] + (["batch", *(f"{n} rows" for n in (2, 3, 4, 6, 8, 12))] if ids_ignored else [])
    for grouping in groupings:
        for keep in keeps:
            for baseline in ("none", "group-mean"):
                yield from (AdvantageFit(rule, keep, grouping) for rule in _divided(Advantage(baseline=baseline)))
                for ddof in (0, 1) if grouping == "ids" else ():
                    for over in ("responses", "tokens"):
                        yield AdvantageFit(Advantage(baseline=baseline, whiten=over, ddof=ddof), keep)
            yield AdvantageFit(Advantage(baseline="length-weighted"), keep, grouping)
            yield from (AdvantageFit(rule, keep, grouping) for rule in _weighted("above-mean", 1.0))
    for threshold in map(float, levels()[::-1]):
        yield from (AdvantageFit(rule, keep) for keep in keeps for rule in _weighted("correct", threshold))
        rule = Advantage(outcome="correct", threshold=threshold, baseline="group-mean")
        yield from map(AdvantageFit, _divided(rule))


def _divided(rule: Advantage) -> Iterator[Advantage]:
    yield rule
    for scale in ("group-std", "batch-std"):
        for ddof in (0, 1):
            yield dataclasses.replace(rule, scale=scale, ddof=ddof)
    yield dataclasses.replace(rule, scale="group-mean")


def _weighted(outcome: Literal["correct", "above-mean"], threshold: float) -> Iterator[Advantage]:
    """One side alone, the two against each other, and the two with one another."""
    for positive, negative in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0)):
        yield Advantage(outcome=outcome, positive=positive, negative=negative, threshold=threshold)


def _with_eps(candidate: AdvantageFit, rows: Table) -> AdvantageFit:
    """The ε that explains the shrunk rewards best, whatever the powers are: a search on ever finer grids."""
    others = list(rows.features.values())

    def at(exponent: float, form: EpsForm) -> tuple[float, float, EpsForm]:
        value = EPS_FORMS[form](rows.divisor, 10.0**exponent)
        return least([_log(value), *others], rows.wanted, rows.share), exponent, form

    best = min(at(exponent, form) for form in EPS_FORMS for exponent in np.arange(-16.0, 0.51, 0.5))
    if at(-np.inf, "added")[0] < max(1e-9, 0.1 * best[0]):
        return candidate
    for digit in range(1, 11):
        best = min(at(best[1] + step, best[2]) for step in np.linspace(-1, 1, 17) * 0.5 * 4.0 ** (1 - digit))
    eps = 10.0 ** best[1]
    short = float(f"{eps:.3g}")
    eps = short if abs(short / eps - 1) < 1e-4 else eps
    return dataclasses.replace(candidate, rule=dataclasses.replace(candidate.rule, eps=eps), eps_form=best[2])
