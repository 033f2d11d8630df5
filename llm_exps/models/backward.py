"""The backward pass through the layers, one after the other.

Layers are alike, so that two programs, forwards and backwards, serve all of them: what is traced, compiled and loaded
at a start does not grow with their number.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import jax
from flax import nnx
from jaxtyping import Array, Float

from llm_exps.models.decoder import Layer, Stream

Module = TypeVar("Module", bound=nnx.Module)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Saved:
    """What the backward pass of a layer needs besides what the layer was given.

    tree, given: how jax's function of the backward pass is put together again; given: of each of its arrays the place
        among those that the layer was given, None for one that is saved.
    """

    arrays: list[Array]
    tree: Any = dataclasses.field(metadata={"static": True})
    given: tuple[int | None, ...] = dataclasses.field(metadata={"static": True})


@dataclass(frozen=True)
class Pass:
    """A layer that was passed through. given: its learned and other parameters, and the stream."""

    given: tuple[nnx.State, nnx.State, Stream]
    saved: _Saved

    def pull(self, slope: Float[Array, "tokens hidden"]) -> tuple[nnx.State, Float[Array, "tokens hidden"]]:
        """The gradient of what is learned, and of the stream before the layer, from that of the stream behind it."""
        learned: nnx.State
        learned, before = _backward(self.saved, self.given, slope)
        return learned, before


def split_module(module: Module, trainable: type[nnx.Variable]) -> tuple[nnx.GraphDef[Module], nnx.State, nnx.State]:
    """What a module is, its parameters that learn, and those that do not."""
    return cast(tuple[nnx.GraphDef[Module], nnx.State, nnx.State], nnx.split(module, trainable, ...))


def pass_through(
    layers: Sequence[Layer], stream: Stream, *, trainable: type[nnx.Variable], remat: bool
) -> tuple[Float[Array, "tokens hidden"], list[Pass]]:
    """The stream behind the layers, and what their backward passes need. trainable: the kind of parameter that learns.

    remat: keep only what each layer is given.
    """
    passes = []
    for layer in layers:
        graph, learned, rest = split_module(layer, trainable)
        given = learned, rest, stream
        x, saved = _forward(remat, graph, *given)
        passes.append(Pass(given, saved))
        stream = stream._replace(x=x)
    return stream.x, passes


class LoweredPass(NamedTuple):
    """The programs of a layer, forwards and backwards; shapes of what is saved between them, and of the gradient."""

    programs: tuple[jax.stages.Lowered, jax.stages.Lowered]
    saved: Any
    slopes: Any


def lower_pass(layer: Layer, stream: Any, *, trainable: type[nnx.Variable], remat: bool) -> LoweredPass:
    """As `pass_through`, from shapes alone."""
    graph, learned, rest = split_module(layer, trainable)
    given = learned, rest, stream
    forward = _forward.lower(remat, graph, *given)
    x, saved = forward.out_info
    backward = _backward.lower(saved, given, x)
    return LoweredPass((forward, backward), saved, backward.out_info[0])


@partial(jax.jit, static_argnums=(0, 1))
def _forward(
    remat: bool, graph: nnx.GraphDef[Layer], learned: nnx.State, rest: nnx.State, stream: Stream
) -> tuple[Float[Array, "tokens hidden"], _Saved]:
    def run(learned: nnx.State, x: Float[Array, "tokens hidden"]) -> Float[Array, "tokens hidden"]:
        return nnx.merge(graph, learned, rest)(x, stream.rotation, stream.attend)[0]

    # Products are saved; what lies between them takes less time to compute again than to write and read.
    keep = jax.checkpoint_policies.nothing_saveable if remat else jax.checkpoint_policies.dots_saveable
    x, pullback = jax.vjp(jax.checkpoint(run, policy=keep), learned, stream.x)
    arrays, tree = jax.tree.flatten(pullback)
    there = {id(array): place for place, array in enumerate(jax.tree.leaves((learned, rest, stream)))}
    given = tuple(there.get(id(array)) for array in arrays)
    # A program would copy the weights into its results.
    saved = [array for array, place in zip(arrays, given, strict=True) if place is None]
    return x, _Saved(saved, tree, given)


@partial(jax.jit, donate_argnums=2)
def _backward(
    saved: _Saved, given: tuple[nnx.State, nnx.State, Stream], slope: Float[Array, "tokens hidden"]
) -> tuple[nnx.State, Float[Array, "tokens hidden"]]:
    there, kept = jax.tree.leaves(given), iter(saved.arrays)
    arrays = [next(kept) if place is None else there[place] for place in saved.given]
    learned: nnx.State
    learned, before = jax.tree.unflatten(saved.tree, arrays)(slope)
    return learned, before
