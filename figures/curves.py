"""What panels hold: measurements against a step or another dial, averaged over the seeds of each arm."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from figures.runs import Arm
from figures.statistics import t_half_width

BAND_SEEDS = 5
"""Bands from so many seeds: a t interval of fewer is so wide that it hides the lines, and the seeds are shown."""
ROUNDING = 1e-6
"""Values that differ by less are one: gradients of a float32 model agree to about 1e-7."""


class MissingData(Exception):
    """A figure or table cannot be made from these results; the message is the reason."""


@dataclass(frozen=True)
class Curve:
    """A line.

    Attributes:
        band: the lower and the upper edge at every point; None for exact values and for few seeds.
        seeds: the values of each seed, drawn as thin lines in place of a band.
        raw: the values before smoothing, drawn pale behind the line.
        look: a label or a method's key whose look it has; its own label where empty.
        points: points without a line; they have no entry in the legend.
    """

    label: str
    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    band: Float[np.ndarray, "2 points"] | None = None
    seeds: Float[np.ndarray, "seeds points"] | None = None
    look: str = ""
    points: bool = False
    raw: Float[np.ndarray, " points"] | None = None


@dataclass(frozen=True)
class Panel:
    """The contents of one pair of axes; `log_x` is the base of a logarithmic axis with a tick at every point.

    Attributes:
        names: stand at x = 0, 1, ... where x counts things that have names; their marks are set side by side.
        percent: y is a share, and written in per cent.
        scale: panels of one figure with the same name here have the same y axis.
        limits: horizontal lines with their names: a tolerance, a bound.
        zero: what is at most this counts as 0, for which a logarithmic axis has a place of its own.
        direct: names stand at the ends of the lines and not in the legend.
        unnamed: they stand elsewhere.
        dodge: marks that would hide one another are moved a little to the sides.
    """

    title: str
    xlabel: str
    ylabel: str
    curves: tuple[Curve, ...]
    log_y: bool = False
    log_x: int | None = None
    markers: bool = False
    names: tuple[str, ...] = ()
    percent: bool = False
    scale: str = ""
    limits: tuple[tuple[float, str], ...] = ()
    zero: float = 0.0
    direct: bool = False
    unnamed: bool = False
    dodge: bool = False

    @property
    def measure(self) -> str:
        """The label of the y axis on one line."""
        return self.ylabel.replace("\n", " ")


@dataclass(frozen=True)
class Interval:
    """One row of a forest: a value with its intervals, the first drawn thick and the others thin; None where none."""

    label: str
    mean: float
    ranges: tuple[tuple[float, float] | None, ...]
    look: str = ""


@dataclass(frozen=True)
class Forest:
    """A pair of axes with a row for each difference or effect, and a line at 0."""

    title: str
    xlabel: str
    rows: tuple[Interval, ...]
    percent: bool = False


Rows: TypeAlias = Sequence[Sequence[Panel | Forest]]


def line_labels(rows: Iterable[Sequence[Panel | Forest]]) -> list[str]:
    """The names of all lines, each once."""
    panels = (panel for row in rows for panel in row if isinstance(panel, Panel))
    return list(dict.fromkeys(curve.label for panel in panels for curve in panel.curves))


@dataclass(frozen=True)
class Sheet:
    """Panels in rows, and what is left out of them and why, in sentences."""

    rows: tuple[tuple[Panel | Forest, ...], ...]
    notes: tuple[str, ...] = ()


def seed_curve(arm: Arm, name: str, *, smooth: bool = False, log: bool = False) -> Curve | None:
    """The mean over seeds of one measurement against the step; None where the seeds share no recorded step.

    `smooth` takes a centred running mean of every seed first, over `smoothing_window` points. On a logarithmic axis
    the band is the range over seeds: a t interval can reach below 0.
    """
    steps, values = arm.matrix(name)
    if not steps.size:
        return None
    window = smoothing_window(steps.size) if smooth else 1
    curve = mean_curve(arm.label, steps.astype(float), running_mean(values, window))
    if log and curve.band is not None:
        curve = replace(curve, band=np.stack([values.min(axis=0), values.max(axis=0)]))
    return replace(curve, raw=values.mean(axis=0)) if window > 1 else curve


def mean_curve(label: str, x: Float[np.ndarray, " points"], values: Float[np.ndarray, "seeds points"]) -> Curve:
    """The mean over seeds with what is drawn beside it: a t interval, or the seeds themselves where they are few."""
    mean = values.mean(axis=0)
    if len(values) < BAND_SEEDS:
        return Curve(label, x, mean, seeds=values if len(values) > 1 else None)
    half = t_half_width(values)
    return Curve(label, x, mean, np.stack([mean - half, mean + half]))


def smoothing_window(points: int) -> int:
    """An odd number of points, about a tenth of the curve: 1, which smooths nothing, below 20 points."""
    return 2 * round(points / 20) + 1 if points >= 20 else 1


def running_mean(values: Float[np.ndarray, "seeds points"], window: int) -> Float[np.ndarray, "seeds points"]:
    """Centred running mean; near the ends over the points that there are."""
    kernel = np.ones(window)
    count = np.convolve(np.ones(values.shape[1]), kernel, mode="same")
    return np.stack([np.convolve(row, kernel, mode="same") / count for row in values])


def informative(rows: Iterable[Sequence[Panel | Forest]]) -> Sheet:
    """Leave out panels that show nothing, or one number throughout, and say so."""
    kept, notes = [], []
    for row in rows:
        told = [(panel, "" if isinstance(panel, Forest) else _says_nothing(panel)) for panel in row]
        notes += [note for _, note in told if note]
        if shown := tuple(panel for panel, note in told if not note):
            kept.append(shown)
    return Sheet(tuple(kept), tuple(dict.fromkeys(notes)))


def drawable(sheets: Mapping[str, Sheet], *, without: str) -> dict[str, Sheet]:
    """Those on which something is left.

    Raises:
        MissingData: none; the reason is what was left out, or `without`.
    """
    found = {name: sheet for name, sheet in sheets.items() if sheet.rows}
    if not found:
        notes = dict.fromkeys(note for sheet in sheets.values() for note in sheet.notes)
        raise MissingData("; ".join(notes) or without)
    return found


def _says_nothing(panel: Panel) -> str:
    """Why the panel is not worth its place; empty where it is."""
    drawn = [curve.y[np.isfinite(curve.y)] for curve in panel.curves]
    values = np.concatenate(drawn) if drawn else np.array([])
    values = np.where(np.abs(values) <= panel.zero, 0.0, values)
    where = f" ({panel.title})" if panel.title else ""
    if not values.size:
        return f"{panel.measure}{where}: not measured"
    # A logarithmic axis shows rounding as what it is; on another it would look like a difference.
    least = 0.0 if panel.log_y else ROUNDING * max(float(np.abs(values).max()), 1.0)
    if float(np.ptp(values)) <= least:
        mean = float(values.mean())
        return f"{panel.measure}{where}: {0.0 if abs(mean) < ROUNDING else mean:.4g} throughout"
    return ""
