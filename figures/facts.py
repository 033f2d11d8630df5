"""The few numbers that answer the question: where the claim holds, where it breaks and by how much, what was trained.

They are plain values: `answer.json` holds them in a kilobyte or two, and the sentences can be made again from it.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from figures.comparison import PASS, Comparison, against_reference, change
from figures.runs import Arm, Results, Row
from figures.statistics import FEWEST, TRAINED, Estimate
from figures.theory import over_draws

ON_POLICY, REUSED, STALE, PENALISED, CRITIC = "on-policy", "reused", "stale", "penalised", "critic"
"""How a run samples and weighs: as the claim assumes, or with the departure that its settings name."""

COUNTED_BETA = 0.1
"""The coefficient at which the exact effect of a KL term is quoted."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Gradients of trained models against outcome-weighted SFT: the largest relative error over runs of one kind."""

    error: float
    tolerance: float
    runs: int


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One method against the reference on held-out prompts, in shares of 1; without an interval the ends are None."""

    task: str
    model: str
    steps: int
    seeds: int
    reference: str
    reference_value: float
    method: str
    value: float
    difference: float
    low: float | None
    high: float | None
    distinguished: bool
    doubt: str


@dataclass(frozen=True, kw_only=True)
class Lengthening:
    """How wrong responses of the reference changed in training, tokens."""

    task: str
    model: str
    method: str
    seeds: int
    change: float
    low: float | None
    high: float | None
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the files decide; a fact that they do not have is None or empty.

    Attributes:
        theorems: by id, whether it was verified.
        problems: exactly checked.
        exact_error: on-policy, the largest relative error of an outcome method without a KL term to weighted SFT.
        inner_step, inner_error: the first later step on one batch, and GRPO's error there; means over batches.
        last_step, last_error: the same at the last step.
        beta, kl_error: a coefficient of the k3 term in GRPO's loss, and the error on-policy.
        critic_error: of PPO, on-policy.
        variance_ratio: how much the gradient varies with uniform credit, relative to state advantages.
        length_share: the part of GRPO's expected gradient off ∇p with its 1/L, relative to the gradient, at most.
        direction_share: the same without 1/L for binary rewards, over all outcome methods.
        levels_share: the same for GRPO with three reward levels.
        bandit_gap: what the best policy is worth more than the best fixed response, deterministic problems.
        chance_gap: the same where transitions have chance.
        probes: by kind of run.
        contests, lengthening: of trained models.
    """

    theorems: Mapping[str, bool]
    problems: tuple[str, ...]
    exact_error: float | None = None
    inner_step: int | None = None
    inner_error: float | None = None
    last_step: int | None = None
    last_error: float | None = None
    beta: float | None = None
    kl_error: float | None = None
    critic_error: float | None = None
    variance_ratio: float | None = None
    length_share: float | None = None
    direction_share: float | None = None
    levels_share: float | None = None
    bandit_gap: float | None = None
    chance_gap: float | None = None
    probes: Mapping[str, Probe]
    contests: tuple[Contest, ...] = ()
    lengthening: tuple[Lengthening, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Facts":
        """What `to_json` gave."""
        return cls(
            **{
                **values,
                "problems": tuple(values["problems"]),
                "probes": {kind: Probe(**probe) for kind, probe in values["probes"].items()},
                "contests": tuple(Contest(**contest) for contest in values["contests"]),
                "lengthening": tuple(Lengthening(**entry) for entry in values["lengthening"]),
            }
        )


def gather(results: Results) -> Facts:
    """The facts in these results; those of small MDPs from the reference problem, else the first that has them."""
    checks = list(results.checks.values())
    theorems = results.proof["theorems"] if results.proof else ()
    binary = [check for check in checks if check.get("reward_levels") == [0.0, 1.0]]
    levels = [check for check in checks if len(check.get("reward_levels") or ()) > 2]
    gaps = [(check, claim["gap"]) for check in checks if (claim := _claim(check, "the_problem_is_a_bandit")).get("gap")]
    sure = [max(gap) for check, gap in gaps if _deterministic(check)]
    chance = [max(gap) for check, gap in gaps if not _deterministic(check)]
    return Facts(
        theorems={str(theorem["id"]): bool(theorem["verified"]) for theorem in theorems},
        problems=tuple(name for name, check in results.checks.items() if check["methods"]),
        exact_error=_largest(_claim(check, "the_loss_is_weighted_sft").get("relative_error") for check in checks),
        **_inner_steps(checks),
        **_penalty(checks),
        critic_error=_first(_method(check, "ppo").get("relative_error") for check in checks),
        variance_ratio=_first(map(_variance_ratio, checks)),
        length_share=_first(_largest(_method(check, "grpo").get("off_direction") or ()) for check in binary),
        direction_share=_largest(_off_direction(check) for check in binary),
        levels_share=_first(
            _largest(_method(check, "grpo").get("off_direction_without_length") or ()) for check in levels
        ),
        bandit_gap=_largest(sure),
        chance_gap=_largest(chance),
        probes=_probes(results.all_arms),
        contests=tuple(map(_contest, against_reference(results.arms, PASS))),
        lengthening=tuple(found for arm in _references(results) if (found := _lengthening(arm)) is not None),
    )


def kind(arm: Arm) -> str:
    """What the settings of an arm say of its sampling and weights; the first departure that applies."""
    config = arm.runs[0].config
    objective = config.get("objective")
    objective = objective if isinstance(objective, Mapping) else {}
    advantage = objective.get("advantage")
    if isinstance(advantage, Mapping) and advantage.get("estimator", "outcome") != "outcome":
        return CRITIC
    if objective.get("kl") is not None:
        return PENALISED
    if config.get("refresh_every", 1) != 1:
        return STALE
    return REUSED if config.get("num_iterations", 1) > 1 or config.get("num_minibatches", 1) > 1 else ON_POLICY


def _probes(arms: Iterable[Arm]) -> dict[str, Probe]:
    found: dict[str, Probe] = {}
    for arm in arms:
        _, errors = arm.matrix("equivalence/relative_error")
        if errors.size:
            tolerance = TRAINED.get(str(arm.runs[0].config.get("dtype", "float32")), TRAINED["float32"])
            before = found.get(kind(arm), Probe(error=0.0, tolerance=tolerance, runs=0))
            found[kind(arm)] = Probe(
                error=max(before.error, float(errors.max())),
                tolerance=max(before.tolerance, tolerance),
                runs=before.runs + len(arm.runs),
            )
    return found


def _inner_steps(checks: Iterable[Row]) -> dict[str, Any]:
    """Of GRPO, which has a ratio to clip, or the first method that has a curve."""
    for check in checks:
        curves = check.get("inner_steps", {}).get("methods", {})
        if curve := curves.get("grpo"):
            errors = over_draws(curve, "relative_error")
            later = [
                (int(step), float(e)) for step, e in zip(curve["step"], errors, strict=True) if step and np.isfinite(e)
            ]
            if later:
                (step, error), (last, end) = later[0], later[-1]
                return {"inner_step": step, "inner_error": error, "last_step": last, "last_error": end}
    return {}


def _penalty(checks: Iterable[Row]) -> dict[str, Any]:
    for check in checks:
        if curve := check.get("kl", {}).get("k3"):
            errors = over_draws(curve, "relative_error")
            place = int(np.argmin(np.abs(np.array(curve["beta"]) - COUNTED_BETA)))
            return {"beta": float(curve["beta"][place]), "kl_error": float(errors[place])}
    return {}


def _off_direction(check: Row) -> float | None:
    """Over the methods that the theorem is about: those without a KL term and without a critic."""
    return _largest(
        part
        for key, entry in check["methods"].items()
        if key != "grpo-kl" and entry.get("c_of_binary_reward") is not None
        for part in entry.get("off_direction_without_length") or ()
    )


def _variance_ratio(check: Row) -> float | None:
    variance = check.get("variance") or {}
    total = sum(variance.get("state_advantage", ()))
    return sum(variance["baseline"]) / total if total else None


def _contest(comparison: Comparison) -> Contest:
    left, right = comparison.estimates
    seeds = comparison.over_seeds
    return Contest(
        task=comparison.arm.task,
        model=comparison.arm.model,
        steps=comparison.step,
        seeds=seeds.count,
        reference=comparison.reference.label,
        reference_value=left.mean,
        method=comparison.arm.label,
        value=right.mean,
        difference=seeds.mean,
        **_ends(seeds),
        distinguished=comparison.distinguished,
        doubt=comparison.doubt,
    )


def _lengthening(arm: Arm) -> Lengthening | None:
    moved = change(arm, "eval/incorrect_mean_length")
    if moved is None:
        return None
    by = moved[2]
    return Lengthening(
        task=arm.task,
        model=arm.model,
        method=arm.label,
        seeds=by.count,
        change=by.mean,
        **_ends(by),
        changed=by.conclusive,
    )


def _ends(estimate: Estimate) -> dict[str, float | None]:
    """An interval that too few seeds give is no evidence, and is left out."""
    shown = estimate.count >= FEWEST
    return {"low": estimate.low if shown else None, "high": estimate.high if shown else None}


def _references(results: Results) -> list[Arm]:
    first: dict[tuple[str, str], Arm] = {}
    for arm in results.arms:
        first.setdefault((arm.task, arm.model), arm)
    return list(first.values())


def _claim(check: Row, name: str) -> Row:
    found: Row = (check.get("claims") or {}).get(name) or {}
    return found


def _deterministic(check: Row) -> bool:
    fact = check.get("assumptions", {}).get("deterministic")
    return fact is None or bool(fact["holds"])


def _method(check: Row, key: str) -> Row:
    found: Row = check["methods"].get(key) or {}
    return found


def _largest(values: Iterable[float | None]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)


def _first(values: Iterable[float | None]) -> float | None:
    return next((float(value) for value in values if value is not None), None)
