"""Time and memory of the exact GRPO gradient against the size of the tree, beside a numpy pass over as many bytes.

    python -m rino.bench.population [--json results/population.json]

The problem is parity: vocabulary {a, b, <eos>}, reward 1 for an even number of b; two more steps of the horizon make
four times the responses. The pass beside it reads one array of the tree's size and writes another (`y = 2 x`): the
least that any computation on the tree could cost. The ratio of the two must not grow.
"""

import argparse
import platform
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mdp_theory.exact import population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems.levels import ending_tokens
from mdp_theory.problems.mdp import TokenMDP
from rino_base.files import write_json
from rino_base.messages import print_table
from rino_base.progress import track

HORIZONS = (9, 11, 13, 15, 17, 19, 21)
GROUP_SIZE = 64
REPEATS = 3


def parity(horizon: int) -> TokenMDP:
    """Reward 1 for an even number of b, written straight into the levels: no Python loop over responses."""
    odd = np.zeros(1)
    levels = []
    for depth in range(horizon):
        after = np.stack([odd, 1 - odd, odd], axis=1)
        levels.append(np.where(ending_tokens(depth, horizon, 3), 1 - after, 0.0)[None])
        odd = after[:, :2].ravel()
    return TokenMDP(f"parity-{horizon}", ("even",), np.ones(1), ("a", "b", "<eos>"), tuple(levels))


def best_time(function: Callable[[], object]) -> float:
    """The fastest of a few runs, in seconds: the others waited for something else."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(horizon: int) -> dict[str, float]:
    """One size: seconds and bytes of the gradient, seconds of the numpy pass."""
    mdp = parity(horizon)
    logits = TabularPolicy().init(mdp, 0)
    _ = mdp.outcome  # a property of the problem, computed once

    def gradient() -> object:
        return population.expected_gradient(METHODS["grpo"].objective, mdp, logits, num_generations=GROUP_SIZE)

    flat = np.concatenate([level.ravel() for level in logits])
    out = np.empty_like(flat)
    seconds = best_time(gradient)
    tracemalloc.start()
    gradient()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    plain = best_time(lambda: np.multiply(flat, 2.0, out=out))
    return {
        "horizon": horizon,
        "responses": mdp.num_responses,
        "prefixes": mdp.num_prefixes,
        "gradient_seconds": seconds,
        "numpy_pass_seconds": plain,
        "ratio": seconds / plain,
        "nanoseconds_per_prefix": 1e9 * seconds / mdp.num_prefixes,
        "peak_bytes_per_tree_byte": peak / flat.nbytes,
    }


def main() -> None:
    """Run all sizes and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("results/population.json"))
    path = parser.parse_args().json
    rows = [measure(horizon) for horizon in track(HORIZONS, description="sizes")]
    print_table(f"Exact GRPO gradient, G = {GROUP_SIZE}", list(rows[0]), [list(row.values()) for row in rows])
    machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
    write_json(path, {"method": "grpo", "num_generations": GROUP_SIZE, **machine, "sizes": rows})


if __name__ == "__main__":
    main()
