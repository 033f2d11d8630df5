"""Share of an update's tokens that are padding, with completions sorted by length into micro-batches; no jax, seconds.

    python results/packing.py

256 completions of geometric lengths (mean an eighth of the limit), prompts of 128 tokens, 100 batches. Packing would
leave a few per cent, and pay with attention to whole rows and with programs that know segments.
"""

import numpy as np

ROWS, PROMPT, BATCHES = 256, 128, 100


def length_bin(length: int) -> int:
    """As `llm_exps.sampling.length_bin`, which needs jax to import."""
    power = 1 << max(length - 1, 7).bit_length()
    return power * 3 // 4 if length <= power * 3 // 4 and power > 8 else power


def waste(limit: int, micro_batch: int) -> tuple[float, int]:
    """Padding over all tokens computed with, and how many shapes are compiled."""
    rng, computed, needed, shapes = np.random.default_rng(0), 0, 0, set()
    for _ in range(BATCHES):
        lengths = np.sort(np.minimum(rng.geometric(8 / limit, ROWS), limit))
        needed += int(lengths.sum()) + ROWS * PROMPT
        for start in range(0, ROWS, micro_batch):
            part = lengths[start : start + micro_batch]
            size = min(length_bin(int(part.max())), limit)
            shapes.add(size)
            computed += len(part) * (PROMPT + size)
    return 1 - needed / computed, len(shapes)


if __name__ == "__main__":
    print("limit  " + "".join(f"{f'{size} at once':>16}" for size in (256, 64, 32, 16)))
    for limit in (64, 256, 1024):
        told = (waste(limit, size) for size in (256, 64, 32, 16))
        print(f"{limit:>5}  " + "".join(f"{f'{share:.0%}, {shapes} shapes':>16}" for share, shapes in told))
