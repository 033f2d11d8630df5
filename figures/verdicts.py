"""Sentences that the data decide: what was verified, what was distinguished, and what was not.

"Equal" is said of exact computations that agree to a stated tolerance, never of samples: where an interval covers 0 the
verdict is "not distinguished", with the number of seeds and prompts and the largest difference that is left possible.
Nothing is "distinguished" or "changed" on fewer than three seeds, or where the seeds have no spread. Verdicts on
trained models name task, model and seeds: they hold for these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from figures.comparison import PRIMARY, Comparison, against_reference, change
from figures.credit import credit_variances
from figures.curves import MissingData
from figures.dynamics import age_name
from figures.runs import CLAIM, Arm, Results, Row
from figures.statistics import EXACT, FEWEST, TRAINED, Estimate
from figures.tables import interval, measurement
from figures.theory import over_draws
from figures.training import require_arms

Outcome = Literal[
    "verified", "failed", "equal", "different", "distinguished", "not distinguished", "changed", "measured"
]


@dataclass(frozen=True)
class Verdict:
    """One sentence about `subject`, and in a word how it came out; a headline belongs into the summary."""

    subject: str
    outcome: Outcome
    text: str
    headline: bool = False


def proofs(results: Results) -> list[Verdict]:
    """One verdict a theorem.

    Raises:
        MissingData: no prove.json.
    """
    if results.proof is None:
        raise MissingData("no prove.json")
    found = []
    for theorem in results.proof["theorems"]:
        steps, witnesses = (_count(theorem.get(part, ())) for part in ("steps", "witnesses"))
        word: Outcome = "verified" if theorem["verified"] else "failed"
        symbolic = f" Symbolic: {theorem['symbolic']}." if theorem.get("symbolic") else ""
        enumerated = theorem.get("enumerated")
        values = f" Value by value: {enumerated}." if enumerated and enumerated != "nothing" else ""
        text = f"{theorem['id']} {word}: {steps} steps, {witnesses} witnesses.{symbolic}{values}"
        found.append(Verdict(theorem["id"], word, text))
    return found


def identities(results: Results) -> list[Verdict]:
    """On every problem: the promised identities, and each method's on-policy gradient against outcome-weighted SFT."""
    found = []
    for problem, check in _checks(results).items():
        listed = check.get("checks", ())
        if listed:
            held = sum(entry["holds"] for entry in listed)
            worst = max(entry["error"] for entry in listed)
            word: Outcome = "verified" if held == len(listed) else "failed"
            text = f"{problem}: {held} of {len(listed)} identities hold, the largest relative error is {worst:.1e}."
            found.append(Verdict(problem, word, text, headline=True))
        errors = {key: e for key, entry in check["methods"].items() if (e := entry["relative_error"]) is not None}
        equal = {key: error for key, error in errors.items() if error <= EXACT}
        other = {key: error for key, error in errors.items() if error > EXACT}
        subject = f"{problem}, on-policy against outcome-weighted SFT"
        if equal:
            first = next((key for key in CLAIM if key in equal), next(iter(equal)))
            more = f", and {len(equal) - 1} more of {len(errors)} methods at most {max(equal.values()):.1e}"
            text = (
                f"{subject}: {results.titles[first]} has a relative error of {equal[first]:.1e}"
                f"{more if len(equal) > 1 else ''} → equal (tolerance {EXACT:g})."
            )
            found.append(Verdict(problem, "equal", text))
        if other:
            named = ", ".join(f"{results.titles[key]} {error:.2g}" for key, error in other.items())
            found.append(Verdict(problem, "different", f"{subject}, relative error: {named} → different."))
    return found


def directions(results: Results) -> list[Verdict]:
    """How many methods keep the direction of ∇p on each problem, with and without their division by the length."""
    found = []
    for problem, check in _checks(results).items():
        methods = check["methods"]
        if not methods:
            continue
        kept = {
            field: sum(all(c is not None for c in entry[field]) for entry in methods.values())
            for field in ("c", "c_without_length")
        }
        levels = len(check.get("reward_levels", ()))
        rewards = f" (rewards of {levels} levels)" if levels else ""
        text = (
            f"{problem}{rewards}: without 1/L the expected gradient of {kept['c_without_length']} of {len(methods)} "
            f"methods is c(p) ∇p on every prompt; with their own aggregation, that of {kept['c']}."
        )
        found.append(Verdict(problem, "measured", text))
    return found


def reductions(results: Results) -> list[Verdict]:
    """Whether the best fixed response of every prompt is worth as much as the best policy: a bandit's answer is."""
    found = []
    for problem, check in _checks(results).items():
        bandit = check.get("bandit", {})
        if "open_loop_value" not in bandit:
            continue
        fixed, best = (np.array(bandit[name]) for name in ("open_loop_value", "closed_loop_value"))
        gap = float((best - fixed).max())
        outcome: Outcome = "equal" if gap <= EXACT else "different"
        says = "worth the best policy on every prompt" if outcome == "equal" else f"worth up to {gap:.3g} less than it"
        found.append(Verdict(problem, outcome, f"{problem}: the best fixed response is {says}."))
    return found


def credit(results: Results) -> list[Verdict]:
    """How much more the gradient varies under uniform credit than under state advantages, on every problem."""
    (ratios,) = credit_variances(results).values()
    return [
        Verdict(
            problem,
            "measured",
            f"{problem}: crediting every token with reward − V(prompt) has {ratio['baseline']:.3g} times the variance "
            f"of crediting it with its own advantage; with the bare reward {ratio['reward']:.3g} times.",
        )
        for problem, ratio in ratios.items()
    ]


def critics(results: Results) -> list[Verdict]:
    """What a critic of states knows that one of histories does not, after the same responses."""
    found = []
    for problem, check in _checks(results).items():
        if data := check.get("critic"):
            errors = data["relative_error"]
            rows = zip(data["responses"], errors["state"], errors["history"], strict=True)
            listed = ", ".join(f"{state:.3f} and {history:.3f} after {count}" for count, state, history in rows)
            text = (
                f"{problem}, error of the gradient relative to uniform credit, with a critic of states and with one of "
                f"histories: {listed} responses to each prompt; {data['exact']:.3f} with exact advantages."
            )
            found.append(Verdict(problem, "measured", text))
    return found


def staleness(results: Results) -> list[Verdict]:
    """Success at the end of exact training, from fresh samples to samples that are never refreshed."""
    found = []
    for problem, check in _checks(results).items():
        data = check.get("staleness") or {"methods": {}}
        for key, curves in data["methods"].items():
            ends = [
                f"{success[-1]:.3f} {age_name(age)}"
                for age, success in zip(data["refresh_every"], curves["success"], strict=True)
            ]
            text = f"{results.titles[key]} on {problem}, success after {len(curves['success'][0]) - 1} exact steps: "
            found.append(Verdict(problem, "measured", text + ", ".join(ends) + "."))
    return found


def off_policy(results: Results) -> list[Verdict]:
    """What inner steps on one batch do to the equality, on every problem; means over the batches."""
    found = []
    for problem, check in _checks(results).items():
        for key, curve in check.get("inner_steps", {}).get("methods", {}).items():
            means = over_draws(curve, "relative_error")
            errors = [(step, e) for step, e in zip(curve["step"], means, strict=True) if np.isfinite(e)]
            if not errors:
                continue
            title = results.titles[key]
            lost = [(step, error) for step, error in errors if error > EXACT]
            if not lost:
                text = f"{title} on {problem}: equal to outcome-weighted SFT at all {len(errors)} inner steps."
                found.append(Verdict(problem, "equal", text))
                continue
            cosines = over_draws(curve, "cosine")
            end = f", cosine {cosines[-1]:.3f}".replace("-", "−") if np.isfinite(cosines[-1]) else ""
            text = (
                f"{title} on {problem}: the equality ends at inner step {lost[0][0]} (relative error "
                f"{lost[0][1]:.2g}); at step {errors[-1][0]} the relative error is {errors[-1][1]:.2g}{end}."
            )
            found.append(Verdict(problem, "different", text))
    return found


def success(results: Results) -> list[Verdict]:
    """Every arm against the reference, on pass@1 and on greedy accuracy."""
    arms = require_arms(results)
    found = [comparison for name in PRIMARY for comparison in against_reference(arms, name)]
    if not found:
        raise MissingData("no two methods share a seed and an evaluation")
    return [_compared(comparison, headline=comparison.name == found[0].name) for comparison in found]


def lengths(results: Results) -> list[Verdict]:
    """How the mean length on held-out prompts moved."""
    return _changes(results, {"eval/mean_length": "mean response length"}, digits=1)


def lengths_by_outcome(results: Results) -> list[Verdict]:
    """The same for correct and for incorrect responses apart."""
    names = {
        "eval/correct_mean_length": "length of correct responses",
        "eval/incorrect_mean_length": "length of incorrect responses",
    }
    return _changes(results, names, digits=1)


def entropies(results: Results) -> list[Verdict]:
    """How the entropy on held-out prompts moved."""
    return _changes(results, {"eval/entropy": "entropy"}, digits=3)


def passes(results: Results) -> list[Verdict]:
    """How pass@1 and pass@k for the largest k moved."""
    names = {name for arm in require_arms(results) for run in arm.runs for row in run.evaluations for name in row}
    ks = sorted((int(name.removeprefix("eval/pass@")) for name in names if name.startswith("eval/pass@")), reverse=True)
    return _changes(results, {f"eval/pass@{k}": f"pass@{k}" for k in (1, *ks[:1])}, digits=3)


def probes(results: Results) -> list[Verdict]:
    """The equivalence on the model being trained, over all probes of all seeds."""
    found = []
    for arm in results.all_arms:
        _, errors = arm.matrix("equivalence/relative_error")
        _, cosines = arm.matrix("equivalence/cosine")
        _, index = arm.matrix("equivalence/credit_structure_index")
        if not errors.size:
            continue
        precision = str(arm.runs[0].config.get("dtype", "float32"))
        tolerance, worst = TRAINED.get(precision, TRAINED["float32"]), float(errors.max())
        structure = f", η up to {rounded(float(index.max()))}" if index.size else ""
        outcome: Outcome = "equal" if worst <= tolerance else "different"
        cosine = f", cosine at least {float(cosines.min()):.6f}" if cosines.size else ""
        text = (
            f"{_place(arm)}: {arm.label} against outcome-weighted SFT on the model being trained, {errors.shape[1]} "
            f"probes × {_seeds(len(arm.runs))}: relative error at most {rounded(worst)}{cosine}{structure} → {outcome}"
            f"{f' (tolerance {tolerance:g}, {precision})' if outcome == 'equal' else ''}."
        )
        found.append(Verdict(arm.label, outcome, text, headline=True))
    if not found:
        raise MissingData("no run was probed")
    return found


def weights(results: Results) -> list[Verdict]:
    """Whether the tokens of every sampled response have one weight."""
    found = []
    for arm in require_arms(results):
        samples = [np.array(row["weights"]) for run in arm.runs for row in run.samples if row.get("weights")]
        if not samples:
            continue
        spread = max(float(np.ptp(row)) / max(float(np.abs(row).max()), 1e-300) for row in samples)
        outcome: Outcome = "equal" if spread <= TRAINED["float32"] else "different"
        says = "all tokens of a response weigh alike" if outcome == "equal" else "tokens of a response differ in weight"
        responses = f"{len(samples)} sampled response{'s' * (len(samples) != 1)}"
        text = f"{_place(arm)}: {arm.label}: {says} in {responses} (largest spread {rounded(spread)} of the weight)."
        found.append(Verdict(arm.label, outcome, text))
    if not found:
        raise MissingData("no samples with token weights")
    return found


def _compared(comparison: Comparison, *, headline: bool) -> Verdict:
    left, right = comparison.estimates
    seeds, prompts = comparison.over_seeds, comparison.over_prompts
    sample = _seeds(seeds.count) + (f", {prompts.count} prompts" if prompts else "")
    differences = f"paired difference over seeds {interval(seeds)}"
    if comparison.adjusted is not None:
        differences += f" (p = {comparison.adjusted:.2g}, Holm over {comparison.family})"
    if prompts:
        differences += f", over prompts {interval(prompts)}"
    arm, reference = comparison.arm, comparison.reference
    if comparison.distinguished:
        end = f"{arm.label} is {'higher' if seeds.mean > 0 else 'lower'} by {abs(seeds.mean):.3f}"
    else:
        end = f"not distinguished at {sample}: {comparison.doubt}"
        if comparison.intervals:
            # The wider interval leaves the most open.
            reach = max(max(abs(e.low or 0.0), abs(e.high or 0.0)) for e in comparison.intervals)
            end += f"; differences up to {reach:.3f} remain possible"
        if seeds.detectable is not None and seeds.count >= FEWEST:
            end += f"; with this spread {_seeds(seeds.count)} would show {seeds.detectable:.3f} four times in five"
    text = (
        f"{_place(arm)}: {measurement(comparison.name)} at step {comparison.step} ({sample}): {reference.label} "
        f"{left}, {arm.label} {right}; {differences} → {end}."
    )
    return Verdict(arm.label, "distinguished" if comparison.distinguished else "not distinguished", text, headline)


def _changes(results: Results, names: Mapping[str, str], *, digits: int) -> list[Verdict]:
    found = []
    for arm in require_arms(results):
        for name, words in names.items():
            moved = change(arm, name)
            if moved is None:
                continue
            first, last, difference = moved
            by, count = _interval(difference, digits), _seeds(len(arm.runs))
            outcome: Outcome = "not distinguished"
            if difference.count < FEWEST:
                outcome = "measured"
                end = f"{by}, without a verdict: {count} cannot tell, it takes {FEWEST}"
            elif difference.conclusive:
                outcome = "changed"
                end = f"{'rose' if difference.mean > 0 else 'fell'} by {by}"
            else:
                end = f"not distinguished from no change ({by})"
            text = (
                f"{_place(arm)}: {arm.label}: {words} on held-out prompts from {first.mean:.{digits}f} to "
                f"{last.mean:.{digits}f} ({count}) → {end}."
            )
            found.append(Verdict(arm.label, outcome, text))
    if not found:
        raise MissingData(f"no run was evaluated twice on {' or '.join(names.values())}")
    return found


def rounded(value: float, *, tolerance: float = EXACT) -> str:
    """A number that ought to be 0, and is written so where it is 0 up to rounding."""
    return "0" if abs(value) <= tolerance else f"{value:.1e}".replace("-", "−")


def _place(arm: Arm) -> str:
    """Task and model: a verdict holds for these."""
    return f"{arm.task}, {arm.model}"


def _interval(estimate: Estimate, digits: int) -> str:
    ends = f" [{estimate.low:+.{digits}f}, {estimate.high:+.{digits}f}]" if estimate.low is not None else ""
    return f"{estimate.mean:+.{digits}f}{ends}".replace("-", "−")


def _checks(results: Results) -> Mapping[str, Row]:
    if not results.checks:
        raise MissingData("no check/*.json")
    return results.checks


def _count(parts: Sequence[Row]) -> str:
    return f"{sum(bool(part.get('verified')) for part in parts)}/{len(parts)}"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"
