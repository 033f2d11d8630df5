"""Advantages that are no rule of the catalogue but have a shape: clipped, ranked, weighted by difficulty."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mdp_theory.audit.departures import Evidence
from mdp_theory.audit.fit import RECOGNISED
from mdp_theory.audit.probes import REWARDS
from mdp_theory.audit.rules import advantages
from mdp_theory.methods.objectives import Advantage


@dataclass(frozen=True)
class Shape:
    """What an advantage looks like, and in words how."""

    kind: Literal["clipped", "ranked", "best alone", "difficulty-weighted"]
    detail: str


def shape_of(evidence: Evidence, *, offset: np.ndarray) -> Shape | None:
    """The shape of the weights at equal lengths, where they are a function of the outcomes of their own groups."""
    patterns = [
        (reward, group, evidence[f"reward: {name}"].response - offset) for name, (reward, group) in REWARDS.items()
    ]
    patterns = [pattern for pattern in patterns if np.isfinite(pattern[2]).all() and pattern[2].any()]
    if not patterns:
        return None
    room = evidence.fits(1e2 * RECOGNISED)
    for find in (_best_alone, _clipped, _ranked, _by_difficulty):
        shape = find(patterns, room)
        if shape is not None:
            return shape
    return None


Patterns = list[tuple[np.ndarray, np.ndarray, np.ndarray]]

_RULES = {
    "the reward": Advantage(),
    "the reward less its group's mean": Advantage(baseline="group-mean"),
    "the reward standardised in its group": Advantage(baseline="group-mean", scale="group-std", ddof=1),
    "the reward standardised in its group (ddof 0)": Advantage(baseline="group-mean", scale="group-std"),
}


def _columns(patterns: Patterns) -> Iterator[tuple[str, np.ndarray]]:
    for name, rule in _RULES.items():
        found = [advantages(rule, reward, group, length=np.ones(len(reward))) for reward, group, _ in patterns]
        yield name, np.concatenate(found)


def _target(patterns: Patterns) -> np.ndarray:
    return np.concatenate([weight for _, _, weight in patterns])


def _clipped(patterns: Patterns, room: float) -> Shape | None:
    """Proportional to a rule inside two bounds that several unequal advantages share."""
    target = _target(patterns)
    low, high = target.min(), target.max()
    size = np.abs(target).max()
    at_bound = (np.abs(target - low) < room * size) | (np.abs(target - high) < room * size)
    for name, column in _columns(patterns):
        inside = ~at_bound & (np.abs(column) > 1e-9)
        if inside.sum() < 10:
            continue
        factor = np.median(target[inside] / column[inside])
        if not np.isfinite(factor) or factor == 0:
            continue
        held = np.clip(factor * column, low, high)
        beyond = [np.unique(np.round(column[np.abs(target - end) < room * size], 6)) for end in (low, high)]
        if np.abs(held - target).max() < room * size and max(map(len, beyond)) > 1:
            ends = [
                f"{end / factor:.4g}" if len(reached) > 1 else "–"
                for end, reached in zip((low, high), beyond, strict=True)
            ]
            return Shape("clipped", f"{name}, held in [{ends[0]}, {ends[1]}]")
    return None


def _ranked(patterns: Patterns, room: float) -> Shape | None:
    """An increasing function of the rank within the group: equal where ranks are, whatever the rewards are."""
    ranks, weights, sizes = [], [], []
    for reward, group, weight in patterns:
        same = group[:, None] == group
        below = (same & (reward[None, :] < reward[:, None])).sum(axis=1)
        ties = (same & (reward[None, :] == reward[:, None])).sum(axis=1)
        ranks.append(np.stack([below, ties], axis=1))
        weights.append(weight)
        sizes.append(same.sum(axis=1))
    keys = np.concatenate([np.concatenate(ranks), np.concatenate(sizes)[:, None]], axis=1)
    target = np.concatenate(weights)
    size = np.abs(target).max()
    _, label = np.unique(keys, axis=0, return_inverse=True)
    label = label.ravel()
    spread = max(np.ptp(target[label == each]) for each in range(label.max() + 1))
    if spread > room * size:
        return None
    return Shape("ranked", "a function of the rank within the group alone, not of how far apart the rewards are")


def _best_alone(patterns: Patterns, room: float) -> Shape | None:
    """Nothing but the best response of a group has weight."""
    size = np.abs(_target(patterns)).max()
    seen = 0
    for reward, group, weight in patterns:
        for label in np.unique(group):
            mine, theirs = weight[group == label], reward[group == label]
            best = theirs == theirs.max()
            if np.abs(mine[~best]).max(initial=0) > room * size:
                return None
            seen += int((~best).sum() > 0 and np.abs(mine[best]).max() > room * size)
    return Shape("best alone", "only the best response of a group has weight") if seen > 3 else None


def _by_difficulty(patterns: Patterns, room: float) -> Shape | None:
    """The reward less its group's mean, times a number that the group's outcomes decide."""
    size = np.abs(_target(patterns)).max()
    found: dict[tuple[float, ...], list[float]] = {}
    for reward, group, weight in patterns:
        for label in np.unique(group):
            mine, outcomes = weight[group == label], reward[group == label]
            base = outcomes - outcomes.mean() if np.ptp(outcomes) > 0 else 0 * outcomes
            factor = float(mine @ base) / max(float(base @ base), 1e-300)
            if np.abs(mine - factor * base).max() > room * size:
                return None
            if base.any():
                found.setdefault(tuple(np.sort(outcomes)), []).append(factor)
    binary = {float(np.mean(key)): factors[0] for key, factors in found.items() if set(key) == {0.0, 1.0}}
    largest = max(map(abs, binary.values()), default=0.0)
    if not largest or max(np.ptp(factors) for factors in found.values()) > room * largest:
        return None
    shown = ", ".join(f"{p:.3g}: {binary[p] / largest:.3g}" for p in sorted(binary))
    return Shape(
        "difficulty-weighted", f"the reward less its group's mean, times a number by its success rate ({shown})"
    )
