"""Recover how a loss adds up its tokens, how the ratio π/π_old enters, and where it is clipped.

Each answer comes from weights on two probes whose quotient or difference leaves nothing but the part in question.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mdp_theory.audit.advantage import RECOGNISED, AdvantageFit
from mdp_theory.audit.departures import TOLERANCE, Evidence, measure
from mdp_theory.audit.loss import Loss
from mdp_theory.audit.probes import EQUAL, RAGGED, ROWS, SCAN_LENGTH, scan
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


@dataclass(frozen=True)
class ClipFit:
    """Where the ratio stops mattering.

    Attributes:
        kind: `pessimistic` (the minimum of clipped and unclipped), `truncated` (the weight is held, never stopped),
            `two-sided` (stopped on both sides whatever the advantage), `wrong-side` (stopped where it should pass),
            or `other`.
        low, high: the range is [1 - low, 1 + high]; None where no bound was seen.
        dual: bound on the ratio for negative advantages.
    """

    kind: Literal["pessimistic", "truncated", "two-sided", "wrong-side", "other"]
    low: float | None
    high: float | None
    dual: float | None


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


def _power(number: float, *, room: float) -> float:
    whole = round(number)
    return float(whole) if abs(number - whole) < room else round(float(number), 4)


Side = tuple[int, int]  # sign of the advantage, direction of the ratio


def recover_clip(
    loss: Loss, ratio: RatioFit, *, beside: bool, reversed_sign: bool, kl_in_loss: bool, room: float
) -> ClipFit | None:
    """The range in which the ratio acts, by scanning it and closing in on every bound; None where there is none.

    Args:
        beside: tokens have weight without reward, which is not the ratio's to move.
        reversed_sign: the reward is minimised, so weights have the sign opposite to their advantage's.
        kl_in_loss: the reference follows the current policy, so that a KL term in the loss is silent; otherwise it
            stays with the old one, so that one in the reward is.
        room: relative differences that may be rounding.
    """
    tokens = SCAN_LENGTH if ratio.level == "sequence-product" else 1
    still = measure(loss, scan(np.zeros(ROWS), reference_moves=kl_in_loss))
    offset = np.zeros(ROWS)
    if beside:
        offset = measure(loss, scan(np.zeros(ROWS), rewarded=False, reference_moves=kl_in_loss)).response
    level = still.response - offset
    if still.failure or not level.any():
        return None
    sign = np.sign(np.where(np.abs(level) > TOLERANCE * np.abs(level).max(), level, 0.0)).astype(int)
    sign = -sign if reversed_sign else sign
    sides = {(s, d): np.flatnonzero(sign == s)[d > 0 :: 2] for s in (1, -1) for d in (1, -1) if (sign == s).any()}

    def look(points: dict[Side, np.ndarray]) -> dict[Side, tuple[list[str], np.ndarray]]:
        """What becomes of the ratio at each point, in a word, and the weight per weight at ratio 1."""
        delta = np.zeros(ROWS)
        for side, rows in sides.items():
            delta[rows] = points[side]
        probe = scan(delta, reference_moves=kl_in_loss)
        moved = (measure(loss, probe).response - offset) / np.where(sign != 0, level, 1.0)
        passes = np.isclose(moved, np.exp(ratio.exponent * tokens * delta), rtol=max(1e-5, room))
        words = np.where(passes, "passes", np.where(np.abs(moved) < 1e-9, "stops", "held"))
        return {side: (list(words[rows]), moved[rows]) for side, rows in sides.items()}

    points = {(s, d): d * np.logspace(-5, 0.5, len(rows)) for (s, d), rows in sides.items()}
    seen = look(points)
    kinds = {side: _kind(words) for side, (words, _) in seen.items()}
    if set(kinds.values()) == {"passes"}:
        return None
    if any(word != "passes" for side, (words, _) in seen.items() for word in words[: _near(points[side])]):
        return None  # no method clips as tightly as that: the ratio does not enter as it seemed to
    inside, bounds = dict.fromkeys(sides, 0.0), {}
    for _ in range(11):
        for side, (words, moved) in seen.items():
            index = next((i for i, word in enumerate(words) if word != "passes"), len(words) - 1)
            inside[side], outside = (points[side][index - 1] if index else inside[side]), points[side][index]
            # Just on a bound a gradient may be anything between the two sides': what happens past it decides.
            bounds[side] = float(moved[index]) if kinds[side] == "held" else float(np.exp(tokens * outside))
            points[side] = np.linspace(inside[side], outside, len(words) + 1)[1:]
        seen = look(points)
    return _name_clip(kinds, {side: bound for side, bound in bounds.items() if kinds[side] != "passes"})


def _kind(words: list[str]) -> str:
    """What happens past the bound; a bound within rounding of a point may look like either."""
    return next((word for word in reversed(words) if word != "passes"), "passes")


def _near(points: np.ndarray) -> int:
    return int((np.abs(points) < 1e-4).sum())


def _name_clip(kinds: dict[Side, str], bounds: dict[Side, float]) -> ClipFit:
    def bound(*sides: Side) -> float | None:
        found = [bounds[side] for side in sides if side in bounds]
        return _short(abs(found[0] - 1)) if found else None

    up, down = {s: kinds.get((s, 1), "passes") for s in (1, -1)}, {s: kinds.get((s, -1), "passes") for s in (1, -1)}
    words = set(kinds.values()) - {"passes"}
    dual = _short(bounds[-1, 1]) if (-1, 1) in bounds else None
    if words == {"held"}:
        return ClipFit("truncated", bound((1, -1), (-1, -1)), bound((1, 1), (-1, 1)), None)
    if words != {"stops"}:
        return ClipFit("other", None, None, None)
    if down[1] == "passes":
        return ClipFit("pessimistic", bound((-1, -1)), bound((1, 1)), dual)
    kind: Literal["two-sided", "wrong-side"] = "two-sided" if up[1] == "stops" or down[-1] == "stops" else "wrong-side"
    return ClipFit(kind, bound((1, -1)), bound((1, 1), (-1, 1)), None)


def _short(number: float) -> float:
    return float(f"{number:.6g}")
