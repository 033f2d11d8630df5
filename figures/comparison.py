"""Arms against the reference, paired: what the data distinguish, and how large a difference they leave possible."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from figures.runs import Arm
from figures.statistics import CONFIDENCE, FEWEST, Estimate, holm, paired_bootstrap, t_interval

GREEDY = "eval/accuracy_strict"
"""Greedy decoding, strict parsing, held-out prompts."""
PASS = "eval/pass@1"
"""Several samples of every held-out prompt at the temperature of training: less noise than one greedy answer."""

PRIMARY = (PASS, GREEDY)
"""What verdicts on success are about, at the last evaluation that all seeds share."""


@dataclass(frozen=True)
class Comparison:
    """`arm` against `reference` on one measurement at one step. `difference` is arm minus reference.

    Attributes:
        over_seeds: the difference, paired by seed.
        over_prompts: the same with the trained models held fixed, paired by prompt; None without per-prompt results.
        family: how many comparisons with this reference were tested together.
        adjusted: the p-value over seeds, corrected for them by Holm's rule; None where there is none.
    """

    reference: Arm
    arm: Arm
    name: str
    step: int
    estimates: tuple[Estimate, Estimate]
    over_seeds: Estimate
    over_prompts: Estimate | None
    family: int = 1
    adjusted: float | None = None

    @property
    def intervals(self) -> tuple[Estimate, ...]:
        """Those of the two that have an interval."""
        return tuple(e for e in (self.over_seeds, self.over_prompts) if e is not None and e.low is not None)

    @property
    def doubt(self) -> str:
        """Why the two are not distinguished; empty where they are: neither seeds nor prompts explain the difference."""
        seeds, prompts = self.over_seeds, self.over_prompts
        if seeds.count < FEWEST:
            return f"{seeds.count} seed{'s' * (seeds.count > 1)} cannot tell, it takes {FEWEST}"
        if seeds.p_value is None:
            return "the seeds do not differ, so their spread is unknown"
        if not seeds.conclusive:
            return "the seeds leave 0 possible"
        if self.adjusted is None or self.adjusted > 1 - CONFIDENCE:
            return f"of {self.family} comparisons one is expected to look like this by chance"
        return "" if prompts is None or prompts.excludes_zero else "the prompts leave 0 possible"

    @property
    def distinguished(self) -> bool:
        """True where nothing is left to doubt at the level of the intervals."""
        return not self.doubt


def compare(reference: Arm, arm: Arm, name: str) -> Comparison | None:
    """Compare two arms at the last step that all seeds of both have evaluated; None without a shared seed or step."""
    seeds = [seed for seed in reference.seeds if seed in arm.seeds]
    (ours, left), (theirs, right) = reference.matrix(name), arm.matrix(name)
    shared = np.intersect1d(ours, theirs)
    if not seeds or not shared.size:
        return None
    step = int(shared[-1])
    values = [
        dict(zip(side.seeds, matrix[:, steps == step][:, 0], strict=True))
        for side, steps, matrix in ((reference, ours, left), (arm, theirs, right))
    ]
    return Comparison(
        reference,
        arm,
        name,
        step,
        (t_interval(list(values[0].values())), t_interval(list(values[1].values()))),
        t_interval([values[1][seed] - values[0][seed] for seed in seeds]),
        _over_prompts(reference, arm, name, seeds, step),
    )


def against_reference(arms: Sequence[Arm], name: str) -> list[Comparison]:
    """The first arm of every task and model against each of the others, each such family corrected by Holm's rule."""
    families: dict[tuple[str, str], list[Comparison]] = {}
    first: dict[tuple[str, str], Arm] = {}
    for arm in arms:
        place = (arm.task, arm.model)
        reference = first.setdefault(place, arm)
        if arm is not reference and (result := compare(reference, arm, name)) is not None:
            families.setdefault(place, []).append(result)
    return [comparison for family in families.values() for comparison in corrected(family)]


def corrected(family: Sequence[Comparison]) -> list[Comparison]:
    """The same with Holm's p-values; comparisons of too few seeds are not tested, and do not count."""
    p_values = [c.over_seeds.p_value if c.over_seeds.count >= FEWEST else None for c in family]
    tested = sum(p is not None for p in p_values)
    return [replace(c, adjusted=p, family=tested) for c, p in zip(family, holm(p_values), strict=True)]


def change(arm: Arm, name: str) -> tuple[Estimate, Estimate, Estimate] | None:
    """First value, last value, and last minus first over the seeds; None for fewer than two points."""
    steps, values = arm.matrix(name)
    if steps.size < 2:
        return None
    first, last = values[:, 0], values[:, -1]
    return t_interval(first), t_interval(last), t_interval(last - first)


def _over_prompts(reference: Arm, arm: Arm, name: str, seeds: Sequence[int], step: int) -> Estimate | None:
    sides = [_by_prompt(side, name, seeds, step) for side in (reference, arm)]
    if sides[0] is None or sides[1] is None or sides[0].shape != sides[1].shape:
        return None
    return paired_bootstrap((sides[1] - sides[0]).mean(axis=0))


def _by_prompt(arm: Arm, name: str, seeds: Sequence[int], step: int) -> Float[np.ndarray, "seeds prompts"] | None:
    """Success on every held-out prompt: 0 or 1 of the greedy answer, or the share of the samples."""
    field = {GREEDY: "eval/greedy_correct", PASS: "eval/correct_counts"}.get(name, "")
    rows = [row for run in arm.runs if run.seed in seeds for row in run.evaluations if row["step"] == step]
    if not rows or any(len(row.get(field) or ()) != len(rows[0].get(field) or ()) for row in rows):
        return None
    if not rows[0].get(field):
        return None
    return np.array([np.array(row[field]) / (row["eval/samples"] if name == PASS else 1) for row in rows], dtype=float)
