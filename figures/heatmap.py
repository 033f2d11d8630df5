"""The weight that a method gives every token of a response, as colour: two methods side by side."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from figures.curves import MissingData
from figures.looks import GREY
from figures.numbers import Number
from figures.runs import Arm, Results, Run, panels
from figures.style import SMALLEST, Style
from figures.training import require_arms

COLORS = "RdBu"
"""Blue pushes a token up, red pushes it down; white leaves it alone."""
_SIGN = 0.602 * SMALLEST / 72  # Inches: a sign of DejaVu Sans Mono.
_GAP = 0.5  # Between tokens, in characters.
_TOKENS = 160  # Of a longer response only so many are drawn.


@dataclass(frozen=True)
class Response:
    """One response under one method.

    `weights` is -d loss / d log-probability of every token, times the responses in the batch: A/L under a mean over
    the tokens of each response.
    """

    tokens: tuple[str, ...]
    weights: tuple[float, ...]
    reward: float
    step: int

    @property
    def correct(self) -> bool:
        """True for the full reward."""
        return self.reward >= 1

    @property
    def verdict(self) -> str:
        """Outcome, length and the range of the weights, in words."""
        low, high = min(self.weights), max(self.weights)
        alike = np.isclose(low, high, rtol=1e-4, atol=0)
        spread = signed_weight(low) if alike else f"{signed_weight(low)} … {signed_weight(high)}"
        return f"{'correct' if self.correct else 'wrong'}, {len(self.tokens)} tokens, weight {spread}"


@dataclass(frozen=True)
class Pair:
    """Responses to one prompt under two methods; row by row they are the same response where `same`."""

    prompt: str
    labels: tuple[str, str]
    rows: tuple[tuple[Response, Response], ...]
    same: bool


def weight_pairs(results: Results) -> Mapping[str, Pair]:
    """For every task and model the first two methods that sampled one prompt, if any: correct and wrong responses.

    Before the first update all methods of one seed sample the same responses; these are compared if they were kept,
    else responses to the same prompt.

    Raises:
        MissingData: no two methods have samples with weights of one prompt.
    """
    found = {}
    groups = panels(require_arms(results))
    for (task, model), arms in groups.items():
        for left, right in itertools.combinations(arms, 2):
            if left.method != right.method and (pair := _match(left, right)):
                found[f"{task}-{model}" if len(groups) > 1 else ""] = pair
                break
    if not found:
        raise MissingData("no two methods have samples of one prompt with token weights")
    return found


def draw_weights(pair: Pair, style: Style) -> Figure:
    """Tokens in boxes coloured by their weight, on one scale, so that the methods' magnitudes can be compared."""
    width = style.page
    line = int((width / 2 - 0.08) / _SIGN) - 1
    told = [max(len(_told(response, line)) for response in row) for row in pair.rows]
    lines = [max(len(_wrap(response.tokens, line)) for response in row) for row in pair.rows]
    heights = [0.3 + above + below for above, below in zip(told, lines, strict=True)]
    figure = Figure(figsize=(width, 0.17 * sum(heights) + 0.95), layout="constrained")
    axes = figure.subplots(len(pair.rows), 2, squeeze=False, height_ratios=heights)
    scale = _scale(pair)
    for row, responses, height, above in zip(axes, pair.rows, heights, told, strict=True):
        for ax, response in zip(row, responses, strict=True):
            _draw_response(ax, response, scale, height, line, above)
    for ax, label in zip(axes[0], pair.labels, strict=True):
        ax.set_title(textwrap.fill(label, int(line * 0.9)), fontweight="bold", loc="left", pad=3)
    mappable = ScalarMappable(Normalize(-scale, scale), COLORS)
    bar = figure.colorbar(mappable, ax=list(axes.flat), orientation="horizontal", aspect=50, shrink=0.7, pad=0.02)
    bar.set_label("weight of the token × responses in the batch")
    bar.set_ticks([-scale, 0, scale], labels=[f"{signed_weight(-scale)}", "0", f"{signed_weight(scale)}"])
    return figure


def token_numbers(pair: Pair) -> tuple[tuple[str, ...], list[Number]]:
    """Columns and rows: the weight of every token of every response shown."""
    rows: list[Number] = [
        (label, number + 1, place + 1, token, weight, response.reward)
        for number, responses in enumerate(pair.rows)
        for label, response in zip(pair.labels, responses, strict=True)
        for place, (token, weight) in enumerate(zip(response.tokens, response.weights, strict=True))
    ]
    return ("method", "response", "position", "token", "weight times batch", "reward"), rows


def signed_weight(value: float) -> str:
    """A weight with its sign; zero has none."""
    return f"{value:+.2g}".replace("-", "−") if value else "0"


def visible(token: str) -> str:
    """A token with its white space made visible; byte-level vocabularies write it as Ġ and Ċ."""
    plain = token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n").replace("\t", "→")
    return plain.replace("\n", "⏎") or "∅"


def _match(left: Arm, right: Arm) -> Pair | None:
    """The earliest step at which both sampled one prompt, with the same responses if any, right and wrong if both."""
    options: list[tuple[tuple[int, int, int], Pair]] = []
    for ours, theirs in _same_seed(left, right):
        for (step, prompt), mine in _by_prompt(ours).items():
            yours = _by_prompt(theirs).get((step, prompt), {})
            shared = {text: (mine[text], yours[text]) for text in mine if text in yours}
            rows = []
            for correct in (True, False):
                if shared:
                    pairs = [pair for pair in shared.values() if pair[0].correct == correct]
                else:
                    sides = [[r for r in side.values() if r.correct == correct] for side in (mine, yours)]
                    pairs = list(zip(*sides, strict=False))
                rows += _shortest_and_longest(pairs)
            if rows:
                pair = Pair(prompt, (left.label, right.label), tuple(rows), bool(shared))
                options.append(((-bool(shared), -len(rows), step), pair))
    return min(options, key=lambda option: option[0])[1] if options else None


def _shortest_and_longest(pairs: Sequence[tuple[Response, Response]]) -> list[tuple[Response, Response]]:
    """What division by the length does shows best on these; of one that is too long only a part would be drawn."""
    ordered = sorted(pairs, key=lambda pair: len(pair[0].tokens))
    whole = [pair for pair in ordered if len(pair[0].tokens) <= _TOKENS] or ordered[:1]
    return [whole[0], whole[-1]] if len(whole) > 1 else whole


def _same_seed(left: Arm, right: Arm) -> list[tuple[Run, Run]]:
    return [(ours, theirs) for ours in left.runs for theirs in right.runs if ours.seed == theirs.seed]


def _by_prompt(run: Run) -> dict[tuple[int, str], dict[str, Response]]:
    found: dict[tuple[int, str], dict[str, Response]] = {}
    for row in run.samples:
        if row.get("weights") and len(row["weights"]) == len(row["tokens"]):
            weights = tuple(run.batch_size * weight for weight in row["weights"])
            response = Response(tuple(row["tokens"]), weights, float(row["reward"]), int(row["step"]))
            found.setdefault((response.step, row["prompt"]), {})[row["completion"]] = response
    return found


def _scale(pair: Pair) -> float:
    """The largest weight in the picture."""
    return max(abs(weight) for row in pair.rows for response in row for weight in response.weights) or 1.0


def _wrap(tokens: Sequence[str], width: int) -> list[list[tuple[int, str, float]]]:
    """Lines of (index, text, column); the rest of a long response is left out."""
    lines: list[list[tuple[int, str, float]]] = [[]]
    column = 0.0
    for index, token in enumerate(tokens[:_TOKENS]):
        text = visible(token)[:width]
        if lines[-1] and column + len(text) > width:
            lines.append([])
            column = 0.0
        lines[-1].append((index, text, column))
        column += len(text) + _GAP
    return lines


def _told(response: Response, width: int) -> list[str]:
    """Outcome, length and weights on lines that fit; proportional type is narrower than that of tokens."""
    return textwrap.wrap(response.verdict, int(width * 1.05))


def _draw_response(ax: Axes, response: Response, scale: float, height: float, width: int, above: int) -> None:
    """The response under `above` lines about it."""
    colors = matplotlib.colormaps[COLORS]
    ax.set_xlim(-0.5, width + 0.5)
    ax.set_ylim(height, 0)
    ax.axis("off")
    for number, text in enumerate(_told(response, width)):
        ax.text(0, number + 0.45, text, color=GREY, fontsize=SMALLEST, va="center")
    for number, line in enumerate(_wrap(response.tokens, width)):
        for index, text, column in line:
            value = response.weights[index] / scale
            box = Rectangle(
                (column - 0.1, number + above + 0.05), len(text) + 0.2, 0.9, facecolor=_shade(colors, value), lw=0
            )
            ax.add_patch(box)
            ax.text(
                column + len(text) / 2,
                number + above + 0.53,
                text,
                family="DejaVu Sans Mono",
                fontsize=SMALLEST,
                ha="center",
                va="center",
                color="white" if abs(value) > 0.75 else "black",
                parse_math=False,
            )


def _shade(colors: Any, value: float) -> str:
    return to_hex(colors(Normalize(-1, 1)(value)))
