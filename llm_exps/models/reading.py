"""A model as sampling reads it: the same for every token, so that what can be done once is done once."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import cast

import jax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from llm_exps.models.decoder import Decoder
from llm_exps.models.linear import Linear


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Reading:
    """Parameters in the type of the computation; turned: with turned matrices (`llm_exps.models.linear`)."""

    graph: nnx.GraphDef[Decoder] = dataclasses.field(metadata={"static": True})
    state: nnx.State
    turned: bool = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, graph: nnx.GraphDef[Decoder], state: nnx.State) -> "Reading":
        """Parameters for many tokens. What changes is copied: casts, and on a single CPU the matrices of the layers."""
        turned = jax.default_backend() == "cpu" and jax.sharding.get_mesh().empty
        model = nnx.merge(graph, state)
        dtype = model.dtype
        model = nnx.merge(graph, jax.tree.map(lambda x: x if x.dtype == dtype else _cast(x, dtype), state))
        for linear in _matrices(model) if turned else ():
            linear.kernel = cast(nnx.Param, linear.kernel.replace(_turn(linear.kernel[...])))
        return cls(graph, nnx.state(model), turned)

    def model(self) -> Decoder:
        """The decoder, for use inside a compiled function."""
        model = nnx.merge(self.graph, self.state)
        if self.turned:
            model.turned = True
            for linear in _matrices(model):
                linear.turned = True
        return model


@partial(jax.jit, static_argnums=1)
def _cast(x: Array, dtype: DTypeLike) -> Array:
    return x.astype(dtype)


@jax.jit
def _turn(kernel: Float[Array, "inputs outputs"]) -> Float[Array, "outputs inputs"]:
    return kernel.T


def _matrices(model: Decoder) -> list[Linear]:
    return [module for _, module in nnx.iter_modules(model) if isinstance(module, Linear)]
