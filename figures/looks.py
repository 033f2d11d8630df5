"""How a method looks: one colour, dash and marker for each key of the catalogue, whatever else is drawn.

Relatives share a colour: GRPO and its KL variant are blue, the three filtered-SFT methods have one colour each, and
their advantage forms are the same colour dashed. A key that is not listed gets a look from its own letters, so it too
is the same in every figure, subset and run.
"""

import colorsys
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex, to_rgb

from figures.runs import Results

# Okabe and Ito (2008), without its yellow, which is lost on white paper.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, BROWN = "#E69F00", "#56B4E9", "#000000", "#8C6D31"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, BROWN)
WINE, INDIGO = "#882255", "#332288"  # Tol (2021), muted: for methods listed below alone
SOLID, DASHED, DOTTED, DASHDOT = "-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5))
DASHES: tuple[Any, ...] = (SOLID, DASHED, DOTTED, DASHDOT)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#6B6B6B"
POSITIVE, PARTIAL, NEGATIVE = BLUE, ORANGE, VERMILION
"""Right, partly right and wrong responses."""

BEFORE = "before training"
"""The label of the untrained model, which is no method and grey."""


@dataclass(frozen=True)
class Look:
    """How one method is drawn, everywhere."""

    color: str
    dash: Any
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments for a line."""
        return {"color": self.color, "linestyle": self.dash}


METHODS: Mapping[str, Look] = {
    "grpo": Look(BLUE, SOLID, "o"),
    "grpo-kl": Look(BLUE, DASHED, "s"),
    "ppo": Look(ORANGE, SOLID, "D"),
    "f-isft-pm": Look(VERMILION, SOLID, "s"),
    "f-isft-pm-adv": Look(VERMILION, DASHED, "D"),
    "f-isft-pos": Look(GREEN, SOLID, "^"),
    "f-isft-pos-adv": Look(GREEN, DASHED, "P"),
    "f-isft-neg": Look(PURPLE, SOLID, "v"),
    "f-isft-neg-adv": Look(PURPLE, DASHED, "X"),
    "reinforce": Look(BLACK, SOLID, "o"),
    "rloo": Look(BLACK, DASHED, "s"),
    "reinforce-rej": Look(BLACK, DOTTED, "D"),
    "dr-grpo": Look(SKY, SOLID, "^"),
    "dapo": Look(SKY, DASHED, "v"),
    "gspo": Look(SKY, DOTTED, "D"),
    "cispo": Look(SKY, DASHDOT, "P"),
    "maxrl": Look(BROWN, SOLID, "*"),
    "mean-positive": Look(BROWN, DASHED, "X"),
    "raft": Look(GREEN, DOTTED, "o"),
    "psr": Look(GREEN, DASHDOT, "s"),
    "nsr": Look(PURPLE, DOTTED, "o"),
    "w-reinforce": Look(VERMILION, DOTTED, "o"),
    "sft": Look(ORANGE, DASHED, "s"),
    "iw-sft": Look(ORANGE, DOTTED, "v"),
    "sapo": Look(BLUE, DOTTED, "^"),
    "luspo": Look(BLUE, DASHDOT, "D"),
    "vespo": Look(PURPLE, DASHDOT, "s"),
    "gmpo": Look(WINE, SOLID, "o"),
    "dppo-tv": Look(WINE, DASHED, "s"),
    "dppo-kl": Look(WINE, DOTTED, "^"),
    "tis": Look(WINE, DASHDOT, "D"),
    "dapo-overlong": Look(INDIGO, SOLID, "v"),
    "gpg": Look(BLACK, DASHDOT, "^"),
    "opo": Look(ORANGE, DASHDOT, "o"),
    "reinforce-pp": Look(BROWN, DOTTED, "o"),
    "reinforce-pp-baseline": Look(BROWN, DASHDOT, "s"),
    "raft-pp": Look(VERMILION, DASHDOT, "v"),
}


def method_look(key: str) -> Look:
    """The look of a method, from its key alone."""
    return METHODS.get(key) or _from_letters(key)


def variant_look(key: str, number: int) -> Look:
    """Runs of one method that differ in a setting: its colour in another lightness, with another dash and marker."""
    base = method_look(key)
    if not number:
        return base
    # Lighter, darker, lighter still, ...: half of the way to white or to black at most; nothing is darker than black.
    parts, share = to_rgb(base.color), min(0.25 + 0.05 * number, 0.5)
    end = 1.0 if number % 2 or sum(parts) < 0.1 else 0.0
    red, green, blue = ((1 - share) * part + share * end for part in parts)
    color = to_hex((red, green, blue))
    dash = DASHES[(DASHES.index(base.dash) + number) % len(DASHES)]
    return Look(color, dash, MARKERS[(MARKERS.index(base.marker) + number) % len(MARKERS)])


def known_looks(results: Results) -> dict[str, Look]:
    """The looks of all labels that these results use: methods by title, arms by label."""
    found = {title: method_look(key) for key, title in results.titles.items()}
    labels: dict[frozenset[Path], str] = {}
    variants: dict[str, list[str]] = {}
    for arm in (*results.arms, *results.ablations):
        # Among the ablations a compared arm has a longer label, and looks as it does everywhere.
        name = labels.setdefault(frozenset(run.path for run in arm.runs), arm.label)
        own = variants.setdefault(arm.method, [])
        if name not in own:
            own.append(name)
        found[arm.label] = variant_look(arm.method, own.index(name))
    return found


def shades(labels: Iterable[str]) -> dict[str, Look]:
    """Looks for settings that have an order: from dark to light, the first the darkest."""
    known = list(dict.fromkeys(labels))
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, len(known)))
    return {label: Look(to_hex(colors[i]), SOLID, MARKERS[i % len(MARKERS)]) for i, label in enumerate(known)}


def _from_letters(key: str) -> Look:
    """A look that depends on nothing but the key: any hue, dark enough for white paper, and not solid as the known."""
    digest = hashlib.sha256(key.encode()).digest()
    color = colorsys.hls_to_rgb(int.from_bytes(digest[:2]) / 65536, (0.32, 0.42)[digest[2] % 2], 0.65)
    return Look(to_hex(color), DASHES[1 + digest[3] % (len(DASHES) - 1)], MARKERS[digest[4] % len(MARKERS)])
