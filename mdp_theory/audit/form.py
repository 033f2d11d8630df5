"""The fit of a loss's weights: which powers of lengths, positions, deviations and ratios they are made of.

All are features of one regression (`fit`). Its exponents are the answer, and they name a rule or an aggregation where
there is one: an aggregation divides by one mean or length, an advantage by one deviation.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np

from mdp_theory.audit.advantage import (
    NEGATIVE,
    PLAIN,
    SHRUNK,
    AdvantageFit,
    Credit,
    Layout,
    at_equal_lengths,
    nothing,
    table,
)
from mdp_theory.audit.departures import Evidence, against
from mdp_theory.audit.fit import RECOGNISED, Column, Fit, powers
from mdp_theory.audit.probes import EQUAL, RAGGED, ROWS, WIDTH
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.credit import divides

_CHUNKS = (2, 3, 4, 6, 8, 12)

# What the tokens of a response are divided by, beside the number of responses. The first three are the field's.
AGGREGATIONS: dict[str, str | None] = {
    "sequence-mean-token-mean": "length",
    "token-mean": "mean length",
    "sequence-mean-token-sum": None,
    "sequence-mean-token-sum over the longest": "longest",
    "token-mean of each group": "mean length of the group",
    **{f"token-mean of every {size} rows": f"mean length of {size} rows" for size in _CHUNKS},
}

# Powers of these are told as the number itself, by which the weight changes from one token to the next.
DISCOUNTS = ("discount", "discount from the end")
POSITIONS = ("position", "tokens to go", *DISCOUNTS)


def lengths(batch: Batch, kept: Column) -> dict[str, Column]:
    """What an aggregation may divide by, [rows]."""
    length, rows = np.asarray(batch.mask).sum(axis=1), np.arange(len(batch.reward))

    def mean(label: np.ndarray) -> Column:
        pool = (label[:, None] == label) * kept
        found: Column = np.maximum(pool @ length, 1.0) / np.maximum(pool.sum(axis=1), 1.0)
        return found

    return {
        "length": length,
        "mean length": mean(0 * rows),
        "longest": 0 * length + length.max(),
        "mean length of the group": mean(np.asarray(batch.group)),
        **{f"mean length of {size} rows": mean(rows // size) for size in _CHUNKS},
    }


def shares(name: str, batch: Batch, kept: Column) -> Column:
    """The share of one token in the loss, by an aggregation's name, [rows]."""
    divisor, share = AGGREGATIONS[name], kept / max(kept.sum(), 1.0)
    return share if divisor is None else share / lengths(batch, kept)[divisor]


def _layout(*, in_order: bool, timed: bool) -> Layout:
    def layout(batch: Batch, kept: Column) -> dict[str, np.ndarray]:
        found = lengths(batch, kept)
        columns = {name: np.log(x)[:, None] for name, x in found.items() if not (in_order and "rows" in name)}
        if timed:
            t = np.arange(1, WIDTH + 1) + np.zeros((ROWS, 1))
            to_go = np.maximum(found["length"][:, None] - t + 1, 1.0)
            columns |= dict(zip(POSITIONS, (np.log(t), np.log(to_go), t - 1, to_go - 1), strict=True))
        return columns

    return layout


@dataclass(frozen=True)
class AggregationFit:
    """How token terms are added up.

    Attributes:
        name: one of AGGREGATIONS.
        coefficient: weights are `coefficient · A · share`; negative where the reward is minimised.
    """

    name: str
    coefficient: float

    @property
    def summed(self) -> bool:
        """Whether the coefficient is the number of responses: the loss is a sum over them where a mean is usual."""
        return abs(abs(self.coefficient) / ROWS - 1) < 1e-6


@dataclass(frozen=True)
class Form:
    """What the fit says.

    Attributes:
        advantage, aggregation: those that the exponents name, where they name one.
        exponents: of everything that multiplies the numerator, or, where none is found, of what the weights change with
            when lengths do; a `discount` is the factor itself. None where no powers fit.
        over: the rule whose numerator it is; None where none is found.
    """

    advantage: AdvantageFit | None
    aggregation: AggregationFit | None
    exponents: Mapping[str, float] | None
    over: AdvantageFit | None

    def words_of(self, names: Collection[str]) -> str:
        """What of these multiplies the numerator, in words."""
        said = {
            "discount": "it {} {:.4g} a token after the start",
            "discount from the end": "it {} {:.4g} a token before the end",
            "tokens to go": "a reward-to-go: the number of tokens to go to the power {1:.4g}",
        }
        found = {name: x for name, x in (self.exponents or {}).items() if name in names}
        plain = "its {2} to the power {1:.4g}"
        return ", ".join(
            said.get(name, plain).format("decays by" if x < 1 else "grows by", x, name) for name, x in found.items()
        )


class _Fitted(NamedTuple):
    rank: tuple[float, ...]
    rule: AdvantageFit
    fit: Fit
    sign: float


def recover_form(
    evidence: Evidence, *, offset: Mapping[str, np.ndarray], ids_ignored: bool, in_order: bool, timed: bool
) -> Form:
    """Advantage and aggregation from one fit of the weights on every reward pattern and every layout of lengths.

    Args:
        offset: weights that do not come from the rewards, by the probe they were seen on, [rows, tokens].
        ids_ignored: the loss does not look at group ids, so other groupings are tried.
        in_order: permuting the rows permutes the weights, so no micro-batches are at work.
        timed: a token's weight depends on its position.
    """
    layout, equal = _layout(in_order=in_order, timed=timed), offset["no-reward-equal-lengths"]
    options, room = {"tolerance": evidence.tolerance}, evidence.fits(RECOGNISED)
    ragged = {
        name: evidence[name].tokens - offset[f"no-reward-{name}"]
        for name in (f"lengths: {index}" for index in range(len(RAGGED)))
    }
    level = {name: evidence[name].tokens - equal for name in (*PLAIN, *SHRUNK)}
    found: dict[bool, list[_Fitted]] = {True: [], False: []}
    for rule, names in at_equal_lengths(evidence, offset=_mean(equal), ids_ignored=ids_ignored).items():
        for joint in found:
            seen = {name: x if joint else _mean(x)[:, None] for name, x in level.items() if name in names}
            rows = table(rule.credit, seen | (ragged if joint else {}), layout if joint else nothing, **options)
            fit = None if rows is None else powers(rows.complete(rule), rows.wanted, rows.share, room=room)
            if rows is None or fit is None or (divides(rule.rule) and rule.divisor not in fit.exponents):
                continue
            # What explains small rewards too comes first, then fewer powers; then the loss without a factor of its own
            # is meant: the batch's size decides what ddof does to a deviation over it.
            rank = (divides(rule.rule) and SHRUNK[0] not in names, len(fit.exponents), round(abs(np.log(fit.scale)), 6))
            found[joint].append(_Fitted(rank, rule, fit, rows.sign))
    if found[True]:
        _, rule, fit, sign = min(found[True], key=lambda each: each.rank)
        mine = {name: x for name, x in fit.exponents.items() if name in (*POSITIONS, *AGGREGATIONS.values())}
        advantage, unit = rule.named({k: x for k, x in fit.exponents.items() if k not in mine}) or (None, 1.0)
        return Form(advantage, _named(mine, sign * fit.scale * unit), _told(fit.exponents), rule)
    # Whatever the weights are made of, this is what becomes of them when lengths do.
    base = Credit(_mean(level["reward: graded"]), np.ones(ROWS), np.ones(ROWS), {})
    rows = table(lambda name: base, {"reward: graded": level["reward: graded"]} | ragged, layout, **options)
    by_length = None if rows is None else powers(rows.features, rows.wanted, rows.share, room=room)
    aggregation = None if by_length is None else _named(by_length.exponents, 1.0)
    exponents = None if by_length is None else _told(by_length.exponents)
    named = None
    if found[False]:
        _, rule, fit, sign = min(found[False], key=lambda each: each.rank)
        named = rule.named(fit.exponents)
        if named is not None and aggregation is not None:
            divided = AGGREGATIONS[aggregation.name] is not None
            unit = named[1] * (EQUAL[0] if divided else 1.0)
            aggregation = AggregationFit(aggregation.name, sign * fit.scale * unit)
    return Form(named and named[0], aggregation, exponents, None)


def _mean(tokens: np.ndarray) -> Column:
    """Of the tokens at equal lengths, [rows]."""
    found: Column = tokens[:, : EQUAL[0]].mean(axis=1)
    return found


def _named(exponents: Mapping[str, float], coefficient: float) -> AggregationFit | None:
    found = {name: power for name, power in exponents.items() if name not in POSITIONS}
    for name, divisor in AGGREGATIONS.items():
        if found == ({} if divisor is None else {divisor: -1}):
            return AggregationFit(name, coefficient)
    return None


def _told(exponents: Mapping[str, float]) -> dict[str, float]:
    return {
        name: float(f"{np.exp(x):.6g}") if name in DISCOUNTS else x for name, x in exponents.items() if name != NEGATIVE
    }


Level = Literal["token", "sequence", "sequence-product"]


@dataclass(frozen=True)
class RatioFit:
    """π/π_old in the weights: its level (None where it does not enter), and its power: 1 where it is counted once."""

    level: Level | None
    exponent: float


def recover_ratio(evidence: Evidence, *, offset: np.ndarray) -> RatioFit | None:
    """How the weights move with a small drift from the old policy; None where they follow no power of a ratio."""
    mask = np.asarray(evidence["flat"].batch.mask)
    for name in ("drift", "drift-from-reference"):
        drifted = evidence[name].batch
        delta = (np.asarray(drifted.logp) - np.asarray(drifted.old_logp)) * mask
        total = delta.sum(axis=1, keepdims=True) + 0 * delta
        ratios: dict[Level, np.ndarray] = {
            "token": delta,
            "sequence": total / mask.sum(axis=1, keepdims=True),
            "sequence-product": total,
        }
        fit = against(evidence, name, "flat", ratios, offset=offset)
        if fit is not None and not fit.exponents:
            return RatioFit(None, 0.0)
        if fit is not None and len(fit.exponents) == 1:
            ((level, power),) = fit.exponents.items()
            return RatioFit(cast(Level, level), power)
    return None
