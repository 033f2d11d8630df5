"""Attention without a cache: of whole rows, and of rows that branch off from prompts they share.

A layer takes tokens one after the other, whatever rows they are of; only here do rows matter. cuDNN's fused kernel is
used where the device has it: the plain form holds scores for every pair of tokens, cuDNN's a block of them at a time,
forward and backward.
"""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rows:
    """The tokens of rows, one row after the other. mask: which earlier tokens of its row a token sees."""

    mask: Bool[Array, "batch 1 time time"]

    def __call__(
        self,
        query: Float[Array, "tokens heads head_dim"],
        key: Float[Array, "tokens kv_heads head_dim"],
        value: Float[Array, "tokens kv_heads head_dim"],
    ) -> tuple[Float[Array, "tokens heads head_dim"], None]:
        """What every token attends to, and nothing to keep."""
        batch, _, time, _ = self.mask.shape
        queries, keys, values = (x.reshape(batch, time, *x.shape[1:]) for x in (query, key, value))
        return attend_within(queries, keys, values, self.mask).reshape(query.shape), None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Branches:
    """The tokens of prompts, one prompt after the other, and behind them those of the rows that follow the prompts.

    prompt: of each row. within: which tokens of itself a prompt's token sees.
    mask: which tokens of its prompt, and then of its own, a row's token sees.
    """

    prompt: Int[Array, " batch"]
    within: Bool[Array, "prompts 1 prompt_time prompt_time"]
    mask: Bool[Array, "batch 1 time prompt_time+time"]

    @classmethod
    def of(
        cls,
        prompt: Int[Array, " batch"],
        prompt_valid: Bool[Array, "prompts prompt_time"],
        valid: Bool[Array, "batch time"],
    ) -> "Branches":
        """A token sees the valid ones before it, and itself: padding has to see something."""
        within, own = _causal(prompt_valid), _causal(valid)
        before = jnp.broadcast_to(prompt_valid[prompt][:, None, None, :], (*own.shape[:3], prompt_valid.shape[1]))
        return cls(prompt, within, jnp.concatenate([before, own], axis=3))

    def __call__(
        self,
        query: Float[Array, "tokens heads head_dim"],
        key: Float[Array, "tokens kv_heads head_dim"],
        value: Float[Array, "tokens kv_heads head_dim"],
    ) -> tuple[Float[Array, "tokens heads head_dim"], None]:
        """What every token attends to, and nothing to keep."""
        prompts, _, prompt_time, _ = self.within.shape
        batch, _, time, _ = self.mask.shape
        first = prompts * prompt_time

        def split(x: Array) -> tuple[Array, Array]:
            return x[:first].reshape(prompts, prompt_time, *x.shape[1:]), x[first:].reshape(batch, time, *x.shape[1:])

        (asked, keys, values), (following, own_keys, own_values) = zip(*map(split, (query, key, value)), strict=True)

        def behind(prompt: Array, own: Array) -> Array:
            return jnp.concatenate([jnp.take(prompt, self.prompt, axis=0), own], axis=1)

        parts = (
            attend_within(asked, keys, values, self.within),
            attend_within(following, behind(keys, own_keys), behind(values, own_values), self.mask),
        )
        return jnp.concatenate([part.reshape(-1, *query.shape[1:]) for part in parts]), None


def _causal(valid: Bool[Array, "batch time"]) -> Bool[Array, "batch 1 time time"]:
    index = jnp.arange(valid.shape[1])
    earlier, itself = index[:, None] > index, index[:, None] == index
    return (earlier & valid[:, None, :] | itself)[:, None]


def attend_within(
    query: Float[Array, "batch time heads head_dim"],
    key: Float[Array, "batch slots kv_heads head_dim"],
    value: Float[Array, "batch slots kv_heads head_dim"],
    mask: Bool[Array, "batch 1 time slots"],
) -> Float[Array, "batch time heads head_dim"]:
    """Grouped-query attention; every query may see at least one key."""
    implementation = fused(jax.default_backend(), str(query.dtype), query.shape[-1])
    if implementation is None:
        return jax.nn.dot_product_attention(query, key, value, mask=mask)
    # cuDNN's backward pass takes masks of even lengths alone; nothing sees what is added.
    time, more, keys = query.shape[1], query.shape[1] % 2, key.shape[1] % 2
    query = jnp.pad(query, [(0, 0), (0, more), (0, 0), (0, 0)])
    key, value = (jnp.pad(x, [(0, 0), (0, keys), (0, 0), (0, 0)]) for x in (key, value))
    mask = jnp.pad(mask, [(0, 0), (0, 0), (0, more), (0, keys)])
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=implementation)[:, :time]


@functools.cache
def fused(platform: str, dtype: str, head_dim: int) -> Literal["cudnn"] | None:
    """cuDNN where it takes these types and a small backward pass compiles; jax's own choice elsewhere.

    Tried once a process: what a driver, a card and a version of cuDNN take together is written down nowhere.
    """
    if platform != "gpu" or dtype not in ("bfloat16", "float16") or head_dim % 8 or head_dim > 128:
        return None
    try:
        _compile(dtype, head_dim)
    except Exception:
        # cuDNN missing or too old, or a card without the kernel: each raises something else.
        return None
    return "cudnn"


def _compile(dtype: str, head_dim: int) -> Any:
    def total(query: Array, key: Array, value: Array, mask: Array) -> Array:
        attended = jax.nn.dot_product_attention(query, key, value, mask=mask, implementation="cudnn")
        return attended.astype(jnp.float32).sum()

    shapes = [((2, *sizes, head_dim), dtype) for sizes in ((32, 2), (64, 1), (64, 1))] + [((2, 1, 32, 64), bool)]
    arguments = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    return jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(*arguments).compile()
