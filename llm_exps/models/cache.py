"""The key-value cache: one slot per token, the same slot for every row.

Prompts are padded on the left, so that the next token of every row goes to the same slot: a step writes a slice instead
of scattering, and XLA updates it in place. Heads come before slots, the order in which the products of attention read
them: the other way round, every step would first transpose the whole cache.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from llm_exps.distribution import keep_rows_split
from llm_exps.models.config import DecoderConfig

AnyArray: TypeAlias = Any
"""A numpy or a jax array."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far, a pytree.

    keys, values: one `[batch, kv_heads, slots, head_dim]` array per layer; keys are already rotated to their positions.
    valid: False on padding and on slots that are not filled yet.
    filled: the number of slots written, of every row alike.
    """

    keys: tuple[Float[Array, "batch kv_heads slots head_dim"], ...]
    values: tuple[Float[Array, "batch kv_heads slots head_dim"], ...]
    valid: Bool[Array, "batch slots"]
    filled: Int[Array, ""]

    @classmethod
    def create(cls, config: DecoderConfig, *, batch: int, slots: int, dtype: DTypeLike) -> "Cache":
        """An empty cache for `batch` rows of `slots` tokens."""
        empty = jnp.zeros((batch, config.num_kv_heads, slots, config.head_dim), dtype)
        layers = (empty,) * config.num_layers
        return cls(keys=layers, values=layers, valid=jnp.zeros((batch, slots), bool), filled=jnp.zeros((), jnp.int32))

    def take(self, rows: Int[AnyArray, " taken"], *, filled: Int[Array, ""] | int, slots: int) -> "Cache":
        """These rows, any of them any number of times, moved along the slots so that the first `filled` are in use.

        The caller sees to it that `filled` holds what is valid in every row that matters; what falls out is lost.
        """
        source = jnp.arange(slots) - filled + self.filled
        inside = (source >= 0) & (source < self.filled)
        source = jnp.clip(source, 0, self.valid.shape[1] - 1)

        return Cache(
            keys=tuple(_move(x, rows, source) for x in self.keys),
            values=tuple(_move(x, rows, source) for x in self.values),
            valid=jnp.take(self.valid[rows], source, axis=1) & inside,
            filled=jnp.asarray(filled, jnp.int32),
        )


@jax.jit
def _move(
    x: Float[Array, "batch kv_heads slots head_dim"], rows: Int[Array, " taken"], source: Int[Array, " new_slots"]
) -> Float[Array, "taken kv_heads new_slots head_dim"]:
    """Traced once, not once a layer."""
    return keep_rows_split(jnp.take(jnp.take(x, rows, axis=0), source, axis=2), alone=False)


KeyValue: TypeAlias = tuple[
    Float[Array, "batch kv_heads slots head_dim"], Float[Array, "batch kv_heads slots head_dim"]
]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Past:
    """What tokens that follow those of a cache, `time` of every row, see in one layer.

    slot: where the first of them goes. mask: which slots each sees, their own among them.
    """

    keys: Float[Array, "batch kv_heads slots head_dim"]
    values: Float[Array, "batch kv_heads slots head_dim"]
    mask: Bool[Array, "batch 1 time slots"]
    slot: Int[Array, ""]

    def __call__(
        self,
        query: Float[Array, "tokens heads head_dim"],
        key: Float[Array, "tokens kv_heads head_dim"],
        value: Float[Array, "tokens kv_heads head_dim"],
    ) -> tuple[Float[Array, "tokens heads head_dim"], KeyValue]:
        """What every token attends to, and the cache with them."""
        batch, _, time, _ = self.mask.shape
        rows, new_keys, new_values = (x.reshape(batch, time, *x.shape[1:]) for x in (query, key, value))
        present = write(self.keys, new_keys, self.slot), write(self.values, new_values, self.slot)
        return attend(rows, *present, self.mask).reshape(query.shape), present


def write(
    cached: Float[Array, "batch kv_heads slots head_dim"],
    new: Float[Array, "batch time kv_heads head_dim"],
    slot: Int[Array, ""] | int,
) -> Float[Array, "batch kv_heads slots head_dim"]:
    """The cached keys, or values, of one layer with new ones from `slot` on."""
    return jax.lax.dynamic_update_slice_in_dim(cached, jnp.swapaxes(new, 1, 2).astype(cached.dtype), slot, axis=2)


def attend(
    query: Float[Array, "batch time heads head_dim"],
    keys: Float[Array, "batch kv_heads slots head_dim"],
    values: Float[Array, "batch kv_heads slots head_dim"],
    mask: Bool[Array, "batch 1 time slots"],
) -> Float[Array, "batch time heads head_dim"]:
    """Grouped-query attention to a cache: jax.nn.dot_product_attention, which wants slots before heads."""
    batch, time, heads, head_dim = query.shape
    grouped = query.reshape(batch, time, keys.shape[1], -1, head_dim)
    scores = jnp.einsum("btkgd,bksd->bkgts", grouped, keys, preferred_element_type=jnp.float32) / head_dim**0.5
    # Finite, so that a padded query, which may see nothing at all, does not become NaN.
    scores = jnp.where(mask[:, :, None], scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores).astype(values.dtype)
    # Written so that XLA multiplies weights by values; as one einsum it transposes the values, three times slower.
    each = jnp.matmul(weights.reshape(batch, keys.shape[1], -1, keys.shape[2]), values)
    each = each.reshape(batch, keys.shape[1], -1, time, head_dim)
    return each.transpose(0, 3, 1, 2, 4).reshape(batch, time, heads, head_dim)
