"""Recover the KL term of a loss: estimator, coefficient, sign, and whether it sits in the loss or in the reward."""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from mdp_theory.audit.advantage import AdvantageFit
from mdp_theory.audit.departures import Evidence, against
from mdp_theory.audit.fit import digits
from mdp_theory.audit.form import AGGREGATIONS, AggregationFit, shares
from mdp_theory.audit.probes import FAR, ROWS
from mdp_theory.audit.rules import EPS_FORMS, Keep, advantages, kept_responses
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.kl import kl_estimate

_FITS = 1e-5

# Weight of a token per unit of its coefficient, from log q = log π_ref/π; the last two are met as mistakes.
_SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "k3": lambda log_q: 1 - np.exp(log_q),
    "k2": lambda log_q: -log_q,
    "abs": lambda log_q: -np.sign(log_q),
    "k3 of π/π_ref": lambda log_q: np.exp(-log_q) - 1,
}


@dataclass(frozen=True)
class KLFit:
    """A KL term.

    Attributes:
        estimator: k1, k2, k3, or a name that says what else it is.
        beta: its coefficient, relative to the surrogate's; negative where the KL is maximised.
        placement: added to the loss; subtracted from the reward; or `reward to go`: what the tokens from one on spend
            is subtracted from that token's advantage.
        aggregation: how its tokens are added up, where that is not how the surrogate's are.
    """

    estimator: str
    beta: float
    placement: Literal["loss", "reward", "reward to go"]
    aggregation: str | None = None


def uniform_term(evidence: Evidence) -> tuple[str, float] | None:
    """Aggregation and size of a weight that every token carries whatever its group earned, beside its advantage."""
    bare, equal = evidence["no-reward-lengths: 0"], evidence["equal-rewards"]
    moved = _changed(evidence, bare.tokens, equal.tokens)
    if bare.failure or moved or not _changed(evidence, bare.tokens, 0 * bare.tokens):
        return None
    return next(((name, digits(size)) for name, size in _spread(evidence)), None)


def k1_term(evidence: Evidence, *, own: str | None = None) -> tuple[str, float] | None:
    """Aggregation (`own` if it is among those that fit) and coefficient of a k1 in the loss.

    It is the term whose value follows the reference while its weights, -β on every token, do not: the loss moves with
    the reference, no weight does, and tokens that earn nothing have just the weight that goes with that move.
    """
    flat, far = evidence["flat"], evidence["reference"]
    if _changed(evidence, far.tokens, flat.tokens) or evidence["no-reward-lengths: 0"].failure:
        return None
    for name, size in sorted(_spread(evidence), key=lambda each: each[0] != own):
        tokens = shares(name, flat.batch, np.ones(ROWS))[:, None] * np.asarray(flat.batch.mask)
        beta = (flat.value - far.value) / float((tokens * FAR).sum())
        if beta and abs(size + beta) < evidence.fits(_FITS) * abs(beta):
            return name, beta
    return None


def _spread(evidence: Evidence) -> Iterator[tuple[str, float]]:
    """Aggregations that explain the weights of tokens that earn nothing, and the size with which they do."""
    bare = evidence["no-reward-lengths: 0"]
    for name in AGGREGATIONS if bare.response.any() else ():
        size, error = _project(shares(name, bare.batch, np.ones(ROWS)), bare.response)
        if error < evidence.fits(_FITS):
            yield name, size


def _changed(evidence: Evidence, one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one - other).max() > evidence.fits(1e-9) * max(np.abs(one).max(), np.abs(other).max()))


def recover_kl(
    evidence: Evidence,
    advantage: AdvantageFit | None,
    aggregation: AggregationFit | None,
    *,
    k1: tuple[str, float] | None,
) -> KLFit | None:
    """The KL term behind the reference's influence; None where there is none of a known form.

    Args:
        k1: what `k1_term` found.
    """
    scale = abs(aggregation.coefficient) if aggregation else 1.0
    own = aggregation.name if aggregation else None
    k1 = None if k1 is None else k1_term(evidence, own=own)
    if k1 is not None:
        return KLFit("k1", digits(k1[1] / scale), "loss", None if k1[0] == own else k1[0])
    flat, far = evidence["flat"], evidence["reference"]
    if not _changed(evidence, far.tokens, flat.tokens):
        return None
    found = _in_loss(evidence, far.tokens - flat.tokens, FAR, advantage, aggregation)
    if found is not None:
        fit, column = found
        return dataclasses.replace(fit, estimator=_by_value(evidence, fit.estimator, column))
    if advantage is None or aggregation is None or advantage.grouping != "ids":
        return None
    return _in_reward(evidence, advantage, aggregation)


def recover_kl_to_old(
    evidence: Evidence, advantage: AdvantageFit | None, aggregation: AggregationFit | None
) -> KLFit | None:
    """A KL term to the old policy that stands where a ratio would."""
    change = evidence["drift"].tokens - evidence["flat"].tokens
    log_q = np.asarray(evidence["drift"].batch.old_logp) - np.asarray(evidence["drift"].batch.logp)
    found = _in_loss(evidence, change, log_q, advantage, aggregation) if np.isfinite(change).all() else None
    return None if found is None else found[0]


def _in_loss(
    evidence: Evidence,
    change: np.ndarray,
    log_q: np.ndarray,
    advantage: AdvantageFit | None,
    aggregation: AggregationFit | None,
) -> tuple[KLFit, np.ndarray] | None:
    """The term whose weights `change` is, and what its tokens' estimates are multiplied with, [rows, tokens]."""
    own, scale = (aggregation.name, abs(aggregation.coefficient)) if aggregation else (None, 1.0)
    batch, keeps = evidence["flat"].batch, dict.fromkeys(("all", advantage.keep if advantage else "all"))
    for name in sorted(AGGREGATIONS, key=lambda name: name != own):
        for keep in cast(Collection[Keep], keeps):
            share = np.asarray(batch.mask) * shares(name, batch, kept_responses(keep, 1.0, batch))[:, None]
            for estimator, slope in _SLOPES.items():
                beta, error = _project(-share * slope(log_q), change)
                if error < evidence.fits(_FITS):
                    over = None if name == own else name
                    return KLFit(estimator, digits(beta / scale), "loss", over), beta * share
    return None


def _credited(advantage: AdvantageFit, batch: Batch, penalty: np.ndarray, *, to_go: bool) -> np.ndarray:
    """Advantages of tokens with a penalty, [rows, tokens], in the reward; to go, beside the baseline's advantage."""
    rule, form = advantage.rule, advantage.eps_form
    reward, group, mask = (np.asarray(x) for x in (batch.reward, batch.group, batch.mask))
    length = mask.sum(axis=1)
    if not to_go:
        found = advantages(rule, reward - penalty.sum(axis=1), group, length=length, form=form)
        return mask * found[:, None]
    spent = np.cumsum(penalty[:, ::-1], axis=1)[:, ::-1]
    plain = dataclasses.replace(rule, whiten="none")
    found = mask * (advantages(plain, reward, group, length=length, form=form)[:, None] - spent)
    if rule.whiten != "tokens":
        return found
    centred = mask * (found - found.sum() / length.sum())
    deviation = np.sqrt((centred**2).sum() / (length.sum() - rule.ddof))
    return centred / float(EPS_FORMS[form](deviation, rule.eps))


def _by_value(evidence: Evidence, estimator: str, share: np.ndarray) -> str:
    """The estimator's name; where its value is another's, as with a straight-through or an importance weight, both."""
    rise = evidence["reference"].value - evidence["flat"].value
    values = {"k1": -FAR, "k2": FAR**2 / 2, "k3": np.expm1(FAR) - FAR}
    sums = {name: float((share * value).sum()) for name, value in values.items()}
    room = 1e-4 * max(abs(rise), 1e-12)
    if estimator not in sums or abs(sums[estimator] - rise) < room:
        return estimator
    other = next((name for name, total in sums.items() if abs(total - rise) < room), None)
    return estimator if other is None else f"{other} with {estimator}'s gradient"


def _project(column: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """The best coefficient of `column` in `wanted`, and the relative error it leaves."""
    coefficient = float((column * wanted).sum() / max((column * column).sum(), 1e-300))
    return coefficient, float(np.linalg.norm(wanted - coefficient * column) / np.linalg.norm(wanted))


def _in_reward(evidence: Evidence, advantage: AdvantageFit, aggregation: AggregationFit) -> KLFit | None:
    """Gauss-Newton on β for each estimator and place: with a scaled advantage the weights are not linear in it."""
    far = evidence["reference"]
    mask, places = np.asarray(far.batch.mask), (("reward", False), ("reward to go", True))
    kept = kept_responses(advantage.keep, advantage.rule.threshold, far.batch)
    share = shares(aggregation.name, far.batch, kept)[:, None]

    def predict(penalty: np.ndarray, *, to_go: bool) -> np.ndarray:
        return aggregation.coefficient * share * _credited(advantage, far.batch, penalty, to_go=to_go)

    old: Any = np.asarray(far.batch.old_logp)
    ref: Any = np.asarray(far.batch.ref_logp)
    for (place, to_go), estimator in itertools.product(places, ("k1", "k2", "k3")):
        tokens: Any = mask * np.asarray(kl_estimate(estimator, old, ref))
        beta = 0.0
        for _ in range(12):
            at = predict(beta * tokens, to_go=to_go)
            slope = (predict((beta + 1e-6) * tokens, to_go=to_go) - at) / 1e-6
            square = float((slope * slope).sum())
            if square == 0:
                break
            beta += float((slope * (far.tokens - at)).sum()) / square
        error = np.linalg.norm(predict(beta * tokens, to_go=to_go) - far.tokens) / np.linalg.norm(far.tokens)
        if error < evidence.fits(_FITS):
            return KLFit(estimator, digits(beta), cast(Literal["reward", "reward to go"], place))
    return None


def reference_words(evidence: Evidence, kl: KLFit | None) -> str:
    """What the reference does to the loss, where no KL term of a known form explains it."""
    flat, far = evidence["flat"], evidence["reference"]
    if kl is not None:
        return ""
    if not _changed(evidence, far.tokens, flat.tokens):
        moved = abs(far.value - flat.value) > 1e-9 * max(abs(far.value), abs(flat.value))
        return "the reference changes the loss but no weight: a KL term without a gradient" if moved else ""
    fit = against(evidence, "reference", "flat", {"log π_ref": FAR})
    if fit is not None and fit.exponents:
        power = -fit.exponents["log π_ref"]
        return f"the ratio is taken to the reference: the weights go as π/π_ref to the power {power:.4g}"
    return "by no KL term of a known form"
