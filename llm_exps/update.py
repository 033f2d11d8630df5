"""One update of the weights by a gradient, block by block: each layer, what is in no layer, the critic.

Layers are alike, so that one program serves all of them: what is traced, compiled and loaded at a start does not grow
with their number, and the scratch of a step is that of one block.
"""

from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from llm_exps.optimiser import Part, Settings, transformation

Leaves: TypeAlias = list[Array]


class Weights(NamedTuple):
    """What is learned: the model's parameters, and a value head on its last hidden states where a critic is needed."""

    params: nnx.State
    critic: dict[str, Array] | None


class LearnerState(NamedTuple):
    """What training changes.

    optimiser: a state for each block. skipped: updates left out since their gradient was not finite.
    """

    weights: Weights
    optimiser: tuple[optax.OptState, ...]
    skipped: Int[Array, ""]

    @property
    def params(self) -> nnx.State:
        """The model's parameters."""
        return self.weights.params


def initial_state(settings: Settings, trainable: type[nnx.Variable], weights: Weights) -> LearnerState:
    """The state before the first update."""
    learned, _ = split(trainable, weights)
    leaves = jax.tree.leaves(learned)
    # Compiled, it is one program for all layers; but its zeros would not be spread as weights are over a mesh.
    begin = _begin_compiled if jax.sharding.get_abstract_mesh().empty else _begin
    states = tuple(begin(settings, part, [leaves[place] for place in places]) for part, places in _blocks(learned))
    return LearnerState(weights, states, jnp.zeros((), jnp.int32))


def apply_update(
    settings: Settings,
    trainable: type[nnx.Variable],
    state: LearnerState,
    gradient: Weights,
    rate: Float[Array, ""] | float,
) -> tuple[LearnerState, Float[Array, ""]]:
    """The state after one update by a gradient, and the gradient's norm. The old state is donated."""
    learned, rest = split(trainable, state.weights)
    leaves, tree = jax.tree.flatten(learned)
    work = _work(learned, state, gradient)
    norm = _norm([_square(block.slopes) for block in work if block.part == "policy"])
    moments = []
    for block in work:
        stepped, after = _step(settings, block.part, block.leaves, block.moment, block.slopes, norm, rate)
        moments.append(after)
        for place, leaf in zip(block.places, stepped, strict=True):
            leaves[place] = leaf
    weights = join(jax.tree.unflatten(tree, leaves), rest)
    return LearnerState(weights, tuple(moments), state.skipped + ~jnp.isfinite(norm)), norm


def lower_update(
    settings: Settings, trainable: type[nnx.Variable], state: LearnerState, gradient: Weights
) -> list[jax.stages.Lowered]:
    """The programs of `apply_update`, one for each block, from shapes alone."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    learned, _ = split(trainable, state.weights)
    return [
        _step.lower(settings, block.part, block.leaves, block.moment, block.slopes, number, number)
        for block in _work(learned, state, gradient)
    ]


def split(trainable: type[nnx.Variable], weights: Weights) -> tuple[Weights, nnx.State]:
    """What learns, and the parameters that do not."""
    learned, rest = nnx.split_state(weights.params, trainable, ...)
    return Weights(learned, weights.critic), rest


def join(learned: Weights, rest: nnx.State) -> Weights:
    """The opposite of `split`."""
    return Weights(nnx.merge_state(learned.params, rest), learned.critic)


class _Block(NamedTuple):
    """What one program steps. places: of the leaves among all. slopes: their gradient."""

    part: Part
    places: list[int]
    leaves: Leaves
    moment: optax.OptState
    slopes: Leaves


def _work(learned: Weights, state: LearnerState, gradient: Weights) -> list[_Block]:
    leaves, slopes = jax.tree.leaves(learned), jax.tree.leaves(gradient)
    return [
        _Block(part, places, [leaves[place] for place in places], moment, [slopes[place] for place in places])
        for (part, places), moment in zip(_blocks(learned), state.optimiser, strict=True)
    ]


def _blocks(learned: Weights) -> list[tuple[Part, list[int]]]:
    """Which leaves belong together, by their places among all of them."""
    found: dict[Any, list[int]] = {}
    paths, _ = jax.tree_util.tree_flatten_with_path(learned)
    for place, (path, _) in enumerate(paths):
        names = [getattr(step, "key", getattr(step, "name", None)) for step in path]
        layer = names[2] if names[1] == "layers" else None
        found.setdefault((names[0], layer), []).append(place)
    return [("critic" if name == "critic" else "policy", places) for (name, _), places in found.items()]


def _begin(settings: Settings, part: Part, leaves: Leaves) -> optax.OptState:
    """The optimiser's state of a block before its first step."""
    return transformation(settings, 0.0, part).init(leaves)


_begin_compiled = jax.jit(_begin, static_argnums=(0, 1))


@jax.jit
def _square(leaves: Leaves) -> Float[Array, ""]:
    return optax.tree.norm(leaves, squared=True)


@jax.jit
def _norm(squares: Leaves) -> Float[Array, ""]:
    return jnp.sqrt(sum(squares))


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def _step(
    settings: Settings,
    part: Part,
    leaves: Leaves,
    moment: optax.OptState,
    slopes: Leaves,
    norm: Float[Array, ""],
    rate: Float[Array, ""] | float,
) -> tuple[Leaves, optax.OptState]:
    """A block after its step; norm: of the policy's whole gradient."""
    if part == "policy" and settings.max_grad_norm:
        # As optax.clip_by_global_norm, which would take the norm of the block.
        shrink = jnp.where(norm < settings.max_grad_norm, 1.0, settings.max_grad_norm / norm)
        slopes = [slope * shrink.astype(slope.dtype) for slope in slopes]
    updates, after = transformation(settings, rate, part).update(slopes, moment, leaves)
    stepped = optax.apply_updates(leaves, updates), after
    # A gradient that is not finite must touch neither the weights nor the optimiser's moments.
    kept: tuple[Leaves, optax.OptState] = jax.tree.map(
        lambda new, old: jnp.where(jnp.isfinite(norm), new, old), stepped, (leaves, moment)
    )
    return kept
