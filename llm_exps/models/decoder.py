"""One decoder for Qwen2.5, Qwen3 and Llama-3.2, in Flax NNX.

Sub-modules carry the names of the published weights (`layers.0.self_attn.q_proj`), so that reading and writing them is
a rule and not a table. Departures from transformers' PyTorch code: the head is a method of its own, so that
log-probabilities can be computed in chunks that never hold `[batch, time, vocabulary]`; rotary angles and norms are
float32 whatever the compute type; attention is masked by segments, which serve padding on either side and packing.
Layers work on tokens, `[tokens, hidden]`: products of matrices, with which XLA is faster than with those of batches,
above all backwards. Which tokens see which others is said by the callable that a layer gets, its `attend`.

Below, `types` are the `dtype`, `param_dtype` and `rngs` that every nnx module takes.
"""

import copy
import dataclasses
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from llm_exps.distribution import keep_rows_split
from llm_exps.models.attention import Branches, Rows
from llm_exps.models.cache import Cache, KeyValue, Past
from llm_exps.models.config import DecoderConfig
from llm_exps.models.linear import Linear, multiply_turned

__all__ = ["Cache", "Decoder", "DecoderConfig", "Layer", "Stream", "segment_positions"]

Rotation = tuple[Float[Array, "tokens 1 half"], Float[Array, "tokens 1 half"]]
Attend: TypeAlias = Rows | Branches | Past
"""From the queries, keys and values of tokens: what each attends to, and the cache with them where there is one."""


class Stream(NamedTuple):
    """Tokens on their way through the layers, and what each layer has to know of them."""

    x: Float[Array, "tokens hidden"]
    rotation: Rotation
    attend: Attend


def segment_positions(segments: Int[Array, "batch time"]) -> Int[Array, "batch time"]:
    """Position of every token within its segment, a run of equal numbers, counted from 0."""
    index = jnp.arange(segments.shape[1])
    starts = jnp.diff(segments, axis=1, prepend=segments[:, :1]) != 0
    return index - jax.lax.cummax(jnp.where(starts, index, 0), axis=1)


def rotary_frequencies(config: DecoderConfig) -> Float[np.ndarray, " half"]:
    """Radians per position of each pair of head dimensions; Su et al. 2021 (2104.09864), with Llama-3.1's scaling."""
    frequencies = 1.0 / config.rope_theta ** (np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies.astype(np.float32)
    periods_in_context = scaling.original_max_positions * frequencies / (2 * np.pi)
    keep = (periods_in_context - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    keep = np.clip(keep, 0.0, 1.0)
    return (frequencies * (keep + (1.0 - keep) / scaling.factor)).astype(np.float32)


def _rotate(x: Float[Array, "tokens heads head_dim"], rotation: Rotation) -> Float[Array, "tokens heads head_dim"]:
    cos, sin = rotation
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: DecoderConfig, **types: Any) -> None:
        queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.q_proj = _linear(config, config.hidden_size, queries, use_bias=config.qkv_bias, **types)
        self.k_proj = _linear(config, config.hidden_size, keys, use_bias=config.qkv_bias, **types)
        self.v_proj = _linear(config, config.hidden_size, keys, use_bias=config.qkv_bias, **types)
        self.o_proj = _linear(config, queries, config.hidden_size, **types)
        self.q_norm = _norm(config, config.head_dim, **types) if config.qk_norm else None
        self.k_norm = _norm(config, config.head_dim, **types) if config.qk_norm else None
        self.head_dim = config.head_dim

    def __call__(
        self, x: Float[Array, "tokens hidden"], rotation: Rotation, attend: Attend
    ) -> tuple[Float[Array, "tokens hidden"], KeyValue | None]:
        query, key, value = (
            projection(x).reshape(len(x), -1, self.head_dim) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.q_norm is not None and self.k_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        attended, present = attend(_rotate(query, rotation), _rotate(key, rotation), value)
        return self.o_proj(attended.reshape(len(x), -1)), present


class MLP(nnx.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))`; Shazeer 2020 (2002.05202)."""

    def __init__(self, config: DecoderConfig, **types: Any) -> None:
        self.gate_proj = _linear(config, config.hidden_size, config.intermediate_size, **types)
        self.up_proj = _linear(config, config.hidden_size, config.intermediate_size, **types)
        self.down_proj = _linear(config, config.intermediate_size, config.hidden_size, **types)

    def __call__(self, x: Float[Array, "tokens hidden"]) -> Float[Array, "tokens hidden"]:
        return self.down_proj(jax.nn.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nnx.Module):
    """Attention and MLP, each behind a norm and added to the stream."""

    def __init__(self, config: DecoderConfig, **types: Any) -> None:
        self.input_layernorm = _norm(config, config.hidden_size, **types)
        self.self_attn = Attention(config, **types)
        self.post_attention_layernorm = _norm(config, config.hidden_size, **types)
        self.mlp = MLP(config, **types)

    def __call__(
        self, x: Float[Array, "tokens hidden"], rotation: Rotation, attend: Attend
    ) -> tuple[Float[Array, "tokens hidden"], KeyValue | None]:
        attended, present = self.self_attn(self.input_layernorm(x), rotation, attend)
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x)), present


class Decoder(nnx.Module):
    """A causal language model: tokens to hidden states, and hidden states to logits.

    dtype: type of activations and matrix products; logits are float32 all the same.
    param_dtype: type of the stored parameters; float32 makes them the master weights of training.
    remat: recompute each layer in the backward pass instead of keeping its activations.
    """

    turned = False
    """Whether the head is multiplied as turned matrices are; see `llm_exps.models.linear`."""

    def __init__(
        self,
        config: DecoderConfig,
        *,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        types: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.config = config
        self.dtype = jnp.dtype(dtype)
        self.remat = remat
        self.embed_tokens = nnx.Embed(
            config.vocabulary_size,
            config.hidden_size,
            embedding_init=jax.nn.initializers.normal(config.initializer_range),
            **types,
        )
        self.layers = nnx.List([Layer(config, **types) for _ in range(config.num_layers)])
        self.norm = _norm(config, config.hidden_size, **types)
        # Tied models have no second array at all: a copy would part from the embedding at the first update.
        shape = config.hidden_size, config.vocabulary_size
        self.lm_head = None if config.tie_embeddings else _linear(config, *shape, **types)

    @classmethod
    def abstract(cls, config: DecoderConfig, **options: Any) -> "Decoder":
        """One with shapes in place of parameters; options: as of the class, without `rngs`."""
        one_layer = dataclasses.replace(config, num_layers=1)
        model = nnx.eval_shape(lambda: cls(one_layer, rngs=nnx.Rngs(0), **options))
        # Layers are alike, and making one takes as long as copying a hundred.
        model.layers = nnx.List([nnx.clone(model.layers[0]) for _ in range(config.num_layers)])
        model.config = config
        return model

    def __call__(
        self,
        tokens: Int[Array, "batch time"],
        segments: Int[Array, "batch time"] | None = None,
        positions: Int[Array, "batch time"] | None = None,
    ) -> Float[Array, "batch time hidden"]:
        """Hidden states after the last norm; pass them to `logits`.

        segments: a token attends to the earlier tokens with its own number; 0 is padding by custom. A padding mask, on
            the left or on the right, is a valid `segments`; so is 1, 2, ... for sequences packed in one row.
            Default: one sequence a row.
        positions: default: counted from 0 within each segment, so that a row reads the same wherever its padding is.
        """
        x = self.through_layers(self.enter(tokens, segments, positions))
        return self.norm(x).reshape(*tokens.shape, self.config.hidden_size)

    def enter(
        self,
        tokens: Int[Array, "batch time"],
        segments: Int[Array, "batch time"] | None = None,
        positions: Int[Array, "batch time"] | None = None,
    ) -> Stream:
        """What comes before the layers when the model is called, one row after the other."""
        if segments is None:
            segments = jnp.ones_like(tokens)
        segments = segments.astype(jnp.int32)
        if positions is None:
            positions = segment_positions(segments)
        index = jnp.arange(tokens.shape[1])
        mask = (segments[:, :, None] == segments[:, None, :]) & (index[:, None] >= index)
        return Stream(self._embed(tokens), self._rotation(positions.ravel()), Rows(mask[:, None]))

    def branch(
        self,
        prompts: Int[Array, "prompts prompt_time"],
        prompt_valid: Bool[Array, "prompts prompt_time"],
        prompt: Int[Array, " batch"],
        tokens: Int[Array, "batch time"],
        valid: Bool[Array, "batch time"],
    ) -> Stream:
        """What comes before the layers where rows follow prompts that are computed once, the prompts first.

        prompts: padded on the left. prompt: which of them a row follows. tokens: of the rows, padded on the right.
        """
        length, places = prompt_valid.sum(axis=1), jnp.maximum(jnp.cumsum(prompt_valid, axis=1) - 1, 0)
        after = length[prompt][:, None] + jnp.arange(tokens.shape[1] - 1)
        # The last token of a row predicts nothing.
        x = jnp.concatenate([self._embed(prompts), self._embed(tokens[:, :-1])])
        rotation = self._rotation(jnp.concatenate([places.ravel(), after.ravel()]))
        return Stream(x, rotation, Branches.of(prompt, prompt_valid, valid[:, :-1]))

    def predictors(
        self, x: Float[Array, "tokens hidden"], prompt: Int[Array, " batch"], prompts: tuple[int, int]
    ) -> Float[Array, "batch time hidden"]:
        """Hidden states, after the last norm, that predict the tokens of rows that follow prompts, from what comes
        after the layers: for the first token that of its prompt's end. prompts: how many, and their time.
        """
        x, (count, prompt_time) = self.norm(x), prompts
        ends = x[prompt_time - 1 : count * prompt_time : prompt_time]
        rest = x[count * prompt_time :].reshape(len(prompt), -1, self.config.hidden_size)
        return jnp.concatenate([ends[prompt][:, None], rest], axis=1)

    def extend(
        self,
        tokens: Int[Array, "batch time"],
        valid: Bool[Array, "batch time"],
        positions: Int[Array, "batch time"],
        cache: Cache,
    ) -> tuple[Float[Array, "batch time hidden"], Cache]:
        """Hidden states of tokens that follow those in the cache, and the cache with them in its next slots.

        valid: False on padding, which nothing attends to. positions: counted without the padding.
        The caller sees to it that the cache has `time` slots left: inside a compiled loop nothing can be raised.
        """
        mask, present = _slots_seen(valid, cache.valid, cache.filled)
        x, rotation = self._embed(tokens), self._rotation(positions.ravel())
        updated = []
        for layer, past in zip(self.layers, zip(cache.keys, cache.values, strict=True), strict=True):
            x, key_value = _through(False, *nnx.split(layer), x, rotation, Past(*past, mask, cache.filled))
            assert key_value is not None, "a cache gives one back"
            updated.append(key_value)
        keys, values = zip(*updated, strict=True)
        hidden = _normed(*nnx.split(self.norm), x).reshape(*tokens.shape, -1)
        return hidden, Cache(keys=keys, values=values, valid=present, filled=cache.filled + tokens.shape[1])

    def logits(self, hidden: Float[Array, "*shape hidden"]) -> Float[Array, "*shape vocabulary"]:
        """float32 scores of every token of the vocabulary."""
        if self.lm_head is None:
            spec, weight = "...d,vd->...v", self.embed_tokens.embedding[...]
        else:
            spec, weight = "...d,dv->...v", self.lm_head.kernel[...]
        weight = weight.astype(self.dtype)
        if self.turned:
            return multiply_turned(hidden, weight, preferred_element_type=jnp.float32)
        return jnp.einsum(spec, hidden, weight, preferred_element_type=jnp.float32)

    def through_layers(self, stream: Stream) -> Float[Array, "tokens hidden"]:
        """What comes after the last layer."""
        x, *rest = stream
        for layer in self.layers:
            x = _through(self.remat, *nnx.split(layer), x, *rest)[0]
        return x

    def without_layers(self) -> "Decoder":
        """What the model is besides its layers; it shares the parameters."""
        rest = copy.copy(self)
        rest.layers = nnx.List([])
        return rest

    def _embed(self, tokens: Int[Array, "batch time"]) -> Float[Array, "tokens hidden"]:
        return _rows_of(self.embed_tokens.embedding[...], tokens, self.dtype)

    def _rotation(self, positions: Int[Array, " tokens"]) -> Rotation:
        return _rotation(self.config, positions)


@partial(jax.jit, static_argnums=(0, 1))
def _through(
    remat: bool, graph: nnx.GraphDef[Layer], state: nnx.State, x: Array, *rest: Any
) -> tuple[Float[Array, "tokens hidden"], KeyValue | None]:
    """A layer of `x` and what else it takes, as a program of its own, which jax traces once and not once a layer."""

    def run(state: nnx.State, x: Array) -> tuple[Array, KeyValue | None]:
        return nnx.merge(graph, state)(x, *rest)

    return (jax.checkpoint(run) if remat else run)(state, x)


@jax.jit
def _slots_seen(
    valid: Bool[Array, "batch time"], present: Bool[Array, "batch slots"], filled: Int[Array, ""]
) -> tuple[Bool[Array, "batch 1 time slots"], Bool[Array, "batch slots"]]:
    """Which slots of a cache tokens see that go behind the first `filled`, and which then are valid."""
    present = jax.lax.dynamic_update_slice_in_dim(present, valid, filled, axis=1)
    slots, own_slot = jnp.arange(present.shape[1]), filled + jnp.arange(valid.shape[1])
    return present[:, None, None, :] & (slots <= own_slot[:, None]), present


@partial(jax.jit, static_argnums=0)
def _normed(graph: nnx.GraphDef[nnx.RMSNorm], state: nnx.State, x: Array) -> Float[Array, "tokens hidden"]:
    normed: Array = nnx.merge(graph, state)(x)
    return normed


@partial(jax.jit, static_argnums=2)
def _rows_of(
    table: Float[Array, "vocabulary hidden"], tokens: Int[Array, "batch time"], dtype: DTypeLike
) -> Float[Array, "tokens hidden"]:
    # Rows first, then the cast: nnx.Embed casts the whole table, which for Qwen's vocabulary is most of the model.
    rows = jnp.take(table, tokens, axis=0).astype(dtype)
    return keep_rows_split(rows).reshape(-1, table.shape[1])


@partial(jax.jit, static_argnums=0)
def _rotation(config: DecoderConfig, positions: Int[Array, " tokens"]) -> Rotation:
    angles = positions[:, None, None].astype(jnp.float32) * rotary_frequencies(config)
    return jnp.cos(angles), jnp.sin(angles)


def _linear(config: DecoderConfig, inputs: int, outputs: int, *, use_bias: bool = False, **types: Any) -> Linear:
    initial = jax.nn.initializers.normal(config.initializer_range)
    return Linear(inputs, outputs, use_bias=use_bias, kernel_init=initial, **types)


def _norm(config: DecoderConfig, features: int, **types: Any) -> nnx.RMSNorm:
    return nnx.RMSNorm(features, epsilon=config.norm_eps, **types)
