"""How fast few rows are multiplied by the matrices of thirty layers, by several libraries and in two orders.

What a decoding step can gain is bounded by this: its products alone, at the shape of SmolLM2-135M, each matrix another
one, as in a model. GFLOP/s, the median of turns and their spread, beside the rate of one large product.
    python results/products.py          results: results/products.json; about two minutes, leave the machine alone
    python results/speed.py --write     puts them into docs/performance.md
"""

import importlib.metadata
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llm_exps.experiment import provenance
from llm_exps.models.linear import multiply_turned
from rino.bench.limits import measure_rates
from rino.bench.scales import SCALES
from rino_base.files import write_json
from rino_base.progress import track

RESULTS = Path(__file__).parent / "products.json"
LAYERS, TURNS = 30, 7
PICKS = {"median": statistics.median, "least": max, "most": min}
ROWS = (1, 8, 16, 32, 64, 128, 1024)


def shapes() -> dict[str, tuple[int, int]]:
    """Inputs and outputs of a layer's matrices."""
    shape = SCALES["smollm2-135m"].shape
    assert shape is not None, "published sizes"
    width = shape.hidden // shape.heads
    keys = shape.kv_heads * width
    return {
        "query": (shape.hidden, shape.hidden),
        "key": (shape.hidden, keys),
        "value": (shape.hidden, keys),
        "output": (shape.hidden, shape.hidden),
        "gate": (shape.hidden, shape.mlp),
        "up": (shape.hidden, shape.mlp),
        "down": (shape.mlp, shape.hidden),
    }


def candidates(sizes: dict[str, tuple[int, int]]) -> dict[str, Callable[[dict[str, np.ndarray]], Any]]:
    """By name: all products of all layers, given the rows that go in."""
    rng = np.random.default_rng(0)
    weights = {
        name: [rng.standard_normal((out, into), np.float32) for _ in range(LAYERS)]
        for name, (into, out) in sizes.items()
    }
    # What torch and numpy get is stored as torch stores it, `[outputs, inputs]`; both are told that it is transposed.
    straight = jax.tree.map(lambda w: jnp.asarray(w.T.copy()), weights)
    turned = jax.tree.map(jnp.asarray, weights)

    def every(multiply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda x, weights: [[multiply(x[name], w) for w in of] for name, of in weights.items()]

    plain, other = jax.jit(every(jnp.matmul)), jax.jit(every(multiply_turned))
    found = {
        "XLA, x W": lambda x: jax.block_until_ready(plain(x, straight)),
        "XLA, (W xᵀ)ᵀ": lambda x: jax.block_until_ready(other(x, turned)),
        "numpy, x Wᵀ": lambda x: every(lambda x, w: x @ w.T)(x, weights),
    }
    try:
        import torch
    except ImportError:
        return found
    stored = {name: [torch.from_numpy(w) for w in of] for name, of in weights.items()}

    def with_torch(x: dict[str, np.ndarray]) -> None:
        with torch.no_grad():
            every(torch.nn.functional.linear)({name: torch.from_numpy(rows) for name, rows in x.items()}, stored)

    return found | {"torch, x Wᵀ": with_torch}


def main() -> None:
    """Measure, and write the rates."""
    sizes = shapes()
    programs = candidates(sizes)
    per_row = 2 * LAYERS * sum(into * out for into, out in sizes.values())
    table: dict[str, Any] = {}
    for rows in ROWS:
        given = {
            name: np.random.default_rng(1).standard_normal((rows, into), np.float32)
            for name, (into, _) in sizes.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for turn in track(range(-1, TURNS), description=f"{rows} rows"):  # the first compiles
            for name, program in programs.items():
                start = time.perf_counter()
                program(given)
                if turn >= 0:
                    seconds[name].append(time.perf_counter() - start)
        table[str(rows)] = {
            name: {word: round(rows * per_row / 1e9 / pick(of), 1) for word, pick in PICKS.items()}
            for name, of in seconds.items()
        }
    said = provenance()
    if importlib.util.find_spec("torch"):
        said["versions"]["torch"] = importlib.metadata.version("torch")
    write_json(RESULTS, said | {"matrix_rate": round(measure_rates("float32").flops / 1e9, 1), "rows": table})


if __name__ == "__main__":
    main()
