"""What any loss really does: its token weights, where it departs from outcome-driven SFT, and which method it is.

The loss is a black box. It is differentiated on probe batches (`audit_probes`), pairs of them show where it departs
(`audit_departures`), and its parts are recovered one by one (`audit_advantage`, `audit_form`, `audit_kl`). Put
together again they make an objective, which must reproduce the loss on batches it was not recovered from.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdp_theory.audit.advantage import AdvantageFit, reward_power
from mdp_theory.audit.circumstances import MicroBatches, credit_pool, ignored, micro_batches
from mdp_theory.audit.clip import ClipFit, recover_clip
from mdp_theory.audit.departures import (
    BREAKING,
    Evidence,
    Finding,
    Measured,
    Track,
    departures,
    gather,
    ids_ignored,
    measure,
)
from mdp_theory.audit.form import POSITIONS, Form, RatioFit, recover_form, recover_ratio
from mdp_theory.audit.kl import KLFit, k1_term, recover_kl, recover_kl_to_old, reference_words, uniform_term
from mdp_theory.audit.loss import Loss
from mdp_theory.audit.nearest import Nearest, Parts, assemble, distance, nearest
from mdp_theory.audit.precision import Precision
from mdp_theory.audit.probes import RAGGED, ROWS, WIDTH, probes
from mdp_theory.audit.shapes import Shape, shape_of
from mdp_theory.methods.credit import divides
from mdp_theory.methods.objectives import Objective
from mdp_theory.methods.weights import credit_structure_index
from rino_base.messages import InputError

# An objective put together from parts is the loss's own if it reproduces its weights to this.
_REPRODUCED = 1e-5

# The order in which findings are told.
_ORDER = (
    *BREAKING,
    "credit pool",
    "entropy",
    "length",
    "batch size",
    "reference",
    "equal rewards",
    "sparse group ids",
    "mutates",
    "fails",
)


@dataclass(frozen=True)
class Audit:
    """The answers.

    Attributes:
        loss: what was audited.
        findings: departures, and what else is worth saying, in order.
        sign_errors: `reward` where it is minimised, `kl` where it is maximised.
        parts: the recovered advantage, aggregation, ratio, clip and KL.
        objective: the objective they make up, if it reproduces the loss on the suite; with the number the loss
            multiplies it by and the relative distance that is left.
        nearest: the nearest catalogued method.
        claimed: the same for the method that the loss says it is.
        index: the credit-structure index on-policy (with a reference that differs) and off-policy.
        reward_power: the power of a common factor of all rewards that the weights go with, roughly.
        shape: what the advantage looks like where it is no rule.
        precision: `float64` (float32 is told apart from it nowhere), `bfloat16` or `float16`.
        credit_pool: whose outcomes decide a response's weight.
        micro_batches: what gradient accumulation does to the weights.
        failures: on how many batches the loss fails, and of how many.
        ignored: arguments that change nothing.
        form: what the fit of the weights says.
        sample: one group of the on-policy probe: rewards, lengths and token weights.
    """

    loss: Loss
    findings: tuple[Finding, ...]
    sign_errors: tuple[str, ...]
    parts: Parts
    objective: tuple[Objective, float, float] | None
    nearest: Nearest
    claimed: Nearest | None
    index: tuple[float | None, float | None]
    reward_power: float | None
    shape: Shape | None
    precision: Precision
    credit_pool: str | None
    micro_batches: MicroBatches
    failures: tuple[int, int]
    ignored: tuple[str, ...]
    form: Form
    sample: tuple[list[float], list[int], list[list[float]]]

    @property
    def outcome_driven(self) -> bool:
        """On-policy, with a reference policy that differs from the current one."""
        return not any(finding.when == "on-policy" and finding.name in BREAKING for finding in self.findings)

    @property
    def outcome_driven_off_policy(self) -> bool:
        """After the policy has moved away from the one that sampled."""
        return not any(finding.name in BREAKING for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The fields of docs/audit.md; what was not recovered is null."""
        advantage, ratio, clip, kl = self.parts.advantage, self.parts.ratio, self.parts.clip, self.parts.kl
        divided = advantage if advantage is not None and divides(advantage.rule) else None
        by_std = divided if divided is not None and divided.rule.scale != "group-mean" else None
        return {
            "target": self.loss.name,
            "framework": self.loss.framework,
            "outcome_driven": self.outcome_driven,
            "outcome_driven_off_policy": self.outcome_driven_off_policy,
            "departures": list(dict.fromkeys(finding.name for finding in self.findings)),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "sign_errors": list(self.sign_errors),
            "credit_structure_index": {"on_policy": self.index[0], "off_policy": self.index[1]},
            "nearest": self.nearest.to_json(),
            "advantage": None if advantage is None else _advantage_json(advantage),
            "numerator": None if self.form.over is None else self.form.over.numerator,
            "exponents": None if self.form.exponents is None else dict(self.form.exponents),
            "advantage_shape": None if self.shape is None else dataclasses.asdict(self.shape),
            "reward_power": self.reward_power,
            "ddof": by_std.rule.ddof if by_std else None,
            "advantage_eps": divided.rule.eps if divided else None,
            "advantage_eps_form": divided.eps_form if divided and divided.rule.eps else None,
            "credit_pool": self.credit_pool,
            "micro_batches": dataclasses.asdict(self.micro_batches),
            "ignored": list(self.ignored),
            "precision": self.precision,
            "aggregation": self.aggregation,
            "max_completion_length": self.objective[0].max_completion_length if self.objective else None,
            "importance_sampling_level": None if ratio is None else ratio.level or "none",
            "ratio_exponent": None if ratio is None else ratio.exponent,
            "clip": None if clip is None else dataclasses.asdict(clip),
            "kl": None if kl is None else dataclasses.asdict(kl),
            "kl_to_old": None if self.parts.kl_to_old is None else dataclasses.asdict(self.parts.kl_to_old),
            "scale": self.objective[1] if self.objective else None,
            "residual": self.objective[2] if self.objective else None,
            "sample": dict(zip(("rewards", "lengths", "weights"), self.sample, strict=True)),
        }

    @property
    def aggregation(self) -> str | None:
        """The aggregation's name, or what is there in its place."""
        fit = self.parts.aggregation
        if fit is None:
            return None
        if any(finding.name == "padding" and "normaliser" in finding.detail for finding in self.findings):
            return "padded-token-mean" if fit.name == "sequence-mean-token-sum" else f"{fit.name} over padding"
        name = self.objective[0].aggregation if self.objective else fit.name
        return name.replace("sequence-mean", "sequence-sum") if fit.summed else name


def _advantage_json(fit: AdvantageFit) -> dict[str, Any]:
    rule = fit.rule
    weighted = rule.outcome != "reward" and rule.baseline == "none"
    return {
        **{name: getattr(rule, name) for name in ("outcome", "baseline", "scale", "whiten")},
        "groups": fit.grouping,
        "keep": fit.keep,
        "threshold": [fit.above, rule.threshold] if rule.outcome == "correct" else None,
        **{name: getattr(rule, name) if weighted else None for name in ("positive", "negative")},
    }


def audit_loss(loss: Loss, *, track: Track = iter, claimed: str | None = None) -> Audit:
    """Answer every question about a loss.

    Args:
        loss: from `audit_loss.load_loss`.
        track: wraps the names of the probes while they are measured, for a progress bar.
        claimed: the key of a catalogued method that the loss says it is, to be compared with besides.

    Raises:
        InputError: no probe finds a gradient: the loss does not depend on `logp`.
    """
    batches = probes()
    evidence = gather(loss, batches, track=track)
    if not any(np.nan_to_num(each.weights).any() for each in evidence.values()):
        raise InputError(
            f"{loss.name} does not depend on logp: its gradient is zero on every probe",
            mend="compute the loss from logp itself, without stop_gradient, detach or no_grad around it",
        )
    again = measure(loss, batches["flat"])
    if not (again.value == evidence["flat"].value and np.array_equal(again.weights, evidence["flat"].weights)):
        raise InputError(
            f"{loss.name} answers a batch differently after it was asked others",
            mend="keep nothing from call to call: no counter, schedule, running mean or argument written into",
        )
    k1, uniform = k1_term(evidence), uniform_term(evidence)
    # A weight that tokens carry without reward is taken off before the rest is explained.
    beside = k1 is not None or uniform is not None
    bare = {name: each.tokens for name, each in evidence.items() if name.startswith("no-reward")}
    offset = {name: tokens if beside else np.zeros((ROWS, WIDTH)) for name, tokens in bare.items()}
    findings = departures(evidence)
    minimised = _minimised(evidence) and not any(finding.name == "probability" for finding in findings)
    in_order = not any("micro-batches" in finding.detail for finding in findings)
    form = recover_form(
        evidence,
        offset=offset,
        ids_ignored=ids_ignored(evidence),
        in_order=in_order,
        timed=any((finding.name, finding.when) == ("time", "on-policy") for finding in findings),
    )
    advantage, aggregation = form.advantage, form.aggregation
    ratio = recover_ratio(evidence, offset=offset["no-reward-lengths: 0"])
    kl = recover_kl(evidence, advantage, aggregation, k1=k1)
    kl_to_old = recover_kl_to_old(evidence, advantage, aggregation) if ratio is None else None
    clip = None
    if ratio is not None and ratio.level is not None:
        clip = recover_clip(
            loss,
            ratio,
            beside=beside,
            reversed_sign=minimised,
            kl_in_loss=kl is not None and kl.placement == "loss",
            room=evidence.fits(0.0),
        )
    parts = Parts(advantage, aggregation, ratio, clip, kl, kl_to_old)
    if uniform is not None and k1 is None and not any(finding.name == "probability" for finding in findings):
        detail = f"every token weighs {uniform[1]:+g} more, whatever its outcome: an entropy bonus by the tokens' log π"
        findings.append(Finding("entropy", "on-policy", detail))
    if loss.mutated:
        written = ", ".join(loss.mutated)
        findings.append(Finding("mutates", "on-policy", f"the loss writes into its arguments: {written}"))
    findings = [
        *(_told(finding, evidence, parts, form) for finding in findings),
        *_from_parts(evidence, parts, form, findings),
    ]
    built = assemble(parts)
    error = distance(evidence, built[0])[0] if built else 1.0
    return Audit(
        loss=loss,
        findings=tuple(sorted(findings, key=lambda f: (f.when != "on-policy", _ORDER.index(f.name)))),
        sign_errors=("reward",) * minimised + ("kl",) * (kl is not None and kl.beta < 0),
        parts=parts,
        objective=(*built, error) if built and error < evidence.fits(_REPRODUCED) else None,
        nearest=nearest(evidence, parts),
        claimed=None if claimed is None else nearest(evidence, parts, among=(claimed,)),
        index=(_index(evidence["reference-varied"]), _index(evidence["suite: off, three-level"])),
        reward_power=reward_power(evidence),
        shape=None if form.over or advantage else shape_of(evidence, offset=offset["no-reward-equal-lengths"][:, 0]),
        precision=evidence.precision,
        credit_pool=credit_pool(evidence, advantage, fault=any(f.name == "neighbours" for f in findings)),
        micro_batches=micro_batches(loss, evidence),
        failures=(sum(bool(each.failure) for each in evidence.values()), len(evidence)),
        ignored=ignored(evidence),
        form=form,
        sample=_sample(evidence),
    )


def _minimised(evidence: Evidence) -> bool:
    """Whether correct responses weigh less than wrong ones."""
    binary = evidence["reward: binary"]
    reward = np.asarray(binary.batch.reward)
    return bool(binary.response[reward == 1].mean() < binary.response[reward == 0].mean())


def _from_parts(evidence: Evidence, parts: Parts, form: Form, found: list[Finding]) -> Iterator[Finding]:
    """Departures that only the recovered parts show."""
    named = {finding.name for finding in found}
    if parts.clip is not None:
        yield Finding("clip", "off-policy", clip_words(parts.clip))
    if parts.kl is not None and "kl" not in named:
        detail = "k1 in the loss weighs every token alike, whatever the reference says"
        yield Finding("kl", "on-policy", f"{detail}: {kl_words(parts.kl)}")
    if "kl" not in named and reference_words(evidence, parts.kl):
        yield Finding("reference", "on-policy", reference_words(evidence, parts.kl))
    if parts.aggregation is not None and parts.aggregation.summed:
        yield Finding("batch size", "on-policy", "a sum over responses, not a mean: the weights do not shrink with it")
    if parts.aggregation is None and not named & {"length", "neighbours", "time", "padding", "equal rewards"}:
        told = form.words_of(("length",))
        told = f", but as {told}" if told else ", and as no power of it"
        yield Finding("length", "on-policy", f"a response's weight moves with its length as no aggregation{told}")


def _told(finding: Finding, evidence: Evidence, parts: Parts, form: Form) -> Finding:
    """The finding with what recovery has to say about it."""
    more = ""
    if finding.name == "ratio":
        old = parts.kl_to_old
        more = ratio_words(parts.ratio) if old is None else f"by no ratio, by a KL to the old policy: {kl_words(old)}"
    elif finding.name == "kl":
        more = reference_words(evidence, parts.kl) if parts.kl is None else kl_words(parts.kl)
    elif finding.name in ("neighbours", "credit pool"):
        more = _neighbour_words(parts, finding)
    elif finding.name == "time" and finding.when == "on-policy":
        more = form.words_of(POSITIONS)
    return dataclasses.replace(finding, detail=f"{finding.detail}: {more}") if more else finding


def ratio_words(ratio: RatioFit | None) -> str:
    """Whose ratio enters, and to which power."""
    if ratio is None or ratio.level is None:
        return "in no power of a token's or a sequence's ratio"
    level = {"token": "of the token", "sequence": "of the sequence, its geometric mean"}.get(
        ratio.level, "of all tokens"
    )
    if ratio.exponent == 1:
        return level
    told = {2.0: ": counted twice", -1.0: ": upside down"}.get(ratio.exponent, "")
    return f"{level}, to the power {ratio.exponent:g}{told}"


def clip_words(clip: ClipFit) -> str:
    """What bounds the ratio, and where."""
    if clip.of != "ratio":
        ends = [f"{name} {end:g}" for name, end in (("down", clip.low), ("up", clip.high)) if end is not None]
        return {
            "tokens": f"a token stops alone, before the geometric mean, past a log-ratio of {', '.join(ends)}",
            "total-variation": f"no gradient where the token's probability has moved further than {', '.join(ends)}",
            "kl": f"no gradient where the token's probability has a KL to the old one above {', '.join(ends)}",
        }[clip.of]
    low = "" if clip.low is None else f"1 − {clip.low:g}"
    high = "" if clip.high is None else f"1 + {clip.high:g}"
    bounds = f"[{low or '0'}, {high or '∞'}]"
    dual = f", and at {clip.dual:g} for A < 0" if clip.dual is not None and clip.kind == "pessimistic" else ""
    return {
        "pessimistic": f"no gradient past {bounds} in the direction that pays{dual}",
        "truncated": f"the weight is held in {bounds}, never stopped",
        "two-sided": f"no gradient outside {bounds} whatever the sign of A: the unclipped term is missing",
        "wrong-side": f"clipped on the wrong side: stopped outside {bounds} where the ratio should pass",
        "other": "the ratio is limited, in no way of the catalogue",
    }[clip.kind]


def kl_words(kl: KLFit) -> str:
    """Estimator, place, coefficient and sign."""
    sign = "penalised" if kl.beta >= 0 else "MAXIMISED"
    over = f", added up by {kl.aggregation}" if kl.aggregation else ""
    return f"{kl.estimator} in the {kl.placement}, β = {abs(kl.beta):g}, {sign}{over}"


def _neighbour_words(parts: Parts, finding: Finding) -> str:
    advantage, aggregation = parts.advantage, parts.aggregation
    if "group ids" in finding.detail and advantage is not None and advantage.grouping != "ids":
        groups = "the whole batch counts" if advantage.grouping == "batch" else f"every {advantage.grouping} count"
        return f"{groups} as one group"
    if advantage is not None and advantage.rule.whiten != "none":
        return f"advantages are whitened over the {advantage.rule.whiten} of the batch"
    if "statistic" in finding.detail and advantage is not None and advantage.rule.scale == "batch-std":
        return "the standard deviation is over the batch"
    if "micro-batches" in finding.detail and aggregation is not None:
        return aggregation.name
    return ""


def _index(measured: Measured) -> float | None:
    if measured.failure:
        return None
    streams: Any = (measured.weights, np.asarray(measured.batch.mask))
    value = float(credit_structure_index(*streams))
    # Below this the index is rounding: the weights differ in their last digits.
    return 0.0 if value < 1e-20 else value


def _sample(evidence: Evidence) -> tuple[list[float], list[int], list[list[float]]]:
    flat, lengths = evidence["flat"], RAGGED[0][:4].tolist()
    weights = [row[:n].tolist() for row, n in zip(flat.tokens, lengths, strict=False)]
    return np.asarray(flat.batch.reward)[:4].tolist(), lengths, weights
