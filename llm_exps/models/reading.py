"""A model as sampling reads it: the same for every token, so that what can be done once is done once."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

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
        pairs = zip(nnx.to_flat_state(state), _changed(graph, state, turned), strict=True)
        leaves = [(path, old if new is None else old.replace(new)) for (path, old), new in pairs]
        return cls(graph, nnx.from_flat_state(leaves), turned)

    def model(self) -> Decoder:
        """The decoder, for use inside a compiled function."""
        model = nnx.merge(self.graph, self.state)
        if self.turned:
            model.turned = True
            for linear in _matrices(model):
                linear.turned = True
        return model


@partial(jax.jit, static_argnums=(0, 2))
def _changed(graph: nnx.GraphDef[Decoder], state: nnx.State, turned: bool) -> list[Array | None]:
    """The parameters in the other form, and None for those that stay: a program would copy them."""
    dtype = nnx.merge(graph, state).dtype

    def change(path: tuple[Any, ...], x: Array) -> Array | None:
        # Of the modules of a decoder only `Linear` calls a parameter so.
        turn = turned and path[-1] == "kernel"
        return None if x.dtype == dtype and not turn else (x.T if turn else x).astype(dtype)

    return [change(path, variable[...]) for path, variable in nnx.to_flat_state(state)]


def _matrices(model: Decoder) -> list[Linear]:
    return [module for _, module in nnx.iter_modules(model) if isinstance(module, Linear)]
