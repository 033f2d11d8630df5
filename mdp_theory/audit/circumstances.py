"""What an audit says about a loss besides its formula: its credit pool, its micro-batches, the arguments it ignores."""

from dataclasses import dataclass

import numpy as np

from mdp_theory.audit.advantage import AdvantageFit
from mdp_theory.audit.departures import Evidence
from mdp_theory.audit.loss import Loss, LossFailure
from mdp_theory.audit.probes import HALF

PARTS = 3
"""Micro-batches that the batch is split into: of two whole groups each."""


@dataclass(frozen=True)
class MicroBatches:
    """What gradient accumulation does to the weights.

    Attributes:
        change: whether the weights depend on how the batch is split; None where the loss cannot be split.
        detail: how, in words.
    """

    change: bool | None
    detail: str


def micro_batches(loss: Loss, evidence: Evidence) -> MicroBatches:
    """Split the ragged probe into micro-batches of whole groups, accumulate, and compare."""
    whole = evidence["flat"]
    if loss.in_parts is None:
        return MicroBatches(False, "denominators are those of the whole batch")
    try:
        _, parts = loss.in_parts(whole.batch, PARTS)
    except LossFailure as failure:
        return MicroBatches(None, f"the loss {failure} on a third of the batch")
    mask = np.asarray(whole.batch.mask)
    one, other = whole.tokens, (parts * mask)[:, : whole.tokens.shape[1]]
    if not evidence.apart(one, other):
        return MicroBatches(False, "accumulated micro-batches add up to the whole batch")
    factor = evidence.common_factor(one, other)
    if factor is not None:
        return MicroBatches(True, f"{PARTS} micro-batches give {factor:.4g} times the weights of the whole batch")
    square = (one * one).sum(axis=1)
    by_row = np.where(square > 0, (one * other).sum(axis=1) / np.where(square > 0, square, 1.0), np.nan)
    low, high = np.nanmin(by_row), np.nanmax(by_row)
    return MicroBatches(
        True, f"{PARTS} micro-batches weigh responses by {low:.3g} to {high:.3g} of the whole batch's weights"
    )


def ignored(evidence: Evidence) -> tuple[str, ...]:
    """Arguments that change neither the loss nor a weight, of those that an objective may do without."""
    pairs = {
        "old_logp": [("old-alone", "flat")],
        "ref_logp": [("reference", "flat"), ("reference-varied", "varied")],
        "group": [("labels-merged", "flat")],
    }

    def same(name: str, other: str) -> bool:
        one, two = evidence[name], evidence[other]
        moved = abs(one.value - two.value) > 1e-9 * max(abs(two.value), np.abs(two.weights).max())
        return not moved and not evidence.apart(one.tokens, two.tokens)

    return tuple(argument for argument, probes in pairs.items() if all(same(*pair) for pair in probes))


def credit_pool(evidence: Evidence, advantage: AdvantageFit | None, *, fault: bool) -> str | None:
    """Whose outcomes decide a response's weight.

    Args:
        fault: other responses enter in a way that is no pool (by their place in the batch, through log-probabilities).

    Returns:
        `response` (its own), `group`, `batch` (the outcomes of all responses), `all` (their lengths too), or so many
        consecutive `rows`; None where there is no saying.
    """
    if advantage is not None and advantage.grouping not in ("ids", "batch"):
        return f"every {advantage.grouping}"
    if fault:
        return None
    if advantage is None:
        return None if any(evidence[name].failure for name in ("other-rewards", "other-outcomes")) else _seen(evidence)
    rule = advantage.rule
    if rule.whiten == "tokens":
        return "all"
    if advantage.grouping == "batch" or rule.whiten != "none" or rule.scale == "batch-std":
        return "batch"
    alone = rule.baseline == "none" and rule.scale == "none" and rule.outcome != "above-mean"
    return "response" if alone and advantage.keep != "mixed-groups" else "group"


def _seen(evidence: Evidence) -> str:
    mine = slice(0, HALF)
    moves = {
        name: evidence.common_factor(evidence["flat"].tokens[mine], evidence[name].tokens[mine]) is None
        for name in ("other-lengths", "other-outcomes", "other-rewards")
    }
    return "all" if moves["other-lengths"] else "batch" if any(moves.values()) else "group"
