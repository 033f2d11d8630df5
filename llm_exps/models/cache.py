"""The key-value cache: one slot per token, the same slot for every row.

Prompts are padded on the left, so that the next token of every row goes to the same slot: a step then writes one
contiguous slice instead of scattering, and XLA updates it in place.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from llm_exps.models.config import DecoderConfig


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far, a pytree.

    keys, values: one `[batch, slots, kv_heads, head_dim]` array per layer; keys are already rotated to their positions.
    valid: False on padding and on slots that are not filled yet.
    filled: the number of slots written, of every row alike.
    """

    keys: tuple[Float[Array, "batch slots kv_heads head_dim"], ...]
    values: tuple[Float[Array, "batch slots kv_heads head_dim"], ...]
    valid: Bool[Array, "batch slots"]
    filled: Int[Array, ""]

    @classmethod
    def create(cls, config: DecoderConfig, *, batch: int, slots: int, dtype: DTypeLike) -> "Cache":
        """An empty cache for `batch` rows of `slots` tokens."""
        empty = jnp.zeros((batch, slots, config.num_kv_heads, config.head_dim), dtype)
        layers = (empty,) * config.num_layers
        return cls(keys=layers, values=layers, valid=jnp.zeros((batch, slots), bool), filled=jnp.zeros((), jnp.int32))

    def fork(self, copies: int, *, extra_slots: int) -> "Cache":
        """Repeat every row `copies` times, neighbours together, with `extra_slots` empty slots appended to each."""

        def spread(x: Array) -> Array:
            padding = [(0, 0), (0, extra_slots), *[(0, 0)] * (x.ndim - 2)]
            return jnp.pad(jnp.repeat(x, copies, axis=0), padding)

        return Cache(
            keys=tuple(map(spread, self.keys)),
            values=tuple(map(spread, self.values)),
            valid=spread(self.valid),
            filled=self.filled,
        )
