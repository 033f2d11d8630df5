"""Sizes of the work that `rino bench` times, and the models that do it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.huggingface import load
from llm_exps.setup import EMBEDDED_MODEL


class Shape(NamedTuple):
    """Published sizes; embeddings are tied."""

    vocabulary: int
    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    rope_theta: float = 1e6


class Batch(NamedTuple):
    """`generations` responses to each of `prompts` prompts, of at most `new_tokens` tokens each."""

    prompts: int
    generations: int
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True)
class Scale:
    """The batches of the three works. `shape` None is the embedded model; else random weights in published sizes."""

    shape: Shape | None
    equal: Batch
    ragged: Batch
    step: Batch
    micro_batch: int = 0
    dtype: str = "float32"
    remat: bool = False


# SmolLM2-135M's widths, in the architecture that all peers have: Qwen2's, whose biases start at 0.
_SMOLLM2 = Shape(49_152, 576, 1536, 30, 9, 3, rope_theta=1e5)
_QWEN_BATCHES = (Batch(32, 8, 128, 384), Batch(32, 8, 128, 1024), Batch(8, 8, 128, 896))

SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "small": Scale(None, Batch(32, 8, 8, 48), Batch(32, 8, 8, 64), Batch(32, 8, 8, 48)),
        "smollm2-135m": Scale(_SMOLLM2, Batch(4, 8, 16, 32), Batch(16, 8, 16, 128), Batch(4, 8, 16, 32)),
        "qwen2.5-0.5b": Scale(
            Shape(151_936, 896, 4864, 24, 14, 2), *_QWEN_BATCHES, micro_batch=16, dtype="bfloat16", remat=True
        ),
        "qwen2.5-1.5b": Scale(
            Shape(151_936, 1536, 8960, 28, 12, 2), *_QWEN_BATCHES, micro_batch=16, dtype="bfloat16", remat=True
        ),
    }
)


def build(scale: Scale) -> Decoder:
    """The model; its widths decide the speed, whatever the weights."""
    if scale.shape is None:
        return load(EMBEDDED_MODEL)[0]
    config = DecoderConfig.from_huggingface(
        {
            "model_type": "qwen2",
            "vocab_size": scale.shape.vocabulary,
            "hidden_size": scale.shape.hidden,
            "intermediate_size": scale.shape.mlp,
            "num_hidden_layers": scale.shape.layers,
            "num_attention_heads": scale.shape.heads,
            "num_key_value_heads": scale.shape.kv_heads,
            "rope_theta": scale.shape.rope_theta,
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 32_768,
            "tie_word_embeddings": True,
        }
    )
    return Decoder(config, dtype=jnp.dtype(scale.dtype), remat=scale.remat, rngs=nnx.Rngs(0))


def prompts(batch: Batch) -> list[list[int]]:
    """Tokens 2 to 99, which every vocabulary has; 0 and 1 are the peers' padding and end."""
    return np.random.default_rng(0).integers(2, 100, (batch.prompts, batch.prompt_tokens)).tolist()


def lengths(batch: Batch, *, ragged: bool) -> np.ndarray:
    """Tokens of every response: all alike, or geometric with a mean of an eighth of the limit and some at the limit."""
    rows = batch.prompts * batch.generations
    if not ragged:
        return np.full(rows, batch.new_tokens)
    rng = np.random.default_rng(1)
    drawn = np.minimum(rng.geometric(8 / batch.new_tokens, rows), batch.new_tokens)
    drawn[rng.choice(rows, max(rows // 32, 1), replace=False)] = batch.new_tokens
    return drawn
