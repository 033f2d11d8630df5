"""The matrices of a model, and how rows are multiplied by them.

On a CPU, XLA multiplies few rows by a matrix about a fifth faster where the matrix comes first: `(W xᵀ)ᵀ` with `W`
stored as `[outputs, inputs]`, "turned", instead of `x Wᵀ` (`python results/products.py`). Sampling turns what it reads.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def multiply_turned(
    x: Float[Array, "rows inputs"], weight: Float[Array, "outputs inputs"], **options: Any
) -> Float[Array, "rows outputs"]:
    """`x Wᵀ`, computed as `(W xᵀ)ᵀ`. options: of `jax.numpy.matmul`."""
    # XLA would undo the transpositions, and be as slow as without them.
    keep = jax.lax.optimization_barrier
    return keep(jnp.matmul(weight, keep(x.T), **options)).T


class Linear(nnx.Linear):
    """As nnx's, and turned where `turned` is set: then the kernel is `[outputs, inputs]`, and x `[rows, inputs]`."""

    turned = False

    def __call__(self, inputs: Float[Array, "*rows inputs"], out_sharding: Any = None) -> Float[Array, "*rows outputs"]:
        """`inputs W + b`. out_sharding: as of nnx's, without effect where it is turned."""
        if not self.turned:
            return super().__call__(inputs, out_sharding=out_sharding)
        y = multiply_turned(inputs.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)
