"""What an adapter is given and what it answers, in numpy alone: an adapter runs in its framework's own environment.

Frameworks pin versions that this project's own cannot live with, so nothing here and in the adapters may import jax,
rich or any other dependency of the project at the top.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

FRAMEWORKS = ("trl", "verl", "openrlhf", "tunix", "polgrad")

Settings = Mapping[str, Any]


class Responses(NamedTuple):
    """Sampled responses as a framework sees them: completions alone, rows of one group next to each other.

    Attributes:
        logp, old_logp, ref_logp: log-probabilities of the completions' tokens, [rows, longest].
        mask: 1 on those tokens.
        reward: outcome of each response, [rows].
        group: 0, 1, 2, … [rows]; all groups are of one size.
    """

    logp: np.ndarray
    old_logp: np.ndarray
    ref_logp: np.ndarray
    mask: np.ndarray
    reward: np.ndarray
    group: np.ndarray

    @property
    def group_size(self) -> int:
        """Responses to a prompt."""
        return len(self.reward) // (int(self.group.max()) + 1)

    @property
    def length(self) -> np.ndarray:
        """Tokens of each response, [rows]."""
        found: np.ndarray = self.mask.sum(axis=1).astype(int)
        return found


Weigh = Callable[[Responses, int], tuple[float, np.ndarray]]
"""Responses and the number of micro-batches to the loss and `-d loss / d logp`, [rows, longest]."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One loss of a framework.

    Attributes:
        settings: what is set in the framework, in its own names; everything else is left at its defaults.
        method: the catalogued method whose name it bears, if there is one.
        note: what has to be known to read the result.
        outside: why no probe can be put to it; "" where one can.
    """

    settings: Settings = field(default_factory=dict)
    method: str | None = None
    note: str = ""
    outside: str = ""


def arrange(fields: Mapping[str, np.ndarray]) -> tuple[Responses, Callable[[np.ndarray], np.ndarray]]:
    """The responses of a probe, and what puts token weights back where the probe has its tokens.

    The six arrays are those of the audited signature: streams and mask `[batch, time]`, rewards and group ids
    `[batch]`. A framework lays out its own batch: rows of one group are contiguous, completions start at column 0 and
    are padded to the longest; so what a probe holds outside the mask reaches the framework as padding only.

    Raises:
        ValueError: groups of several sizes, or a mask with holes.
    """
    mask = np.asarray(fields["mask"]) > 0
    _, group = np.unique(np.asarray(fields["group"]), return_inverse=True)
    sizes = np.bincount(group)
    if (sizes != sizes[0]).any():
        raise ValueError("frameworks sample groups of one size")
    order = np.argsort(group, kind="stable")
    first, length = mask.argmax(axis=1), mask.sum(axis=1)
    column = first[:, None] + np.arange(int(length.max()))
    inside = column < (first + length)[:, None]
    if not np.take_along_axis(mask, np.minimum(column, mask.shape[1] - 1), axis=1)[inside].all():
        raise ValueError("completions of a framework have no holes")
    column = np.minimum(column, mask.shape[1] - 1)

    def cut(stream: np.ndarray) -> np.ndarray:
        return np.take_along_axis(np.asarray(stream, float), column, axis=1)[order]

    def back(weights: np.ndarray) -> np.ndarray:
        rows = np.empty_like(weights)
        rows[order] = weights
        placed = np.zeros(mask.shape)
        np.put_along_axis(placed, column, np.where(inside, rows, 0.0), axis=1)
        # The last column stands for every column past it, so it is written once more where it is a token.
        edge = first + length == mask.shape[1]
        placed[edge, -1] = rows[edge, length[edge] - 1]
        return placed

    logp, old, ref = (cut(fields[name]) for name in ("logp", "old_logp", "ref_logp"))
    reward = np.asarray(fields["rewards"], float)[order]
    return Responses(logp, old, ref, inside[order].astype(float), reward, group[order]), back


def micro_batches(responses: Responses, count: int) -> list[slice]:
    """The rows of contiguous micro-batches of equal size."""
    size = len(responses.reward) // count
    return [slice(start, start + size) for start in range(0, len(responses.reward), size)]


def take(fields: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The settings among `given` that a dataclass has, taken out of it."""
    return {name: given.pop(name) for name in [field.name for field in dataclasses.fields(fields)] if name in given}
