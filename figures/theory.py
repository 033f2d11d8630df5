"""What exact computation on small MDPs found: c(p), Φ(p), and how the equivalence ends off-policy."""

import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from figures.curves import Curve, MissingData, Panel, Sheet, drawable, informative, line_labels
from figures.looks import shades
from figures.panels import draw_panel, draw_panels
from figures.runs import Results, Row
from figures.statistics import EXACT
from figures.style import TEXT, Style, few_decades

MEASURES = (
    ("cosine", "cosine with the\nSFT gradient"),
    ("relative_error", "relative error to the\nSFT gradient"),
    ("credit_structure_index", "credit-structure\nindex η"),
    ("clip_fraction", "clipped tokens (%)"),
)
LOGARITHMIC = ("relative_error", "credit_structure_index")


def coefficients(results: Results) -> Mapping[str, tuple[Panel, Panel, Panel]]:
    """c(p) and Φ(p) of every method, methods of equal c as one line, and c(p) of GRPO against group size.

    One figure for every group size among the checks.

    Raises:
        MissingData: no check has these curves.
    """
    found: dict[str, tuple[Panel, Panel, Panel]] = {}
    for check in results.checks.values():
        if curves := check.get("curves"):
            found.setdefault(f"g{curves['num_generations']}", _coefficient_panels(curves, results))
    if not found:
        raise MissingData("no check/*.json with curves of c(p)")
    return found if len(found) > 1 else {"": next(iter(found.values()))}


def draw_coefficients(panels: tuple[Panel, Panel, Panel], style: Style) -> Figure:
    """Three panels: GRPO by group size, c(p), Φ(p); names stand at the lines, those of Φ name the lines of c too."""
    coefficient, objective, sizes = panels
    width = style.page
    wide = width >= TEXT
    figure = Figure(figsize=(width, 2.9 if wide else 5.2), layout="constrained")
    # One letter a panel: sizes, coefficient, objective.
    places = figure.subplot_mosaic("sco" if wide else "cs;oo", width_ratios=[0.8, 1, 1] if wide else [1, 0.8])
    drawn = (("c", coefficient), ("o", objective), ("s", sizes))
    looks = style.plus(shades(curve.label for curve in sizes.curves))
    for name, panel in drawn:
        ax = places[name]
        named = panel if name == "s" else replace(panel, curves=tuple(map(_wrapped, panel.curves)))
        draw_panel(ax, replace(named, direct=name != "c", unnamed=name == "c"), looks)
        if panel.log_y:
            few_decades(ax.yaxis)
            # Lines set the range: a problem that is hardly ever solved would stretch it over many decades.
            values = np.concatenate([curve.y for curve in panel.curves if not curve.points])
            ax.set_ylim(values.min() / 1.3, values.max() * 1.3)
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.set_title(panel.title)
        ax.set_xlabel("success\nprobability p")
    return figure


def _wrapped(curve: Curve) -> Curve:
    return replace(curve, label=textwrap.fill(curve.label, 24))


def inner_steps(results: Results) -> Mapping[str, Sheet]:
    """Cosine, relative error, η and clipping against inner steps on one batch: one figure a problem.

    Raises:
        MissingData: no check has these curves.
    """
    found: dict[str, Sheet] = {}
    for problem, check in results.checks.items():
        curves = _titled(check.get("inner_steps", {}).get("methods", {}), results)
        panels = [
            Panel(
                problem,
                "inner step on one batch",
                label,
                _curves(curves, "step", name),
                markers=True,
                log_y=name in LOGARITHMIC,
                zero=EXACT,
                percent=name == "clip_fraction",
            )
            for name, label in MEASURES
        ]
        if any(panel.curves for panel in panels):
            found[problem] = _sheet([panels[:2], panels[2:]], curves)
    return drawable(found, without="no check/*.json with curves against inner steps")


def departures(results: Results) -> Mapping[str, Sheet]:
    """Cosine and relative error against the distance from the sampling policy, and against the KL coefficient.

    Raises:
        MissingData: no check has these curves.
    """
    found: dict[str, Sheet] = {}
    for problem, check in results.checks.items():
        drift = _titled(check.get("drift", {}), results)
        penalties = {f"GRPO with {name}": curve for name, curve in check.get("kl", {}).items()}
        rows = [
            [
                Panel(problem, xlabel, label, lines, log_x=10, log_y=name == "relative_error", markers=True, dodge=True)
                for name, label in MEASURES[:2]
                if (lines := _curves(curves, x, name, positive=True))
            ]
            for curves, x, xlabel in (
                (drift, "distance", "noise on the logits after sampling"),
                (penalties, "beta", "KL coefficient β"),
            )
        ]
        if any(rows):
            found[problem] = _sheet(rows, {**drift, **penalties})
    return drawable(found, without="no check/*.json with curves against drift or the KL coefficient")


def draw_departures(sheet: Sheet, style: Style) -> Figure:
    """Methods have their own looks, the three KL estimators looks of their own."""
    return draw_panels(sheet, style.plus(shades(label for label in line_labels(sheet.rows) if label not in style)))


def _coefficient_panels(curves: Row, results: Results) -> tuple[Panel, Panel, Panel]:
    p, size = np.array(curves["p"]), curves["num_generations"]
    groups = _equal(curves["methods"])
    lines: dict[str, list[Curve]] = {"c": [], "phi": []}
    for keys in groups:
        label = " = ".join(results.titles[key] for key in keys)
        for name, found in lines.items():
            found.append(Curve(label, p, np.array(curves["methods"][keys[0]][name]), look=keys[0]))
        measured = sorted(
            (prompt["p"], c)
            for check in results.checks.values()
            if check.get("reward_levels") == [0.0, 1.0] and check.get("num_generations") == size
            for prompt, c in zip(check["prompts"], check["methods"][keys[0]]["c_without_length"], strict=True)
            if c is not None
        )
        if measured:
            x, y = np.array(measured).T
            lines["c"].append(Curve("exact gradient of a small MDP", x, y, look=keys[0], points=True))
    sizes = [
        Curve(f"G = {'∞' if name == 'infinity' else name}", p, np.array(curve["c"]))
        for name, curve in curves.get("grpo", {}).items()
    ]
    return (
        Panel(f"c(p), G = {size}", "success probability p", "c(p)", tuple(lines["c"]), log_y=True),
        Panel(f"Φ(p), G = {size}", "success probability p", "Φ(p)", tuple(lines["phi"])),
        Panel("c(p) of GRPO", "success probability p", "c(p)", tuple(sizes), log_y=True),
    )


def _equal(methods: Mapping[str, Row]) -> list[list[str]]:
    """Keys of methods whose c(p) agree to rounding, together."""
    groups: list[list[str]] = []
    for key, curve in methods.items():
        for group in groups:
            if np.allclose(curve["c"], methods[group[0]]["c"], rtol=1e-9, atol=1e-12):
                group.append(key)
                break
        else:
            groups.append([key])
    return groups


def _titled(curves: Mapping[str, Row], results: Results) -> dict[str, Row]:
    return {results.titles[key]: curve for key, curve in curves.items()}


def _curves(curves: Mapping[str, Row], x: str, name: str, *, positive: bool = False) -> tuple[Curve, ...]:
    """A line for each: the mean over batches, and the range over them. Missing values leave a gap.

    `positive` drops x = 0, which a logarithmic axis cannot show.
    """
    found = []
    for label, curve in curves.items():
        if curve.get(x):
            places, values = np.array(curve[x], dtype=float), _by_draw(curve, name)
            shown = (places > 0) | (not positive)
            mean, low, high = (_over(f, values[:, shown]) for f in (np.nanmean, np.nanmin, np.nanmax))
            band = np.stack([low, high]) if len(values) > 1 else None
            found.append(Curve(label, places[shown], mean, band))
    return tuple(found)


def over_draws(curve: Row, name: str) -> Float[np.ndarray, " points"]:
    """The mean over batches of one measure; where it is undefined in some, over the others, NaN where in all."""
    return _over(np.nanmean, _by_draw(curve, name))


def _over(
    summary: Callable[..., np.ndarray], values: Float[np.ndarray, "draws points"]
) -> Float[np.ndarray, " points"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a column without a number
        return np.asarray(summary(values, axis=0))


def _by_draw(curve: Row, name: str) -> Float[np.ndarray, "draws points"]:
    rows = [draw[name] for draw in curve.get("draws", (curve,))]
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)


def _sheet(rows: Iterable[Sequence[Panel]], curves: Mapping[str, Row]) -> Sheet:
    """The panels that show something, and what is undefined: a gradient of 0 has no direction."""
    sheet = informative([row for row in rows if row])
    undefined = [
        f"the cosine of {label} in {np.isnan(values).sum()} of {values.size} places, where it has no gradient: every "
        "token is clipped or no group differs"
        for label, curve in curves.items()
        if np.isnan(values := _by_draw(curve, "cosine")).any()
    ]
    return replace(sheet, notes=(*sheet.notes, *undefined))
