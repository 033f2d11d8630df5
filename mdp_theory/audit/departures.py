"""Where a loss departs from outcome-driven SFT: each question is put by two probes that differ in one thing.

A loss is outcome-driven SFT on a batch when its token weights are constant within each response and depend on nothing
but the outcomes and lengths of the response's group; a factor common to the whole batch, such as its token count, is
part of the learning rate. What the probes cannot see, such as a rule that waits for a thousand tokens, goes unseen.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdp_theory.audit.fit import RECOGNISED, Fit, powers
from mdp_theory.audit.loss import Loss, LossFailure
from mdp_theory.audit.precision import ROUNDING, Precision, precision_of
from mdp_theory.audit.probes import EXTRA, FLAT, FOURS, HALF, ORDER, RAGGED, SHRINKAGE, VARIED, WIDTH
from mdp_theory.methods.batch import Batch

Track = Callable[[Iterable[str]], Iterable[str]]

# Weights that differ by less, relative to the largest, count as equal: room for a loss that computes in float32.
TOLERANCE = 2e-6

# Whatever else is found does not keep a loss from being outcome-driven.
BREAKING = ("time", "probability", "ratio", "clip", "kl", "padding", "prompt tokens", "neighbours", "group labels")


@dataclass(frozen=True)
class Finding:
    """One departure: its name, whether it is seen on-policy already, and what was seen."""

    name: str
    when: str
    detail: str


@dataclass(frozen=True)
class Measured:
    """A loss on one probe; the weights are NaN where it failed."""

    batch: Batch
    value: float
    weights: np.ndarray
    failure: str | None = None

    @property
    def tokens(self) -> np.ndarray:
        """Weights by token, [rows, WIDTH]: the prompt cut off, 0 past the end."""
        mask = np.asarray(self.batch.mask)
        start = mask.argmax(axis=1)[0]
        return (self.weights * mask)[:, start : start + WIDTH]

    @property
    def response(self) -> np.ndarray:
        """Mean weight of each response's tokens, [rows]."""
        mask = np.asarray(self.batch.mask)
        return (self.weights * mask).sum(axis=1) / mask.sum(axis=1)


@dataclass(frozen=True)
class Evidence(Mapping[str, Measured]):
    """A loss on every probe, and the precision that it computes in.

    Attributes:
        measured: by the probe's name.
        precision: `float64` (or float32, which the tolerances leave room for), `bfloat16` or `float16`.
    """

    measured: Mapping[str, Measured]
    precision: Precision

    def __getitem__(self, name: str) -> Measured:
        return self.measured[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.measured)

    def __len__(self) -> int:
        return len(self.measured)

    @property
    def tolerance(self) -> float:
        """Weights that differ by less, relative to the largest, count as equal."""
        return max(TOLERANCE, ROUNDING[self.precision])

    def fits(self, limit: float) -> float:
        """What a fit may leave: `limit`, or what rounding leaves."""
        return max(limit, ROUNDING[self.precision])

    def apart(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether weights differ by more than rounding; unknown counts as no."""
        size = max(np.abs(one).max(initial=0), np.abs(other).max(initial=0))
        return bool(np.abs(one - other).max(initial=0) > self.tolerance * size)

    def common_factor(self, one: np.ndarray, other: np.ndarray) -> float | None:
        """The number that turns `one` into `other`, if there is one; unknown weights count as equal."""
        square = (one * one).sum()
        factor = float((one * other).sum() / square) if square > 0 else 1.0
        if not np.isfinite(factor):
            return 1.0
        return None if self.apart(factor * one, other) else factor


def gather(loss: Loss, batches: Mapping[str, Batch], *, track: Track) -> Evidence:
    """Put every probe to the loss; `track` wraps their names, for a progress bar."""
    measured = {name: measure(loss, batches[name]) for name in track(batches)}
    # Rewards in tenths have few digits, times 5 at least; the shrunk ones have not.
    names = [name for name in measured if name.startswith("reward: ")] + [f"shrunk: {SHRINKAGE[0]:g}"]
    equal = [measured[name].response for name in names]
    return Evidence(measured, precision_of(equal))


def measure(loss: Loss, batch: Batch) -> Measured:
    """Value and token weights, or the failure in words."""
    try:
        value, weights = loss.differentiate(batch)
    except LossFailure as failure:
        return Measured(batch, np.nan, np.full(np.shape(batch.mask), np.nan), str(failure))
    return Measured(batch, value, weights)


def against(
    evidence: Evidence, probe: str, base: str, features: Mapping[Any, np.ndarray], *, offset: np.ndarray | float = 0.0
) -> Fit | None:
    """The powers by which weights on one probe differ from those on another, of features [rows, tokens]."""
    one, other = evidence[probe].tokens - offset, evidence[base].tokens - offset
    seen = np.abs(other) > evidence.tolerance * np.abs(other).max()
    quotient = one[seen] / other[seen]
    if not len(quotient) or not (quotient > 0).all():
        return None
    columns = {name: column[seen] for name, column in features.items()}
    return powers(columns, np.log(quotient), np.abs(other[seen]), room=evidence.fits(RECOGNISED))


def departures(evidence: Evidence) -> list[Finding]:
    """Everything the fixed probes show; the clip range needs probes of its own."""
    checks = (
        _time,
        _probability,
        _padding,
        _prompt,
        _neighbours,
        _labels,
        _reference,
        _equal_rewards,
        _ratio,
        _order_of_time,
    )
    found = [finding for check in checks for finding in check(evidence)]
    return found + list(_failures(evidence))


def _time(evidence: Evidence) -> Iterator[Finding]:
    flat = evidence["flat"]
    mask = np.asarray(flat.batch.mask)
    if evidence.apart(flat.tokens, mask * flat.response[:, None]):
        yield Finding("time", "on-policy", _profile(flat.tokens))


def _profile(weights: np.ndarray) -> str:
    """How the weights of the longest response move with the position t of the token, in words."""
    rows = [row[:n] for row, n in zip(weights, RAGGED[0], strict=True) if n > 2 and row.any()]
    ends = {"the first token gets no weight": 0, "the last token (EOS) gets no weight": -1}
    none = (end for end, at in ends.items() if rows and all(row[at] == 0 for row in rows))
    longest = max(rows, key=len, default=np.zeros(0))
    shown = " ".join(f"{x:.3g}" for x in longest / np.abs(longest).max(initial=1e-300))
    return f"{next(none, 'the weight depends on the position of the token')}: {shown}"


def _probability(evidence: Evidence) -> Iterator[Finding]:
    flat, varied = evidence["flat"].tokens, evidence["varied"].tokens
    if not evidence.apart(flat, varied):
        return
    detail = "the weights move with the tokens' own log-probabilities, although π = π_old"
    fit = against(evidence, "varied", "flat", {"log π": VARIED})
    if fit is not None and (slope := fit.exponents.get("log π", -1.0)) > -1:
        detail += f": as π^{slope:.4g}, the ratio of a policy at temperature {1 / (1 + slope):.4g} to π_old at 1"
    if np.allclose(varied * (1 + FLAT), flat * (1 + VARIED), rtol=1e-5, atol=1e-9 * np.abs(flat).max()):
        detail += ": as 1 + log π, a weight that should be detached and is differentiated; below 1/e the sign turns"
    yield Finding("probability", "on-policy", detail)


def _padding(evidence: Evidence) -> Iterator[Finding]:
    flat, junk, wide = (evidence[name] for name in ("flat", "padding-values", "padding-width"))
    outside = np.asarray(flat.batch.mask) == 0
    if (np.abs(flat.weights) * outside).max() > 0 or (np.abs(junk.weights) * outside).max() > 0:
        yield Finding("padding", "on-policy", "padding tokens get weight")
    elif evidence.apart(flat.tokens, junk.tokens):
        yield Finding("padding", "on-policy", "the values of padding tokens change the weights")
    if evidence.apart(flat.tokens, wide.tokens):
        factor = evidence.common_factor(flat.tokens, wide.tokens)
        if factor is not None and abs(factor * (WIDTH + EXTRA) / WIDTH - 1) < 1e-5:
            detail = "the padded length is the normaliser: wider padding shrinks the weights in proportion"
        else:
            detail = "wider padding changes the weights" + ("" if factor is None else f" by a factor {factor:.4g}")
        yield Finding("padding", "on-policy", detail)


def _prompt(evidence: Evidence) -> Iterator[Finding]:
    wide, prompt, other = (evidence[name] for name in ("padding-width", "prompt", "prompt-values"))
    leading = np.abs(prompt.weights[:, :EXTRA]).max()
    if leading > 0:
        yield Finding("prompt tokens", "on-policy", "prompt tokens get weight: they are part of the loss")
    elif evidence.apart(prompt.tokens, other.tokens):
        yield Finding("prompt tokens", "on-policy", "log-probabilities outside the completion change the weights")
    elif evidence.apart(wide.tokens, prompt.tokens):
        yield Finding("prompt tokens", "on-policy", "prompt columns before the completion change its weights")


def _neighbours(evidence: Evidence) -> Iterator[Finding]:
    flat = evidence["flat"].tokens
    mine = flat[:HALF]
    by_position = _by_position(evidence)
    uneven = evidence.apart(flat, _unpermuted(evidence["order"].tokens))
    # A baseline or a deviation over the whole batch only widens the group; what the order of the rows changes does not.
    name = "neighbours" if by_position or uneven else "credit pool"
    moved = evidence.apart(mine, evidence["other-rewards"].tokens[:HALF])
    if ids_ignored(evidence):
        yield Finding(name, "on-policy", "the group ids are ignored")
    elif moved and evidence.common_factor(mine, evidence["other-rewards"].tokens[:HALF]) is not None:
        detail = "other groups' rewards scale the weights: a statistic of the whole batch"
        yield Finding(name, "on-policy", detail)
    elif moved or evidence.common_factor(mine, evidence["other-outcomes"].tokens[:HALF]) is None:
        yield Finding(name, "on-policy", "other groups' rewards change the weights")
    if not by_position and uneven:
        detail = "the order of the rows changes the weights, through their lengths: micro-batches are added up unevenly"
        yield Finding("neighbours", "on-policy", detail)
    elif by_position and not ids_ignored(evidence):
        yield Finding("neighbours", "on-policy", "the order of the rows in the batch changes the weights")
    if evidence.common_factor(mine, evidence["other-lengths"].tokens[:HALF]) is None:
        yield Finding(name, "on-policy", "other groups' lengths change the weights, and not all alike")
    drifted = evidence["drift-from-reference"].tokens
    mates = np.arange(len(flat)) % 4 != 0
    if evidence.apart(drifted[mates], evidence["mate-drift"].tokens[mates]):
        detail = "another response's log-probabilities change the weights (is the advantage detached from them?)"
        yield Finding("neighbours", "off-policy", detail)
    elif evidence.apart(drifted[:HALF], evidence["other-drift"].tokens[:HALF]):
        yield Finding("neighbours", "off-policy", "other groups' log-probabilities change the weights")


def ids_ignored(evidence: Evidence) -> bool:
    """Whether giving every response the same group changes nothing, although other responses' rewards do."""
    flat = evidence["flat"].tokens
    by_position = _by_position(evidence)
    moved = evidence.apart(flat[:HALF], evidence["other-rewards"].tokens[:HALF])
    return not evidence.apart(flat, evidence["labels-merged"].tokens) and (moved or by_position)


def _by_position(evidence: Evidence) -> bool:
    """Whether permuting rows of equal length does more than permute the weights."""
    permuted = _unpermuted(evidence["order-equal-lengths"].tokens)
    return evidence.apart(evidence["reward: three-level"].tokens, permuted)


def _unpermuted(weights: np.ndarray) -> np.ndarray:
    back = np.empty_like(weights)
    back[ORDER] = weights
    return back


def _labels(evidence: Evidence) -> Iterator[Finding]:
    if evidence.apart(evidence["flat"].tokens, evidence["labels"].tokens):
        yield Finding("group labels", "on-policy", "renaming the group ids changes the weights")
    elif evidence.apart(evidence["flat"].tokens, evidence["labels-sparse"].tokens):
        yield Finding("sparse group ids", "on-policy", "the weights change where the group ids are not 0, 1, 2, ...")


def _reference(evidence: Evidence) -> Iterator[Finding]:
    if evidence.apart(evidence["flat"].tokens, evidence["reference"].tokens):
        yield Finding("kl", "on-policy", "the reference policy changes the weights")


def _equal_rewards(evidence: Evidence) -> Iterator[Finding]:
    equal = evidence["equal-rewards"]
    if equal.failure:
        yield Finding("equal rewards", "on-policy", f"the loss {equal.failure} when a group's rewards are equal")
        return
    level = equal.response
    size = evidence.tolerance * np.abs(evidence["flat"].tokens).max()
    if any((level[g == FOURS] > size).any() and (level[g == FOURS] < -size).any() for g in range(6)):
        detail = "responses of equal reward are pushed apart by their lengths: length enters the advantage"
        yield Finding("length", "on-policy", detail)


def _ratio(evidence: Evidence) -> Iterator[Finding]:
    flat = evidence["flat"].tokens
    if evidence.apart(flat, evidence["drift"].tokens) and evidence.apart(flat, evidence["drift-from-reference"].tokens):
        yield Finding("ratio", "off-policy", "the weights move with π/π_old")


def _order_of_time(evidence: Evidence) -> Iterator[Finding]:
    turned = evidence["drift-reversed"].tokens
    back = np.stack([np.append(row[:n][::-1], row[n:]) for row, n in zip(turned, RAGGED[0], strict=True)])
    if evidence.apart(evidence["drift"].tokens, back) and not any(_time(evidence)):
        yield Finding("time", "off-policy", "turning a response's tokens around changes their weights")


def _failures(evidence: Evidence) -> Iterator[Finding]:
    """One finding for each way in which the loss fails, with all that it fails on."""
    on = {
        "order": "groups whose rows are not contiguous",
        "labels-sparse": "group ids other than 0, 1, 2, ...",
        "labels-merged": "a single group",
        "prompt": "masks that do not start with ones",
        "padding-width": "wider padding",
    }
    by_rewards = {name for name in evidence if "equal" in name or name.startswith("no-reward")}
    failures: dict[str, dict[str, None]] = {}
    for name, measured in evidence.items():
        if measured.failure and not (evidence["equal-rewards"].failure and name in by_rewards):
            kind = name.split(":")[0].removesuffix("-lengths").removesuffix("-equal")
            told = {"no-reward": "batches without reward", "shrunk": "small rewards"}.get(kind, on.get(name, name))
            failures.setdefault(measured.failure, {})[told] = None
    for failure, where in failures.items():
        yield Finding("fails", "on-policy", f"the loss {failure} on {'; '.join(where)}")
