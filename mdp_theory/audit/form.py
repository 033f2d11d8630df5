"""Recover how a loss adds up its tokens, and how the ratio π/π_old enters.

Each answer comes from weights on two probes whose quotient or difference leaves nothing but the part in question.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mdp_theory.audit.advantage import RECOGNISED, AdvantageFit
from mdp_theory.audit.departures import Evidence
from mdp_theory.audit.probes import EQUAL, RAGGED, ROWS
from mdp_theory.audit.rules import EpsForm, advantages, kept_responses
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.objectives import Advantage

Shares = Callable[[Batch, np.ndarray], np.ndarray]


def _of_batch(batch: Batch, kept: np.ndarray) -> tuple[np.ndarray, float]:
    return np.asarray(batch.mask).sum(axis=1), max(kept.sum(), 1.0)


def _sequence_mean_token_mean(batch: Batch, kept: np.ndarray) -> np.ndarray:
    length, responses = _of_batch(batch, kept)
    return kept / (responses * length)


def _token_mean(batch: Batch, kept: np.ndarray) -> np.ndarray:
    length, _ = _of_batch(batch, kept)
    return kept / max((kept * length).sum(), 1.0)


def _token_sum(batch: Batch, kept: np.ndarray) -> np.ndarray:
    _, responses = _of_batch(batch, kept)
    return kept / responses


def _token_sum_by_longest(batch: Batch, kept: np.ndarray) -> np.ndarray:
    length, responses = _of_batch(batch, kept)
    return kept / (responses * length.max())


def _token_mean_of_groups(batch: Batch, kept: np.ndarray) -> np.ndarray:
    length, _ = _of_batch(batch, kept)
    group = np.asarray(batch.group)
    tokens = np.array([(kept * length)[group == label].sum() for label in group])
    return kept / (len(np.unique(group)) * np.maximum(tokens, 1.0))


def _token_mean_of_rows(size: int) -> Shares:
    def shares(batch: Batch, kept: np.ndarray) -> np.ndarray:
        length, _ = _of_batch(batch, kept)
        chunk = np.arange(len(length)) // size
        tokens = np.array([(kept * length)[chunk == label].sum() for label in chunk])
        return kept / (len(np.unique(chunk)) * np.maximum(tokens, 1.0))

    return shares


# The share of one token in the loss. The first three are the field's; the rest are met as mistakes.
AGGREGATIONS: dict[str, Shares] = {
    "sequence-mean-token-mean": _sequence_mean_token_mean,
    "token-mean": _token_mean,
    "sequence-mean-token-sum": _token_sum,
    "sequence-mean-token-sum over the longest": _token_sum_by_longest,
    "token-mean of each group": _token_mean_of_groups,
    **{f"token-mean of every {size} rows": _token_mean_of_rows(size) for size in (2, 3, 4, 6, 8, 12)},
}


@dataclass(frozen=True)
class AggregationFit:
    """How token terms are added up.

    Attributes:
        name: one of AGGREGATIONS.
        coefficient: weights are `coefficient · A · share`; negative where the reward is minimised.
        summed: the coefficient is the number of responses: the loss is a sum over them where a mean is usual.
        rule: the advantage rule, where lengths are in it and only they could show that.
    """

    name: str
    coefficient: float
    summed: bool
    rule: Advantage | None = None


Level = Literal["token", "sequence", "sequence-product"]
_LEVELS: tuple[Level, ...] = ("token", "sequence", "sequence-product")


@dataclass(frozen=True)
class RatioFit:
    """π/π_old in the weights: its level (None where it does not enter), and its power: 1 where it is counted once."""

    level: Level | None
    exponent: float


def recover_aggregation(
    evidence: Evidence, advantage: AdvantageFit | None, *, offset: Mapping[str, np.ndarray], in_order: bool
) -> AggregationFit | None:
    """The aggregation that explains how weights move with lengths.

    Args:
        offset: weights that do not come from the rewards, by the probe of `evidence` that they were seen on, [rows].
        in_order: permuting the rows permutes the weights, so no micro-batches are at work.
    """
    even = evidence["reward: graded"]
    uneven = [evidence[f"lengths: {index}"] for index in range(len(RAGGED))]
    base = even.response - offset["no-reward-equal-lengths"]
    got = np.stack([each.response - offset[f"no-reward-lengths: {index}"] for index, each in enumerate(uneven)])
    kept = _kept(even.batch, advantage)
    names = [name for name in AGGREGATIONS if not (in_order and name.endswith("rows"))]
    for name in names:
        reference = np.where(kept > 0, AGGREGATIONS[name](even.batch, kept), 1.0)
        wanted = np.stack([base * AGGREGATIONS[name](each.batch, kept) / reference for each in uneven])
        if np.linalg.norm(got - wanted) < evidence.fits(RECOGNISED) * np.linalg.norm(got):
            # At equal lengths the advantage's coefficient is in units of 1 / (responses kept).
            unit = float(reference[kept.argmax()] * kept.sum())
            return _aggregation_fit(name, (advantage.coefficient if advantage else 1.0) / unit)
    fits, form = [], advantage.eps_form if advantage is not None else "added"
    for rule in _with_lengths(advantage):
        for name in names:
            shares = AGGREGATIONS[name]
            column = np.stack([_credited(rule, each.batch, form) * shares(each.batch, kept) for each in uneven])
            scale = float((column * got).sum() / max((column * column).sum(), 1e-300))
            if np.linalg.norm(got - scale * column) < evidence.fits(RECOGNISED) * np.linalg.norm(got):
                fits.append((abs(np.log(abs(scale))), name, scale, rule))
    if not fits:
        return None
    # The batch's size decides what ddof does to a whitening, so that the loss without a factor of its own is meant.
    _, name, scale, rule = min(fits, key=lambda fit: fit[0])
    return dataclasses.replace(_aggregation_fit(name, scale), rule=rule)


def _credited(rule: Advantage, batch: Batch, form: EpsForm) -> np.ndarray:
    reward, group, mask = (np.asarray(x) for x in (batch.reward, batch.group, batch.mask))
    return advantages(rule, reward, group, length=mask.sum(axis=1), form=form)


def _aggregation_fit(name: str, coefficient: float) -> AggregationFit:
    # No one multiplies a mean by just the number of responses of a probe.
    return AggregationFit(name, coefficient, abs(abs(coefficient) / ROWS - 1) < 1e-6)


def _with_lengths(advantage: AdvantageFit | None) -> list[Advantage]:
    """Rules that are the one found where lengths are equal, and another where they are not."""
    if advantage is None or advantage.grouping != "ids":
        return []
    rule = advantage.rule
    if rule.whiten == "responses":
        return [dataclasses.replace(rule, whiten="tokens", ddof=ddof) for ddof in (0, 1)]
    if rule.baseline == "group-mean" and rule.scale == "none":
        return [dataclasses.replace(rule, baseline="length-weighted")]
    return []


def _kept(batch: Batch, advantage: AdvantageFit | None) -> np.ndarray:
    return kept_responses(batch, advantage.keep if advantage else "all", advantage.rule.threshold if advantage else 1.0)


def length_exponent(evidence: Evidence) -> float | None:
    """The power of its own length that a response's weight goes with, where that describes it at all."""
    base = evidence["reward: graded"].response
    logs = []
    for index, length in enumerate(RAGGED):
        weight = evidence[f"lengths: {index}"].response
        seen = np.abs(base) > evidence.tolerance * np.abs(base).max()
        quotient = weight[seen] / base[seen]
        if not (quotient > 0).all():
            return None
        logs.append(np.stack([np.log(length[seen] / EQUAL[seen]), np.log(quotient)]))
    x, y = np.concatenate(logs, axis=1)
    slope = float(np.polyfit(x, y, 1)[0])
    return slope if np.isfinite(slope) else None


def recover_ratio(evidence: Evidence, *, offset: np.ndarray) -> RatioFit | None:
    """How the weights move with a small drift from the old policy; None where they follow no power of a ratio."""
    flat = evidence["flat"].tokens - offset
    seen = np.abs(flat) > evidence.tolerance * np.abs(flat).max()
    rows, _ = np.nonzero(seen)
    length = RAGGED[0]
    for name in ("drift", "drift-from-reference"):
        quotient = (evidence[name].tokens - offset)[seen] / flat[seen]
        if not (quotient > 0).all():
            continue
        drifted = evidence[name].batch
        delta = (np.asarray(drifted.logp) - np.asarray(drifted.old_logp)) * np.asarray(drifted.mask)
        if evidence.precision != "float64":
            coarse = _coarse_ratio(np.log(quotient), delta[seen], room=evidence.fits(0.0))
            if coarse is not None:
                return coarse
            continue
        total = delta.sum(axis=1)
        design = np.stack([delta[seen], (total / length)[rows], total[rows]], axis=1)
        wanted = np.log(quotient)
        solution = np.linalg.lstsq(design, wanted, rcond=None)[0]
        # Room for a loss in float32, where the ratio of a sequence moves by 1e-4.
        room = evidence.fits(max(1e-7, min(3e-6, 0.01 * np.abs(wanted).max())))
        if np.abs(wanted - design @ solution).max() > room:
            continue
        powers = [_power(x, room=evidence.fits(5e-3)) for x in solution]
        if not any(powers):
            return RatioFit(None, 0.0)
        if np.count_nonzero(powers) == 1:
            index = int(np.flatnonzero(powers)[0])
            return RatioFit(_LEVELS[index], powers[index])
    return None


def _coarse_ratio(wanted: np.ndarray, delta: np.ndarray, *, room: float) -> RatioFit | None:
    """What rounding leaves to be seen: a token's ratio moves by more than it, that of a response by less."""
    power = float(wanted @ delta / (delta @ delta))
    if np.abs(wanted - power * delta).max() > 2 * room:
        return None
    # Errors of single weights average out over them.
    whole = round(power)
    return RatioFit("token", float(whole)) if whole and abs(power - whole) < 0.1 else None


def _power(number: float, *, room: float) -> float:
    whole = round(number)
    return float(whole) if abs(number - whole) < room else round(float(number), 4)
