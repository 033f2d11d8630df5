"""What a machine allows: rates measured here and now, and the least time of a work, from its operations and bytes.

Counted is what the work needs, not what a program does: recomputation in the backward pass, padding, and rows that have
ended count nothing. Each decoding step takes the longer of its arithmetic and its reading, of the weights once and of
the keys and values of the rows that still run.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from llm_exps.models.config import DecoderConfig
from rino.bench.scales import Batch


class Rates(NamedTuple):
    """Operations a second of a large matrix product, and bytes a second of reading a large array."""

    flops: float
    bytes: float


def measure_rates(dtype: str, *, repeats: int = 5) -> Rates:
    """The best of some repeats, since disturbances only slow down."""
    # On an accelerator a pass takes about a millisecond: many in one program, or else its launch counts as well.
    size, count, passes = (2048, 2**27, 1) if jax.default_backend() == "cpu" else (8192, 2**30, 20)
    square = (jax.random.normal(jax.random.key(0), (size, size)) / size**0.5).astype(dtype)
    long = jnp.ones(count, jnp.float32)

    @jax.jit
    def multiply(square: Array) -> Array:
        return jax.lax.fori_loop(0, passes, lambda _, product: product @ square, square)

    @jax.jit
    def read(long: Array) -> Array:
        # Each pass depends on the one before, so that none is left out.
        return jax.lax.fori_loop(0, passes, lambda _, total: jnp.sum(long + 1e-30 * total), jnp.float32(0))

    product, reading = (_best(*work, repeats=repeats) / passes for work in ((multiply, square), (read, long)))
    return Rates(2 * size**3 / product, 4 * count / reading)


def _best(program: Callable[[Any], Any], argument: Any, *, repeats: int) -> float:
    jax.block_until_ready(program(argument))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(program(argument))
        times.append(time.perf_counter() - start)
    return min(times)


def layer_parameters(config: DecoderConfig) -> int:
    """Those of the layers' matrices."""
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    each = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size)
    return config.num_layers * each


def _head_parameters(config: DecoderConfig) -> int:
    return config.hidden_size * config.vocabulary_size


def _attention_flops(config: DecoderConfig, pairs: float) -> float:
    """Scores and weighted sums of so many pairs of a query and a key, of all heads and layers."""
    return 4 * config.num_layers * config.num_heads * config.head_dim * pairs


def sampling_seconds(
    config: DecoderConfig, batch: Batch, lengths: Int[np.ndarray, " rows"], rates: Rates, *, itemsize: int
) -> dict[str, float]:
    """Least seconds to draw responses of these lengths: in all, and the part that only reading accounts for.

    itemsize: bytes of a weight, and of a number in the cache.
    """
    layers, head = layer_parameters(config), _head_parameters(config)
    prompt = batch.prompt_tokens
    prefill = batch.prompts * (2 * layers * prompt + _attention_flops(config, prompt * (prompt + 1) / 2) + 2 * head)
    total, bound = prefill / rates.flops, 0.0
    cached = 2 * config.num_layers * config.num_kv_heads * config.head_dim * itemsize
    for step in range(1, int(lengths.max())):
        rows, context = int((lengths > step).sum()), prompt + step
        arithmetic = rows * (2 * (layers + head) + _attention_flops(config, context)) / rates.flops
        reading = ((layers + head) * itemsize + rows * context * cached) / rates.bytes
        total += max(arithmetic, reading)
        bound += reading if reading > arithmetic else 0.0
    return {"seconds": total, "read_bound_seconds": bound}


def update_flops(config: DecoderConfig, batch: Batch, lengths: Int[np.ndarray, " rows"]) -> float:
    """Operations of a forward and a backward pass, which costs two; the head is needed on the responses alone.

    A prompt counts once, however many responses follow it.
    """
    prompt = batch.prompt_tokens
    # The last token of a row is predicted and predicts nothing.
    own = lengths - 1
    tokens = batch.prompts * prompt + float(own.sum())
    pairs = batch.prompts * prompt * (prompt + 1) / 2 + float((own * prompt + own * (own + 1) / 2).sum())
    forward = 2 * layer_parameters(config) * tokens + _attention_flops(config, pairs)
    return 3 * (forward + 2 * _head_parameters(config) * float(lengths.sum()))
