"""Low-rank adapters (LoRA): the matrices of the model stay, and a product of two thin ones is learned beside each.

Hu et al. 2021 (2106.09685) eq. 3, with peft's initial values and names. `merge` puts the product into the matrix, so
that what is saved is an ordinary model.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Sharding
from jaxtyping import Array, Float

from llm_exps.models.decoder import Decoder
from llm_exps.models.linear import Linear

TARGETS = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
NAMES = tuple(name for names in TARGETS.values() for name in names)


class LoRA(nnx.Module):
    """`base(x) + alpha / rank · x A B`; it begins as the base, for B is 0."""

    def __init__(self, base: Linear, *, rank: int, alpha: float, rngs: nnx.Rngs) -> None:
        self.base = base
        # peft's initial values: uniform in ±1/√inputs.
        uniform = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        dtype = base.param_dtype
        self.lora_a = nnx.LoRAParam(uniform(rngs.params(), (base.in_features, rank), dtype))
        self.lora_b = nnx.LoRAParam(jnp.zeros((rank, base.out_features), dtype))
        self.scale = alpha / rank

    def __call__(self, x: Float[Array, "*shape inputs"]) -> Float[Array, "*shape outputs"]:
        thin = x.astype(self.base.dtype) @ self.lora_a[...].astype(self.base.dtype)
        return self.base(x) + self.scale * (thin @ self.lora_b[...].astype(self.base.dtype))

    def merged(self) -> Linear:
        """The base with the product in its kernel."""
        product = self.lora_a[...].astype(jnp.float32) @ self.lora_b[...].astype(jnp.float32)
        kernel = self.base.kernel
        kernel[...] = (kernel[...].astype(jnp.float32) + self.scale * product).astype(kernel.dtype)
        return self.base


def add(
    model: Decoder,
    *,
    rank: int,
    alpha: float,
    targets: Sequence[str] = NAMES,
    seed: int = 0,
    sharding: Sharding | None = None,
) -> None:
    """Put an adapter beside every layer's matrices of these names; the model answers as before.

    seed: decides A. sharding: of the adapters, which are small: everywhere, for a model on many devices.
    """
    rngs = nnx.Rngs(seed)
    for parent, name, linear in list(_places(model)):
        if name in targets:
            adapter = LoRA(linear, rank=rank, alpha=alpha, rngs=rngs)
            if sharding is not None:
                for thin in (adapter.lora_a, adapter.lora_b):
                    thin[...] = jax.device_put(thin[...], sharding)
            setattr(parent, name, adapter)


def merge(model: Decoder) -> None:
    """Replace every adapter by its matrix with the product in it; a model without adapters stays as it is."""
    for parent, name, linear in list(_places(model)):
        if isinstance(linear, LoRA):
            setattr(parent, name, linear.merged())


def _places(model: Decoder) -> Iterator[tuple[nnx.Module, str, Any]]:
    for layer in model.layers:
        for part, names in TARGETS.items():
            parent = getattr(layer, part)
            for name in names:
                yield parent, name, getattr(parent, name)
