"""Time the parts of sampling at the shape of SmolLM2-135M, with random weights.

    python results/sampling.py > results/sampling.json

Each part is timed against what it replaced, in turns, as wall and CPU seconds: the draw against Gumbel noise, stages
against one stage of the whole length (equal lengths, and geometric ones with a mean of an eighth of the limit), and the
products of the layers as they are against fused ones (query, key and value in one; gate and up in one).
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llm_exps import sampling
from llm_exps.drawing import draw
from llm_exps.models.decoder import Decoder, DecoderConfig

CONFIG = DecoderConfig(
    architecture="llama",
    vocabulary_size=49_152,
    hidden_size=576,
    intermediate_size=1536,
    num_layers=30,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    tie_embeddings=True,
)
ONE_STAGE = {"_LEAST_ROWS": 1 << 30, "_LEAST_SLOTS": 1 << 30}


@dataclass(frozen=True)
class Times:
    """Medians, in milliseconds; ratio: before to now, pair by pair."""

    now_wall: float
    now_cpu: float
    before_wall: float
    before_cpu: float
    ratio_wall: float
    ratio_cpu: float


def in_turns(now: Callable[[], Any], before: Callable[[], Any], repeats: int) -> Times:
    """After one run each, which compiles."""
    spent = np.zeros((2, repeats, 2))
    for turn in range(-1, repeats):
        for which, work in enumerate((now, before)):
            start = np.array([time.perf_counter(), time.process_time()])
            jax.block_until_ready(work())
            if turn >= 0:
                spent[which, turn] = [time.perf_counter(), time.process_time()] - start
    middle = [float(median(spent[which, :, clock])) * 1e3 for which in (0, 1) for clock in (0, 1)]
    ratios = [float(median(spent[1, :, clock] / spent[0, :, clock])) for clock in (0, 1)]
    return Times(*(round(value, 3) for value in (*middle, *ratios)))


def gumbel(logits: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The draw as it was."""
    logp = jax.nn.log_softmax(logits)
    token = jax.vmap(jax.random.categorical)(keys, logp)
    return token, jnp.take_along_axis(logp, token[:, None], axis=1), -jnp.sum(jnp.exp(logp) * logp, axis=-1)


def drawing(rows: int, repeats: int) -> Times:
    logits = 3 * jax.random.normal(jax.random.key(0), (rows, CONFIG.vocabulary_size))
    keys = sampling.row_keys(jax.random.key(1), jnp.arange(rows))
    now, before = jax.jit(draw), jax.jit(gumbel)
    return in_turns(lambda: now(logits, keys), lambda: before(logits, keys), repeats)


def stages(rows: int, limit: int, repeats: int, *, ragged: bool) -> dict[str, Any]:
    model = Decoder(CONFIG, rngs=nnx.Rngs(0))
    prompts = np.random.default_rng(0).integers(0, CONFIG.vocabulary_size, (rows, 16)).tolist()
    keys = sampling.row_keys(jax.random.key(1), jnp.arange(rows))
    # Random weights draw almost evenly: an eighth of the limit is the mean when that share of the tokens stops.
    stop_tokens = tuple(range(CONFIG.vocabulary_size * 8 // limit)) if ragged else ()
    options = sampling.Sampling(max_new_tokens=limit, stop_tokens=stop_tokens)
    tokens = []

    def now() -> Any:
        samples = sampling.generate(model, prompts, keys, options)
        tokens.append(int(samples.mask.sum()))
        return samples.tokens

    def before() -> Any:
        with mock.patch.multiple(sampling, **ONE_STAGE):
            return now()

    times = in_turns(now, before, repeats)
    return {"rows": rows, "limit": limit, "tokens": tokens[-1], **asdict(times)}


def products(rows: int, repeats: int) -> Times:
    hidden, middle = CONFIG.hidden_size, CONFIG.intermediate_size
    heads, shared = CONFIG.num_heads * CONFIG.head_dim, CONFIG.num_kv_heads * CONFIG.head_dim
    shapes = [(hidden, heads), (hidden, shared), (hidden, shared), (heads, hidden), (hidden, middle), (hidden, middle)]
    make = jax.random.normal
    layers = [
        [
            make(jax.random.key(10 * layer + number), shape) / 24
            for number, shape in enumerate([*shapes, (middle, hidden)])
        ]
        for layer in range(CONFIG.num_layers)
    ]
    fused = [[jnp.hstack(w[:3]), w[3], jnp.hstack(w[4:6]), w[6]] for w in layers]

    @jax.jit
    def apart(x: jax.Array, layers: list[list[jax.Array]]) -> jax.Array:
        for q, k, v, o, gate, up, down in layers:
            x = x + (x @ q + jnp.tile(x @ k + x @ v, heads // shared)) @ o
            x = (x + (x @ gate * (x @ up)) @ down) / 2
        return x

    @jax.jit
    def together(x: jax.Array, layers: list[list[jax.Array]]) -> jax.Array:
        for qkv, o, gate_up, down in layers:
            q, k, v = jnp.split(x @ qkv, [heads, heads + shared], axis=1)
            x = x + (q + jnp.tile(k + v, heads // shared)) @ o
            gate, up = jnp.split(x @ gate_up, 2, axis=1)
            x = (x + (gate * up) @ down) / 2
        return x

    x = make(jax.random.key(1), (rows, hidden)) / 24
    return in_turns(lambda: together(x, fused), lambda: apart(x, layers), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["draw", "products", "equal", "ragged"], nargs="*")
    arguments = parser.parse_args()
    rows, repeats = arguments.rows, arguments.repeats
    parts: dict[str, Callable[[], Any]] = {
        "draw": lambda: asdict(drawing(rows, repeats)),
        "products": lambda: asdict(products(rows, repeats)),
        "equal": lambda: stages(rows, arguments.limit, repeats, ragged=False),
        "ragged": lambda: stages(rows, arguments.limit, repeats, ragged=True),
    }
    chosen = arguments.only or list(parts)
    print(json.dumps({"device": jax.devices()[0].device_kind, **{name: parts[name]() for name in chosen}}, indent=2))


if __name__ == "__main__":
    main()
