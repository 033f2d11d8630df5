"""Attention of whole sequences: cuDNN's fused kernel where the device has it, the plain products elsewhere.

The plain form holds scores for every pair of tokens; cuDNN's holds a block of them at a time, forward and backward.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attend_within(
    query: Float[Array, "batch time heads head_dim"],
    key: Float[Array, "batch time kv_heads head_dim"],
    value: Float[Array, "batch time kv_heads head_dim"],
    mask: Bool[Array, "batch 1 time time"],
) -> Float[Array, "batch time heads head_dim"]:
    """Grouped-query attention; every query may see at least one key."""
    implementation = fused(jax.default_backend(), str(query.dtype), query.shape[-1])
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=implementation)


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

    shapes = [((2, 64, heads, head_dim), dtype) for heads in (2, 1, 1)] + [((2, 1, 64, 64), bool)]
    arguments = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    return jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(*arguments).compile()
