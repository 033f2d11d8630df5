"""The batches an audit puts to a loss: each differs from another in one thing, so that one answer can be read off.

All are numpy, 24 responses in groups of 4 (or of 8) by 8 tokens, so that a loss meets few shapes. Streams are laid out
by token; `lay` places them behind a prompt and pads them.
"""

from types import MappingProxyType

import numpy as np

from mdp_theory.methods.batch import Batch

ROWS, WIDTH, EXTRA = 24, 8, 3
FOURS = np.repeat(np.arange(6), 4)
EIGHTS = np.repeat(np.arange(3), 8)
HALF = ROWS // 2  # the first three groups of four: watched while the others change


def _noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _spread(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape)


FLAT = np.full((ROWS, WIDTH), -2.0)
VARIED = -2.0 - np.abs(_noise(1, ROWS, WIDTH))
LIKELY = -0.4 - 0.3 * np.abs(_noise(7, ROWS, WIDTH))
NOISE = _noise(2, ROWS, WIDTH)
FAR = 1.5 * _spread(3, ROWS, WIDTH)
NEAR = 0.2 * _noise(4, ROWS, WIDTH)
JUNK = -3.0 - 2.0 * _spread(5, 4, ROWS, WIDTH + EXTRA)

EQUAL = np.full(ROWS, 5)
RAGGED = np.array(
    [
        [1, 8, 3, 5, 2, 4, 7, 6, 8, 1, 5, 3, 6, 2, 4, 7, 3, 3, 8, 1, 5, 6, 2, 7],
        [8, 2, 5, 1, 6, 3, 3, 7, 4, 4, 1, 8, 2, 5, 7, 6, 1, 8, 2, 4, 6, 3, 7, 5],
        [4, 6, 1, 8, 7, 2, 5, 3, 2, 8, 6, 1, 3, 7, 5, 4, 6, 1, 4, 8, 2, 7, 3, 5],
        # Short ones: mean and longest length of the batch move apart.
        [1, 3, 2, 1, 1, 2, 1, 3, 2, 1, 1, 3, 1, 2, 1, 1, 3, 2, 1, 1, 2, 1, 1, 3],
    ]
)
ORDER = np.argsort(_noise(6, ROWS))

# Rewards take few levels, so that a threshold can be told to lie between two of them.
_LEVELS = np.array([0.0, 0.1, 0.3, 0.4, 0.6, 0.7, 0.8, 1.0, 1.2, 1.3])
MIXED = np.array([0, 0.1, 1, 0, 1, 1, 0.1, 0, 0.1, 0, 0, 0.1, 0, 1, 0, 0.1, 0.1, 0.1, 1, 0.1, 1, 0, 1, 1])
BINARY = np.array([0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1.0])
GRADED = _LEVELS[[0, 3, 7, 5, 9, 1, 4, 4, 8, 7, 2, 6, 0, 0, 1, 9, 5, 2, 7, 1, 6, 3, 8, 0]]
EQUALS = np.repeat([0.0, 1.0, 0.1, 0.3, 0.7, 1.3], 4)
PARTLY_EQUAL = np.where(FOURS < 3, EQUALS, MIXED)

REWARDS = MappingProxyType(
    {
        "binary": (BINARY, FOURS),
        "three-level": (MIXED, FOURS),
        "graded": (GRADED, FOURS),
        "graded, negative too": (np.round(GRADED[::-1] - 0.5, 6), FOURS),
        "partly equal": (PARTLY_EQUAL, FOURS),
        "binary, groups of 8": (BINARY[ORDER], EIGHTS),
        "graded, groups of 8": (GRADED[ORDER], EIGHTS),
        "three-level, groups of 8": (MIXED[ORDER], EIGHTS),
    }
)
SHRINKAGE = (1e-2, 1e-4, 1e-6, 1e-8)

SCAN_LENGTH = 2


def lay(
    *,
    reward: np.ndarray = MIXED,
    length: np.ndarray = RAGGED[0],
    group: np.ndarray = FOURS,
    logp: np.ndarray = FLAT,
    old: np.ndarray | None = None,
    ref: np.ndarray | None = None,
    start: int = 0,
    width: int = WIDTH,
    junk: np.ndarray | None = None,
) -> Batch:
    """A batch from streams laid out by token; `old` and `ref` are `logp` unless given.

    Args:
        start: columns of prompt before the first token.
        width: columns in all.
        junk: values of the three streams outside the mask, [3, rows, at least `width`]; otherwise -2, on-policy.
    """
    column = np.arange(width)
    mask = ((column >= start) & (column < start + length[:, None])).astype(float)

    def place(stream: np.ndarray, outside: np.ndarray | float) -> np.ndarray:
        placed = np.zeros((len(reward), width))
        kept = min(width - start, stream.shape[1])
        placed[:, start : start + kept] = stream[:, :kept]
        return np.where(mask > 0, placed, outside if isinstance(outside, float) else outside[:, :width])

    streams = (logp, logp if old is None else old, logp if ref is None else ref)
    outside = (-2.0,) * 3 if junk is None else junk
    placed = [place(stream, fill) for stream, fill in zip(streams, outside, strict=True)]
    return Batch._make([*placed, mask, np.asarray(reward, float), group, np.zeros_like(mask)])


def drift(length: np.ndarray, *, spread: float, mean: float) -> np.ndarray:
    """Log-ratios that vary by `spread` within a response, and by `mean` in their averages over the responses."""
    mask = np.arange(WIDTH) < length[:, None]
    centred = NOISE - (NOISE * mask).sum(1, keepdims=True) / length[:, None]
    return spread * centred + mean * NOISE[:, ::-1][:, :1]


def probes() -> dict[str, Batch]:
    """Every fixed probe by name. Those of the clip range depend on earlier answers: see `scan`."""
    half = np.arange(ROWS) < HALF
    base, wide = RAGGED[0], WIDTH + EXTRA
    small = FLAT + drift(base, spread=0.04, mean=1e-4)
    reversed_time = np.stack([np.append(row[:n][::-1], row[n:]) for row, n in zip(small, base, strict=True)])
    first = (np.arange(ROWS) % 4 == 0)[:, None]
    found = {
        "flat": lay(),
        "varied": lay(logp=VARIED),
        "padding-values": lay(junk=JUNK[:3]),
        "padding-width": lay(width=wide),
        "prompt": lay(width=wide, start=EXTRA, junk=JUNK[:3]),
        "prompt-values": lay(width=wide, start=EXTRA, junk=JUNK[1:]),
        "order": lay(reward=MIXED[ORDER], length=base[ORDER], group=FOURS[ORDER]),
        "order-equal-lengths": lay(reward=MIXED[ORDER], length=EQUAL, group=FOURS[ORDER]),
        "labels": lay(group=np.array([3, 5, 0, 4, 1, 2])[FOURS]),
        "labels-sparse": lay(group=np.array([905, 3, 77, 12, 4000, 51])[FOURS]),
        "labels-merged": lay(group=np.zeros(ROWS, int)),
        "other-rewards": lay(reward=np.where(half | (MIXED != 0.1), MIXED, 0.12)),
        "other-outcomes": lay(reward=np.where(half, MIXED, np.roll(BINARY, 1))),
        "other-lengths": lay(length=np.where(half, base, RAGGED[1])),
        "reference": lay(ref=FLAT + FAR),
        "reference-varied": lay(logp=VARIED, ref=VARIED + FAR),
        "old-alone": lay(old=small, ref=FLAT),
        "drift": lay(logp=small, old=FLAT),
        "drift-from-reference": lay(logp=small, old=FLAT, ref=FLAT),
        "drift-reversed": lay(logp=reversed_time, old=FLAT),
        "other-drift": lay(logp=np.where(half[:, None], small, FLAT), old=FLAT, ref=FLAT),
        "mate-drift": lay(logp=np.where(first, FLAT, small), old=FLAT, ref=FLAT),
        "equal-rewards": lay(reward=EQUALS),
        "no-reward-equal-lengths": lay(reward=np.zeros(ROWS), length=EQUAL),
    }
    for name, (reward, group) in REWARDS.items():
        found[f"reward: {name}"] = lay(reward=reward, group=group, length=EQUAL)
    for factor in SHRINKAGE:
        found[f"shrunk: {factor:g}"] = lay(reward=factor * GRADED, length=EQUAL)
    for index, length in enumerate(RAGGED):
        found[f"lengths: {index}"] = lay(reward=GRADED, length=length)
        found[f"no-reward-lengths: {index}"] = lay(reward=np.zeros(ROWS), length=length)
    return found | {f"suite: {name}": batch for name, batch in suite().items()}


def suite() -> dict[str, Batch]:
    """The batches on which losses are compared as wholes: on and off the old policy, the reference always apart."""
    near = VARIED + NEAR

    def off(length: np.ndarray, spread: float, mean: float) -> np.ndarray:
        return VARIED + drift(length, spread=spread, mean=mean)

    first, second, third, _ = RAGGED
    return {
        "on-policy, binary": lay(reward=BINARY, logp=VARIED, ref=near),
        "on-policy, three-level": lay(logp=VARIED, ref=near, length=second),
        "on-policy, graded, groups of 8": lay(reward=GRADED[ORDER], group=EIGHTS, logp=VARIED, ref=near, length=third),
        "near, graded": lay(reward=GRADED, logp=off(first, 0.04, 1e-4), old=VARIED, ref=near),
        "off, three-level": lay(logp=off(second, 0.4, 0.3), old=VARIED, ref=near, length=second),
        "off, partly equal": lay(reward=PARTLY_EQUAL, logp=off(third, 0.3, 1e-3), old=VARIED, ref=near, length=third),
        "off, graded, groups of 8": lay(
            reward=GRADED[ORDER], group=EIGHTS, logp=off(first, 0.4, 3e-4), old=VARIED, ref=near
        ),
        # Probabilities that move by tenths, which ratios alone do not tell.
        "off, likely tokens": lay(
            reward=GRADED,
            logp=np.minimum(LIKELY + drift(second, spread=0.4, mean=0.1), -0.02),
            old=LIKELY,
            ref=LIKELY + NEAR,
            length=second,
        ),
    }


def scan(log_ratio: np.ndarray, *, rewarded: bool = True, reference_moves: bool = True, old: float = -4.0) -> Batch:
    """24 responses of two tokens with the given log-ratios; every second earns 1, the rest -0.5, or all 0.

    Args:
        log_ratio: of every response, [rows], or of both its tokens, [rows, 2].
        old: log-probability of every token under the old policy.
    """
    delta = np.asarray(log_ratio, float)
    delta = delta[:, None] if delta.ndim == 1 else np.pad(delta, ((0, 0), (0, WIDTH - SCAN_LENGTH)))
    before = np.full((ROWS, WIDTH), old)
    reward = rewarded * np.where(np.arange(ROWS) % 2 == 0, 1.0, -0.5)
    reference = before + delta if reference_moves else before
    return lay(reward=reward, length=np.full(ROWS, SCAN_LENGTH), logp=before + delta, old=before, ref=reference)
