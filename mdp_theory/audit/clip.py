"""Recover where π/π_old stops mattering: scan a log-ratio, close in on every bound, and tell what is bounded.

The same scan from a second probability of the tokens tells a bound on the ratio from one on probabilities; a scan with
two ratios in a response tells a bound on their mean from one on each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mdp_theory.audit.departures import TOLERANCE, measure
from mdp_theory.audit.fit import digits
from mdp_theory.audit.form import RatioFit
from mdp_theory.audit.loss import Loss
from mdp_theory.audit.probes import ROWS, SCAN_LENGTH, scan

Bounded = Literal["ratio", "tokens", "total-variation", "kl"]


@dataclass(frozen=True)
class ClipFit:
    """Where the ratio stops mattering.

    Attributes:
        kind: `pessimistic` (the minimum of clipped and unclipped), `truncated` (the weight is held, never stopped),
            `two-sided` (stopped on both sides whatever the advantage), `wrong-side` (stopped where it should pass),
            or `other`.
        low, high: the range is [1 - low, 1 + high]; None where no bound was seen.
        dual: bound on the ratio for negative advantages.
        of: what is bounded: the `ratio`; each of the `tokens` before their geometric mean, in [e^-low, e^high]; or the
            `total-variation` or `kl` between old and new probability, at most `high` upwards and `low` downwards.
    """

    kind: Literal["pessimistic", "truncated", "two-sided", "wrong-side", "other"]
    low: float | None
    high: float | None
    dual: float | None
    of: Bounded = "ratio"


Side = tuple[int, int]  # sign of the advantage, direction of the ratio
Points = Mapping[Side, np.ndarray]

# Log-probabilities to scan from, and how far up from there: probabilities stay below 1, or close to it.
_FROM, _REACH = -4.0, 10**0.5
_PROBABLE = ((-1.0, 0.95), (-0.5, 0.45))


@dataclass(frozen=True)
class _Scan:
    """Responses of two tokens from one log-probability, a log-ratio each; their weights at ratio 1."""

    loss: Loss
    ratio: RatioFit
    kl_in_loss: bool
    room: float
    old: float
    sign: np.ndarray
    level: np.ndarray
    offset: np.ndarray

    @property
    def sides(self) -> dict[Side, np.ndarray]:
        """The rows that look at each side."""
        signs = [s for s in (1, -1) if (self.sign == s).any()]
        return {(s, d): np.flatnonzero(self.sign == s)[d > 0 :: 2] for s in signs for d in (1, -1)}

    @property
    def factor(self) -> int:
        """How often a token's log-ratio is in the ratio's."""
        return SCAN_LENGTH if self.ratio.level == "sequence-product" else 1

    def weights(self, delta: np.ndarray) -> np.ndarray:
        """Weights at these log-ratios per weight at ratio 1, [rows, tokens]."""
        probe = scan(delta, reference_moves=self.kl_in_loss, old=self.old)
        moved = measure(self.loss, probe).tokens[:, :SCAN_LENGTH] - self.offset[:, None]
        found: np.ndarray = moved / np.where(self.sign != 0, self.level, 1.0)[:, None]
        return found

    def look(self, points: Points) -> dict[Side, tuple[list[str], np.ndarray]]:
        """What becomes of the ratio at each point, in a word, and the weight per weight at ratio 1."""
        delta = np.zeros(ROWS)
        for side, rows in self.sides.items():
            delta[rows] = points[side]
        moved = self.weights(delta).mean(axis=1)
        passes = np.isclose(moved, np.exp(self.ratio.exponent * self.factor * delta), rtol=max(1e-5, self.room))
        words = np.where(passes, "passes", np.where(np.abs(moved) < 1e-9, "stops", "held"))
        return {side: (list(words[rows]), moved[rows]) for side, rows in self.sides.items()}


@dataclass(frozen=True)
class _Bounds:
    """What happens past the bound of each side, in a word, and the bound: a ratio; none where it passes throughout."""

    kinds: dict[Side, str]
    at: dict[Side, float]


def recover_clip(
    loss: Loss, ratio: RatioFit, *, beside: bool, reversed_sign: bool, kl_in_loss: bool, room: float
) -> ClipFit | None:
    """The range in which the ratio acts; None where there is none.

    Args:
        beside: tokens have weight without reward, which is not the ratio's to move.
        reversed_sign: the reward is minimised, so weights have the sign opposite to their advantage's.
        kl_in_loss: the reference follows the current policy, so that a KL term in the loss is silent; otherwise it
            stays with the old one, so that one in the reward is.
        room: relative differences that may be rounding.
    """

    def start(old: float) -> _Scan | None:
        still = measure(loss, scan(np.zeros(ROWS), reference_moves=kl_in_loss, old=old))
        offset = np.zeros(ROWS)
        if beside:
            bare = scan(np.zeros(ROWS), rewarded=False, reference_moves=kl_in_loss, old=old)
            offset = measure(loss, bare).response
        level = still.response - offset
        if still.failure or not level.any():
            return None
        sign = np.sign(np.where(np.abs(level) > TOLERANCE * np.abs(level).max(), level, 0.0)).astype(int)
        return _Scan(loss, ratio, kl_in_loss, room, old, -sign if reversed_sign else sign, level, offset)

    first = start(_FROM)
    bounds = None if first is None else _close_in(first, _REACH)
    if first is None or bounds is None:
        return None
    if room:  # a bound is where a rounded ratio passes it: no more digits than rounding leaves
        bounds = _Bounds(bounds.kinds, {side: _coarse(bound, room) for side, bound in bounds.at.items()})
    elif ratio.level == "token":
        scans = [start(old) for old, _ in _PROBABLE]
        if scans[0] is not None and not _as_predicted(scans[0], bounds, _PROBABLE[0][1]):
            closer = [None if s is None else _close_in(s, up) for s, (_, up) in zip(scans, _PROBABLE, strict=True)]
            found = _of_probabilities([b for b in closer if b is not None])
            if found is not None:
                return found
    fit = _name_clip(bounds) if bounds.at else None
    if fit is not None and fit.kind == "pessimistic" and ratio.level == "sequence" and _token_by_token(first, bounds):
        low, high = (None if x is None else digits(abs(np.log(x))) for x in map(bounds.at.get, ((-1, -1), (1, 1))))
        return ClipFit("pessimistic", low, high, None, "tokens")
    return fit


def _coarse(bound: float, room: float) -> float:
    """The bound whose distance from 1 has the fewest digits, among those that rounding does not tell apart."""
    near = (1 + float(f"{bound - 1:.{count}g}") for count in (1, 2, 3))
    return next((short for short in near if abs(short - bound) < room / 2 * bound), bound)


def _close_in(looking: _Scan, reach: float) -> _Bounds | None:
    """Every bound, by halving and more; None where the ratio does not enter as it seemed to."""
    sides = looking.sides
    points = {
        (s, d): d * np.logspace(-5, np.log10(reach if d > 0 else _REACH), len(rows)) for (s, d), rows in sides.items()
    }
    seen = looking.look(points)
    # A bound within rounding of a point may look like either: what happens past it decides.
    kinds = {side: next((w for w in reversed(words) if w != "passes"), "passes") for side, (words, _) in seen.items()}
    if set(kinds.values()) == {"passes"}:
        return _Bounds(kinds, {})
    if any(
        word != "passes" for side, (words, _) in seen.items() for word in words[: (np.abs(points[side]) < 1e-4).sum()]
    ):
        return None  # no method clips as tightly as that
    inside, bounds = dict.fromkeys(sides, 0.0), {}
    for _ in range(11):
        for side, (words, moved) in seen.items():
            index = next((i for i, word in enumerate(words) if word != "passes"), len(words) - 1)
            inside[side], outside = (points[side][index - 1] if index else inside[side]), points[side][index]
            # Just on a bound a gradient may be anything between the two sides': what happens past it decides.
            held = kinds[side] == "held"
            bounds[side] = float(moved[index]) if held else float(np.exp(looking.factor * outside))
            points[side] = np.linspace(inside[side], outside, len(words) + 1)[1:]
        seen = looking.look(points)
    return _Bounds(kinds, {side: bound for side, bound in bounds.items() if kinds[side] != "passes"})


def _as_predicted(looking: _Scan, bounds: _Bounds, reach: float) -> bool:
    """Whether bounds on the ratio found from one probability are those from another, as far as they can be reached."""
    points: dict[Side, np.ndarray] = {}
    for side, rows in looking.sides.items():
        end = reach if side[1] > 0 else -_REACH
        bound = np.log(bounds.at[side]) if side in bounds.at else np.inf * side[1]
        edge = bound * np.array([0.99, 1.01]) if abs(bound) * 1.01 < abs(end) else np.array([0.9, 1.0]) * end
        points[side] = np.concatenate([np.linspace(0.2, 0.8, len(rows) - 2) * edge[0], edge])
    seen = looking.look(points)
    for side, (words, _) in seen.items():
        bound = abs(np.log(bounds.at[side])) if side in bounds.at else np.inf
        if any((word == "passes") != (abs(x) < bound) for word, x in zip(words, points[side], strict=True)):
            return False
    return True


def _of_probabilities(bounds: list[_Bounds]) -> ClipFit | None:
    """The distance between old and new probability that is the same at the bounds of all scans."""
    if len(bounds) < len(_PROBABLE) or not all(set(each.kinds.values()) <= {"passes", "stops"} for each in bounds):
        return None
    sides = set(bounds[0].at)
    if not sides or sides != set(bounds[1].at) or not sides <= {(1, 1), (-1, -1)}:
        return None
    for measured in ("total-variation", "kl"):
        found: dict[Side, float] = {}
        for side in sides:
            here = [_apart(measured, old, each.at[side]) for each, (old, _) in zip(bounds, _PROBABLE, strict=True)]
            if abs(here[0] - here[1]) < 1e-5 * max(here):
                found[side] = digits(float(f"{here[0]:.5g}"))
        if set(found) == sides:
            of: Bounded = "total-variation" if measured == "total-variation" else "kl"
            return ClipFit("pessimistic", found.get((-1, -1)), found.get((1, 1)), None, of)
    return None


def _apart(measured: str, old_logp: float, ratio: float) -> float:
    old = float(np.exp(old_logp))
    new = old * ratio
    if measured == "total-variation":
        return abs(new - old)
    return float(-old * np.log(ratio) + (1 - old) * np.log((1 - old + 1e-8) / (1 - new + 1e-8)))


def _token_by_token(looking: _Scan, bounds: _Bounds) -> bool:
    """Whether a token past the bound stops alone, where the mean of the response's log-ratios is within."""
    delta, inner = np.zeros((ROWS, SCAN_LENGTH)), np.zeros(ROWS, bool)
    for side in set(bounds.at) & {(1, 1), (-1, -1)}:
        rows, bound = looking.sides[side], np.log(bounds.at[side])
        delta[rows], inner[rows] = np.array([1.5, -1.0]) * bound, True
    moved = looking.weights(delta)[inner]
    return bool(inner.any() and (np.abs(moved[:, 0]) < 1e-9).all() and (np.abs(moved[:, 1]) > 1e-3).all())


def _name_clip(bounds: _Bounds) -> ClipFit:
    kinds, at = bounds.kinds, bounds.at

    def bound(*sides: Side) -> float | None:
        found = [at[side] for side in sides if side in at]
        return digits(abs(found[0] - 1)) if found else None

    up, down = {s: kinds.get((s, 1), "passes") for s in (1, -1)}, {s: kinds.get((s, -1), "passes") for s in (1, -1)}
    words = set(kinds.values()) - {"passes"}
    dual = digits(at[-1, 1]) if (-1, 1) in at else None
    if words == {"held"}:
        return ClipFit("truncated", bound((1, -1), (-1, -1)), bound((1, 1), (-1, 1)), None)
    if words != {"stops"}:
        return ClipFit("other", None, None, None)
    if down[1] == "passes":
        return ClipFit("pessimistic", bound((-1, -1)), bound((1, 1)), dual)
    kind: Literal["two-sided", "wrong-side"] = "two-sided" if up[1] == "stops" or down[-1] == "stops" else "wrong-side"
    return ClipFit(kind, bound((1, -1)), bound((1, 1), (-1, 1)), None)
