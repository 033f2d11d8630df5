"""Put the recovered parts together into an objective, and rank the catalogue by its distance to the audited loss."""

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import numpy as np

from mdp_theory.audit.advantage import AdvantageFit
from mdp_theory.audit.clip import ClipFit
from mdp_theory.audit.closed_form import token_weights
from mdp_theory.audit.departures import Evidence
from mdp_theory.audit.fit import digits
from mdp_theory.audit.form import AggregationFit, RatioFit
from mdp_theory.audit.kl import KLFit
from mdp_theory.audit.loss import COMPLETION_LIMIT
from mdp_theory.audit.probes import suite
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import divides
from mdp_theory.methods.objectives import KL, Aggregation, Clip, Objective, Surrogate, TrustRegion

_SAME = 1e-9

_OURS: tuple[Aggregation, ...] = ("sequence-mean-token-mean", "token-mean", "sequence-mean-token-sum")

# What is bounded in which way, by surrogate; a trust region stands beside a surrogate that bounds nothing.
_CLIP_OF: dict[str, tuple[str, str]] = {
    "clipped-ratio": ("pessimistic", "ratio"),
    "truncated-weight": ("truncated", "ratio"),
    "clipped-geometric-mean": ("pessimistic", "tokens"),
}


@dataclass(frozen=True)
class Parts:
    """What was recovered of a loss; None for what was not."""

    advantage: AdvantageFit | None
    aggregation: AggregationFit | None
    ratio: RatioFit | None
    clip: ClipFit | None
    kl: KLFit | None
    kl_to_old: KLFit | None = None


@dataclass(frozen=True)
class Nearest:
    """The catalogued method whose token weights come closest.

    Attributes:
        method: its key.
        residual: relative distance left over after `dials` are set and the weights are scaled by `scale`.
        scale: the loss is the method's times this; negative where it is its opposite.
        dials: what is set on the method, where that differs from the catalogue.
        residual_as_catalogued: the distance with no dial set.
        ties: methods as near, with as few dials.
        objective: the method's, with the dials set.
    """

    method: str
    residual: float
    scale: float
    dials: dict[str, Any]
    residual_as_catalogued: float
    ties: tuple[str, ...]
    objective: Objective

    def to_json(self) -> dict[str, Any]:
        """The fields of docs/audit.md."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(x) if name == "ties" else x for name, x in told.items() if name != "objective"}


def distance(evidence: Evidence, objective: Objective) -> tuple[float, float]:
    """Relative distance between the loss's weights and the objective's over the suite, and the scale that gives it."""
    measured = np.stack([evidence[f"suite: {name}"].tokens for name in suite()])
    usable = np.isfinite(measured).all(axis=(1, 2))
    measured = np.where(usable[:, None, None], measured, 0.0)
    size = np.linalg.norm(measured, axis=(1, 2))
    if not size.max() > 0:
        return 1.0, 0.0
    # Every batch counts alike, however large its weights are.
    share = np.where(usable, 1 / np.where(size > 0, size, size.max()), 0.0)[:, None, None]
    wanted, column = measured * share, _suite_weights(objective) * share
    square = (column**2).sum()
    scale = float((wanted * column).sum() / square) if square > 0 else 0.0
    return float(np.linalg.norm(wanted - scale * column) / np.linalg.norm(wanted)), scale


@cache
def _suite_weights(objective: Objective) -> np.ndarray:
    """The objective's own weights on the suite, [batches, rows, tokens]; a critic says 0 everywhere."""
    return np.stack([token_weights(objective, batch) for batch in suite().values()])


def assemble(parts: Parts) -> tuple[Objective, float] | None:
    """The objective that the parts make up and the number the loss multiplies it by, where all of them are ours."""
    advantage, aggregation, ratio, clip, kl = parts.advantage, parts.aggregation, parts.ratio, parts.clip, parts.kl
    if advantage is None or aggregation is None or ratio is None or aggregation.summed:
        return None
    if advantage.grouping != "ids" or advantage.eps_form != "added" or ratio.exponent not in (0.0, 1.0):
        return None
    trusts = clip is not None and clip.of in ("total-variation", "kl")
    if clip is not None and not trusts and (clip.kind, clip.of) not in _CLIP_OF.values():
        return None
    if kl is not None and not _ours(kl):
        return None
    if aggregation.name not in _OURS:
        return None
    rule, scale, limit = advantage.rule, aggregation.coefficient, None
    name = cast(Aggregation, aggregation.name)
    surrogate = _surrogate(ratio, clip)
    if ratio.level == "sequence-product" and surrogate in ("ratio", "clipped-ratio"):
        # Every token's term holds the ratio of the response, which every token moves: a mean of terms adds up to it.
        if name != "sequence-mean-token-sum":
            return None
        name = "sequence-mean-token-mean"
    beta = kl.beta if kl is not None else 0.0
    if name == "sequence-mean-token-sum":
        limit = round(1 / abs(scale))
        if limit > 1 and abs(limit * abs(scale) - 1) < 1e-6:
            name, scale = "sequence-mean-token-sum-norm", float(np.sign(scale))
    elif rule.outcome != "reward" and rule.baseline == "none" and rule.scale == "none":
        # The two weights of such a rule carry its scale.
        size = abs(scale)
        rule = dataclasses.replace(
            rule, positive=digits(rule.positive * size, 9), negative=digits(rule.negative * size, 9)
        )
        beta, scale = beta * size, float(np.sign(scale))
    objective = Objective(
        advantage=rule,
        surrogate=surrogate,
        importance_sampling_level=ratio.level or "token",
        clip=None if clip is None or trusts else Clip(low=clip.low, high=clip.high, dual=clip.dual),
        trust=_trust(clip) if clip is not None and trusts else None,
        aggregation=name,
        max_completion_length=limit if name == "sequence-mean-token-sum-norm" else None,
        kl=None if kl is None else _kl(kl, beta),
        keep=advantage.keep,
    )
    return objective, scale


def _surrogate(ratio: RatioFit, clip: ClipFit | None) -> Surrogate:
    if ratio.level is None:
        return "log-likelihood"
    if clip is None or clip.of in ("total-variation", "kl"):
        return "ratio"
    if clip.of == "tokens":
        return "clipped-geometric-mean"
    return "clipped-ratio" if clip.kind == "pessimistic" else "truncated-weight"


def _trust(fit: ClipFit) -> TrustRegion:
    """The region; a side on which the loss has no weights is bounded as the other is."""
    sides = [end for end in (fit.low, fit.high) if end is not None]
    low, high = (sides[0] if end is None else end for end in (fit.low, fit.high))
    return TrustRegion(measure=cast(Literal["total-variation", "kl"], fit.of), low=low, high=high)


def _ours(fit: KLFit) -> bool:
    """Whether an objective here can hold the term."""
    return fit.estimator in ("k1", "k2", "k3") and fit.placement != "reward to go" and not fit.aggregation


def _kl(fit: KLFit, beta: float) -> KL:
    estimator, placement = (
        cast(Literal["k1", "k2", "k3"], fit.estimator),
        cast(Literal["loss", "reward"], fit.placement),
    )
    return KL(beta=digits(abs(beta), 9), estimator=estimator, placement=placement, sign=1 if beta >= 0 else -1)


# A punishment of overlong responses waits for more tokens than a probe has: on probes it is no other method.
_SEEN = tuple(key for key, method in METHODS.items() if method.objective.advantage.overlong is None)


def nearest(evidence: Evidence, parts: Parts, *, among: Collection[str] = _SEEN) -> Nearest:
    """The nearest catalogued method, the promising ones with their dials set to what was recovered."""
    limit = COMPLETION_LIMIT
    plain = {key: METHODS[key].objective for key in METHODS if key in among}
    plain |= {
        key: dataclasses.replace(objective, max_completion_length=limit)
        for key, objective in plain.items()
        if objective.needs_limit
    }
    distances = {key: distance(evidence, objective) for key, objective in plain.items()}
    promising = [key for key, objective in plain.items() if _same_family(objective, parts)]
    promising = promising or sorted(distances, key=lambda key: distances[key][0])[:5]
    found = []
    for key, objective in plain.items():
        entries = [(*distances[key], objective)]
        if key in promising and distances[key][0] > _SAME:
            entries += ((*distance(evidence, tuned), tuned) for tuned in _tuned(objective, parts))
        rank, entry = min(
            (
                (_rank(error, tuned, _dials(objective, tuned), parts), (error, scale, _dials(objective, tuned), tuned))
                for error, scale, tuned in entries
            ),
            key=lambda ranked: ranked[0],
        )
        found.append((rank, key, entry))
    found.sort(key=lambda ranked: ranked[0])  # a stable sort: the catalogue's order among equals
    rank, key, (residual, scale, dials, objective) = found[0]
    ties = tuple(other for other_rank, other, _ in found[1:] if other_rank == rank) if residual < _SAME else ()
    return Nearest(key, residual, scale, dials, distances[key][0], ties, objective)


def _rank(residual: float, objective: Objective, dials: dict[str, Any], parts: Parts) -> tuple[float, int, int]:
    """Nearer first, by decades, or to two digits where nothing fits; then of like parts; then with fewer dials."""
    unlike = int((objective.kl is None) != (parts.kl is None)) + ("scale_rewards" in dials)
    if parts.ratio is not None and parts.ratio.level is not None:
        unlike += objective.importance_sampling_level != parts.ratio.level or objective.surrogate == "log-likelihood"
    near = 0.0 if residual < _SAME else 10.0 ** np.floor(np.log10(residual)) if residual < 0.01 else round(residual, 2)
    return near, unlike, len(dials)


def _same_family(objective: Objective, parts: Parts) -> bool:
    if parts.advantage is None or parts.advantage.grouping != "ids":
        return False
    mine, theirs = parts.advantage.rule, objective.advantage
    kinds = [(rule.outcome, rule.baseline, rule.whiten, rule.estimator) for rule in (mine, theirs)]
    return kinds[0] == kinds[1]


def _tuned(objective: Objective, parts: Parts) -> Iterator[Objective]:
    """The method with the recovered dials: those of its advantage, filter, clip range, KL and aggregation."""
    rule, clip, kl, keep = objective.advantage, objective.clip, objective.kl, objective.keep
    if parts.advantage is not None and parts.advantage.grouping == "ids":
        recovered = parts.advantage.rule
        keep = parts.advantage.keep
        if divides(rule) and (recovered.scale, recovered.whiten) == (rule.scale, rule.whiten):
            # An ε that is not added, under a root say, is one that no dial sets; it is too small to matter here.
            eps = recovered.eps if parts.advantage.eps_form == "added" else 0.0
            rule = dataclasses.replace(rule, ddof=recovered.ddof, eps=eps)
        if rule.outcome == "correct" == recovered.outcome:
            rule = dataclasses.replace(rule, threshold=recovered.threshold)
    seen, trust = parts.clip, objective.trust
    if trust is not None and seen is not None and seen.of == trust.measure:
        trust = _trust(seen)
    if clip is not None and seen is not None and _CLIP_OF[objective.surrogate] == (seen.kind, seen.of):
        low, high = (clip.low if seen.low is None else seen.low), (clip.high if seen.high is None else seen.high)
        clip = Clip(low=low, high=high, dual=seen.dual if objective.surrogate == "clipped-ratio" else None)
    fit = parts.kl
    if fit is not None and _ours(fit):
        kl = _kl(fit, fit.beta)
    tuned = dataclasses.replace(objective, advantage=rule, clip=clip, trust=trust, kl=kl, keep=keep)
    yield tuned
    level = parts.ratio.level if parts.ratio is not None and parts.ratio.exponent == 1 else None
    held = seen is not None and (seen.kind, seen.of) == ("pessimistic", "ratio")
    if objective.surrogate == "log-likelihood" and seen is not None and held and level is not None:
        # A method for fresh samples, with the ratio and the clip that let them be used again.
        clip = Clip(low=seen.low, high=seen.high, dual=seen.dual)
        tuned = dataclasses.replace(tuned, surrogate="clipped-ratio", clip=clip, importance_sampling_level=level)
        yield tuned
    if parts.ratio is not None and parts.ratio.level is None:
        # Samples that are used once have no ratio: what is left of the method then.
        tuned = dataclasses.replace(
            tuned, surrogate="log-likelihood", clip=None, gate=None, trust=None, importance_sampling_level="token"
        )
        yield tuned
    built = assemble(parts if fit is None or _ours(fit) else dataclasses.replace(parts, kl=None))
    if built is not None:
        whole = built[0]
        limit = whole.max_completion_length
        yield dataclasses.replace(tuned, aggregation=whole.aggregation, max_completion_length=limit)
        if rule.estimator == "outcome" and rule.scale != whole.advantage.scale:
            rule = dataclasses.replace(
                rule, scale=whole.advantage.scale, ddof=whole.advantage.ddof, eps=whole.advantage.eps
            )
            yield dataclasses.replace(tuned, advantage=rule, aggregation=whole.aggregation, max_completion_length=limit)
    elif parts.aggregation is None or parts.aggregation.name not in _OURS:
        yield from (dataclasses.replace(tuned, aggregation=name) for name in _OURS)


def _dials(catalogued: Objective, tuned: Objective) -> dict[str, Any]:
    """What is set on a method, by the names of the command line."""

    def flat(objective: Objective) -> dict[str, Any]:
        rule, clip, kl = objective.advantage, objective.clip or objective.trust, objective.kl
        return {
            "scale_rewards": {"group-std": "group", "batch-std": "batch"}.get(rule.scale, rule.scale),
            "ddof": rule.ddof,
            "advantage_eps": rule.eps,
            "threshold": rule.threshold,
            "keep": objective.keep,
            "ratio": "none" if objective.surrogate == "log-likelihood" else objective.importance_sampling_level,
            "epsilon": clip.low if clip else None,
            "epsilon_high": clip.high if clip else None,
            "dual_clip": objective.clip.dual if objective.clip else None,
            "beta": kl.beta * kl.sign if kl else 0.0,
            "kl_estimator": kl.estimator if kl else None,
            "kl_placement": kl.placement if kl else None,
            "loss_aggregation": objective.aggregation,
            "max_completion_length": objective.max_completion_length,
        }

    was, now = flat(catalogued), flat(tuned)
    changed = {name: now[name] for name in now if now[name] != was[name]}
    if changed.get("ratio") == "none":
        changed = {
            name: value for name, value in changed.items() if name not in ("epsilon", "epsilon_high", "dual_clip")
        }
    return changed
