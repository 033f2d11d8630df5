"""The page of `rino audit`: one on what a loss really does, or a line for each loss of a framework."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mdp_theory.audit.advantage import AdvantageFit
from mdp_theory.audit.frameworks.batches import FRAMEWORKS
from mdp_theory.audit.frameworks.environment import Worker, variants
from mdp_theory.audit.precision import ROUNDING
from mdp_theory.audit.probes import lay
from mdp_theory.audit.recover import Audit, audit_loss, clip_words, kl_words, ratio_words
from mdp_theory.audit.target import open_loss, opened
from mdp_theory.methods.formula import describe
from rino_base.files import write_json
from rino_base.messages import InputError, print_table
from rino_base.progress import track

_EXACT = 1e-6


def audit_one(target: str, json: Path | None, *, signature: Path | None, wanted: str | None) -> int:
    """Audit a loss and print its page; 1 where it is not the method `wanted`, or not `outcome-driven`."""
    with opened(target, lay(), signature=signature) as loss:
        report = audit_loss(loss, track=lambda names: track(list(names), description="probing"))
    _print(report)
    if json is not None:
        write_json(json, report.to_json())
    if wanted is None:
        return 0
    found = report.nearest
    met = found.residual < _exact(report) and wanted in (found.method, *found.ties)
    if wanted == "outcome-driven":
        met = report.outcome_driven
    return 0 if met and not report.sign_errors else 1


def audit_all(framework: str, json: Path | None) -> int:
    """Audit every loss of a framework, and print a line of each."""
    if framework not in FRAMEWORKS:
        mend = f"one of: {', '.join(FRAMEWORKS)}"
        raise InputError(f"--all goes with a framework, not with {framework!r}", mend=mend)
    found: dict[str, Any] = {}
    with Worker(framework) as worker:
        for name, variant in track(list(variants(framework).items()), description=framework):
            target = f"{framework}:{name}"
            if variant.outside:
                found[target] = {"target": target, "problem": variant.outside}
                continue
            try:
                loss = open_loss(worker, target, variant.settings, lay(), framework=framework)
                found[target] = audit_loss(loss).to_json()
            except InputError as error:
                found[target] = {"target": target, "problem": error.problem}
    rows = [_row(target, record) for target, record in found.items()]
    print_table(framework, ("loss", "outcome-driven", "off-policy", "nearest", "aggregation", "departures"), rows)
    if json is not None:
        write_json(json, {"audits": list(found.values())})
    return 0


def _row(target: str, record: dict[str, Any]) -> tuple[object, ...]:
    if "problem" in record:
        return (target, None, None, record["problem"], None, None)
    near = record["nearest"]
    exact = near["method"] if near["residual"] < _EXACT else f"none ({near['method']} {near['residual']:.2f})"
    driven = (record["outcome_driven"], record["outcome_driven_off_policy"])
    return (target, *driven, exact, record["aggregation"], ", ".join(record["departures"]))


def _print(report: Audit) -> None:
    print(f"{report.loss.name} ({report.loss.framework})")
    print(_verdict(report))
    print()
    findings = [(finding.name, finding.when, finding.detail) for finding in report.findings]
    print_table("Departures", ("what", "seen", "how"), findings or [("none", None, "on or off the old policy")])
    print_table("Recovered", ("part", "what was found"), _parts(report))
    if report.objective is not None:
        objective, scale, residual = report.objective
        factor = "" if abs(scale - 1) < _EXACT else f"{scale:.6g} times "
        print(f"The loss is {factor}this objective's (residual {residual:.1e}):")
        print(describe(objective))
        print()
    rewards, lengths, weights = report.sample
    rows = [
        (f"{reward:g}", length, " ".join(f"{weight:+.4f}" for weight in row))
        for reward, length, row in zip(rewards, lengths, weights, strict=True)
    ]
    print_table("Token weights of one group, on-policy", ("reward", "tokens", "-d loss / d log π"), rows)


def _verdict(report: Audit) -> str:
    on = "is outcome-driven SFT" if report.outcome_driven else "is not outcome-driven SFT"
    off = "still is" if report.outcome_driven_off_policy else "is not"
    lines = [f"On-policy it {on}; away from the old policy it {off}."]
    failed, asked = report.failures
    lines += [f"It fails on {failed} of {asked} batches; what those ask is unanswered."] * bool(failed)
    lines += [
        {"reward": "SIGN: the reward is minimised.", "kl": "SIGN: the KL is maximised."}[error]
        for error in report.sign_errors
    ]
    return "\n".join(lines)


def _parts(report: Audit) -> Iterator[tuple[str, str]]:
    parts, nearest = report.parts, report.nearest
    yield "nearest method", _nearest(report)
    if nearest.residual < _exact(report) and nearest.ties:
        yield "same weights", ", ".join(nearest.ties)
    yield "advantage", _unknown_advantage(report) if parts.advantage is None else _advantage(parts.advantage)
    yield "standard deviation", _deviation(parts.advantage)
    yield "aggregation", report.aggregation or "not recovered"
    yield "powers", report.form.words_of(report.form.exponents or ()) or "none that fit"
    yield "credit pool", report.credit_pool or "not recovered"
    yield "micro-batches", report.micro_batches.detail
    yield "ratio", _ratio(report)
    unknown = any(finding.name == "kl" for finding in report.findings)
    yield "KL", kl_words(parts.kl) if parts.kl is not None else "of no known form" if unknown else "none"
    on, off = ("–" if index is None else f"{index:.3g}" for index in report.index)
    if report.ignored:
        yield "ignored arguments", ", ".join(report.ignored)
    if report.precision != "float64":
        yield "precision", f"{report.precision}: what is said here is said up to its rounding"
    yield "credit-structure index", f"{on} on-policy, {off} off-policy"


def _exact(report: Audit) -> float:
    """The residual below which a loss is its nearest method: what a few roundings leave of the weights."""
    return max(_EXACT, 2 * ROUNDING[report.precision])


def _nearest(report: Audit) -> str:
    found = report.nearest
    dials = ", ".join(f"{name} = {value}" for name, value in found.dials.items())
    words = f"{found.method}{f' with {dials}' if dials else ''}"
    if found.residual >= _exact(report):
        return f"{words}; residual {found.residual:.3f}, so it is none of them"
    if found.residual >= _EXACT:
        words += f", up to {report.precision}'s rounding ({found.residual:.3f})"
    return words + ("" if found.scale > 0 else ", with its sign reversed")


def _advantage(fit: AdvantageFit) -> str:
    scale = {"none": "not scaled", "group-mean": "over the group mean"}.get(fit.rule.scale, f"over the {fit.divisor}")
    scale = scale if fit.rule.whiten == "none" else f"over the {fit.divisor}"
    keep = {"all": "", "mixed-groups": "; groups of equal reward dropped", "correct": "; only correct ones kept"}
    return f"{fit.numerator}, {scale}{keep[fit.keep]}"


def _unknown_advantage(report: Audit) -> str:
    if report.shape is not None:
        return f"{report.shape.kind}: {report.shape.detail}"
    if report.form.over is not None:
        return f"{report.form.over.numerator}, times powers of its own (below)"
    power = "" if report.reward_power is None else f"; it goes as the rewards to the power {report.reward_power:.2g}"
    return f"no rule of the catalogue{power}"


def _deviation(fit: AdvantageFit | None) -> str:
    if fit is None or not (fit.rule.scale.endswith("std") or fit.rule.whiten != "none"):
        return "none"
    over = "batch" if fit.grouping == "batch" else fit.rule.scale.removesuffix("-std")
    over = over if fit.rule.whiten == "none" else f"batch's {fit.rule.whiten}"
    form = "" if fit.eps_form == "added" else f" ({fit.eps_form})"
    return f"of the {over}, ddof {fit.rule.ddof}, ε = {fit.rule.eps:g}{form}"


def _ratio(report: Audit) -> str:
    ratio, clip = report.parts.ratio, report.parts.clip
    if ratio is None:
        old = report.parts.kl_to_old
        return "not recovered" if old is None else f"none; a KL to the old policy, {kl_words(old)}"
    if ratio.level is None:
        return "none: log-likelihood"
    return f"{ratio_words(ratio)}; {'not clipped' if clip is None else clip_words(clip)}"
