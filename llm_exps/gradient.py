"""What an update computes with the model: log-probabilities, and the gradient of the loss.

Compiled are what comes before the layers, a layer forwards and backwards (`llm_exps.models.backward`), and what comes
behind them up to the loss. On several devices all of it is one program, so that what one layer sends overlaps what
others compute.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from llm_exps.distribution import InParts
from llm_exps.evidence import Evidence, Prefixes, Rollout
from llm_exps.logprobs import token_logprobs
from llm_exps.models.backward import lower_pass, pass_through, split_module
from llm_exps.models.decoder import Decoder, Stream
from llm_exps.update import Weights
from mdp_theory.methods.credit import Credit
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.loss import surrogate
from mdp_theory.methods.objectives import Objective
from mdp_theory.methods.weights import passes_clip

Scores = tuple[Float[Array, "batch time"], Float[Array, "batch time"], Float[Array, "batch time"]]
"""Log-probability, entropy and value of every completion token."""


@dataclass(frozen=True)
class Head:
    """What comes behind the layers.

    chunk: tokens whose logits are held at once.
    rollout_is_threshold: bounds a token's weight where the sampler is not quite the learner; 0 has all weights 1.
    """

    temperature: float
    chunk: int
    rollout_is_threshold: float

    def scores(
        self,
        model: Decoder,
        critic: dict[str, Array] | None,
        x: Float[Array, "tokens hidden"],
        rollout: Rollout,
        prefixes: Prefixes | None,
    ) -> Scores:
        """Of every completion token, from what comes after the last layer."""
        time = rollout.mask.shape[1]
        completions = rollout.tokens[:, -time:]
        if prefixes is None:
            # The hidden state of one position predicts the token of the next.
            hidden = model.norm(x).reshape(*rollout.tokens.shape, -1)[:, -time - 1 : -1]
        else:
            prompts = len(prefixes.first), rollout.tokens.shape[1] - time
            hidden = model.predictors(x, prefixes.prompt, prompts)
        logp, entropy = token_logprobs(model, hidden, completions, temperature=self.temperature, chunk=self.chunk)
        value = jnp.zeros_like(logp)
        if critic is not None:
            features = jax.lax.stop_gradient(hidden).astype(jnp.float32)
            value = features @ critic["kernel"] + critic["bias"]
        return logp, entropy, value

    def loss(
        self, objective: Objective, scores: Scores, rollout: Rollout, evidence: Evidence, credit: Credit
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The rows' part of the loss, and the sums of `gradient`."""
        logp, entropy, value = scores
        mask = rollout.mask
        detached = jax.lax.stop_gradient(logp)
        old = detached if evidence.old_logp is None else evidence.old_logp
        ref = detached if evidence.ref_logp is None else evidence.ref_logp
        weight = self._correction(old, rollout)
        corrected = credit._replace(advantage=credit.advantage * weight)
        total = surrogate(objective, corrected, logp=logp, old_logp=old, ref_logp=ref, mask=mask)
        passes = passes_clip(objective, credit, logp=detached, old_logp=old, mask=mask)
        learned = mask * (credit.scale > 0)
        gap = jnp.abs(detached - rollout.sampler_logp) * mask
        sums = {
            "loss": total,
            "tokens": mask.sum(),
            "learned": learned.sum(),
            "entropy": (entropy * mask).sum(),
            "kl": (kl_estimate("k3", detached, ref) * mask).sum(),
            "clip_ratio/region_mean": ((1 - passes) * learned).sum(),
            "ratio_deviation": (jnp.abs(jnp.exp(detached - old) - 1) * mask).sum(),
            "sampling/logp_difference_mean": gap.sum(),
        }
        if self.rollout_is_threshold:
            sums["sampling/correction_mean"] = (weight * mask).sum()
        if evidence.value is not None:
            # The critic's squared error against A + V, its own estimate of the return (1707.06347 eq. 9).
            error = (value - credit.advantage - evidence.value) ** 2 * mask
            sums["value_loss"] = error.sum()
            total += (credit.scale * error).sum()
        return total, sums

    def _correction(self, old_logp: Float[Array, "batch time"], rollout: Rollout) -> Float[Array, "batch time"]:
        """How often each token counts because the sampler is not quite the learner: truncated importance sampling."""
        if not self.rollout_is_threshold:
            return jnp.ones_like(old_logp)
        # Padding may hold anything, and counts for nothing.
        drift = jnp.where(rollout.mask > 0, old_logp - rollout.sampler_logp, 0.0)
        return jnp.minimum(jnp.exp(drift), self.rollout_is_threshold)


@dataclass(frozen=True)
class Program:
    """The model, and what is computed with it. trainable: the kind of parameter that learns."""

    graph: nnx.GraphDef[Decoder]
    head: Head
    trainable: type[nnx.Variable]


@partial(InParts, static=(0,))
def forward(program: Program, weights: Weights, rollout: Rollout, prefixes: Prefixes | None = None) -> Scores:
    """Log-probability, entropy and value of every completion token; the value is 0 without a critic."""
    model = nnx.merge(program.graph, weights.params)
    graph, state = nnx.split(model.without_layers())
    x = model.through_layers(_enter(graph, state, rollout, prefixes))
    return _scores(program.head, graph, state, weights.critic, x, rollout, prefixes)


@partial(InParts, static=(0, 1))
def gradient(
    program: Program,
    objective: Objective,
    weights: Weights,
    rollout: Rollout,
    evidence: Evidence,
    credit: Credit,
    prefixes: Prefixes | None = None,
) -> tuple[Weights, dict[str, Array]]:
    """The rows' part of the gradient, and sums over their tokens from which metrics are made."""
    model = nnx.merge(program.graph, weights.params)
    graph, learned, fixed = split_module(model.without_layers(), program.trainable)
    stream = _enter(graph, nnx.merge_state(learned, fixed), rollout, prefixes)
    x, passes = pass_through(model.layers, stream, trainable=program.trainable, remat=model.remat)
    (ends, slope), sums = _loss_gradient(
        program.head,
        objective,
        graph,
        Weights(learned, weights.critic),
        fixed,
        x,
        rollout,
        evidence,
        credit,
        prefixes,
    )
    slopes: dict[Any, Any] = {}
    for number in reversed(range(len(passes))):
        # Taken off the list, so that what it saved is free before the next one is at work.
        below, slope = passes.pop().pull(slope)
        slopes |= {("layers", number, *path): leaf for path, leaf in nnx.to_flat_state(below)}
    slopes |= dict(nnx.to_flat_state(_enter_gradient(graph, ends.params, learned, fixed, slope, rollout, prefixes)))
    return Weights(nnx.from_flat_state(slopes), ends.critic), sums


@partial(jax.jit, static_argnums=0)
def _enter(graph: nnx.GraphDef[Decoder], state: nnx.State, rollout: Rollout, prefixes: Prefixes | None) -> Stream:
    model = nnx.merge(graph, state)
    if prefixes is None:
        return model.enter(rollout.tokens, rollout.valid)
    time = rollout.mask.shape[1]
    prompts, valid = (field[prefixes.first, :-time] for field in (rollout.tokens, rollout.valid))
    return model.branch(prompts, valid, prefixes.prompt, rollout.tokens[:, -time:], rollout.valid[:, -time:])


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _enter_gradient(
    graph: nnx.GraphDef[Decoder],
    ends: nnx.State,
    learned: nnx.State,
    fixed: nnx.State,
    slope: Float[Array, "tokens hidden"],
    rollout: Rollout,
    prefixes: Prefixes | None,
) -> nnx.State:
    """The gradient of what is no layer: what the loss gave, `ends`, and what comes from before the layers."""

    def enter(learned: nnx.State) -> Float[Array, "tokens hidden"]:
        return _enter(graph, nnx.merge_state(learned, fixed), rollout, prefixes).x

    (begins,) = jax.vjp(enter, learned)[1](slope)
    total: nnx.State = jax.tree.map(jnp.add, ends, begins)
    return total


@partial(jax.jit, static_argnums=(0, 1))
def _scores(
    head: Head,
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    critic: dict[str, Array] | None,
    x: Float[Array, "tokens hidden"],
    rollout: Rollout,
    prefixes: Prefixes | None,
) -> Scores:
    return head.scores(nnx.merge(graph, state), critic, x, rollout, prefixes)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _loss_gradient(
    head: Head,
    objective: Objective,
    graph: nnx.GraphDef[Decoder],
    weights: Weights,
    fixed: nnx.State,
    x: Float[Array, "tokens hidden"],
    rollout: Rollout,
    evidence: Evidence,
    credit: Credit,
    prefixes: Prefixes | None,
) -> tuple[tuple[Weights, Float[Array, "tokens hidden"]], dict[str, Array]]:
    """By what is no layer, and by what comes after the last one."""

    def loss(weights: Weights, x: Float[Array, "tokens hidden"]) -> tuple[Float[Array, ""], dict[str, Array]]:
        model = nnx.merge(graph, nnx.merge_state(weights.params, fixed))
        scores = head.scores(model, weights.critic, x, rollout, prefixes)
        return head.loss(objective, scores, rollout, evidence, credit)

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(weights, x)


class Memory(NamedTuple):
    """Bytes of a gradient on one device. saved: by the forward for the backward pass. scratch: of the largest part."""

    result: int
    saved: int
    scratch: int


def memory(
    program: Program,
    objective: Objective,
    weights: Weights,
    rollout: Rollout,
    evidence: Evidence,
    credit: Credit,
    prefixes: Prefixes | None = None,
) -> Memory:
    """What `gradient` takes besides its arguments, from shapes and from what XLA says of its parts."""
    model = nnx.merge(program.graph, weights.params)
    graph, learned, fixed = split_module(model.without_layers(), program.trainable)
    enter = _enter.lower(graph, nnx.merge_state(learned, fixed), rollout, prefixes)
    stream: Stream = enter.out_info
    layer = lower_pass(model.layers[0], stream, trainable=program.trainable, remat=model.remat)
    ends = Weights(learned, weights.critic)
    loss = _loss_gradient.lower(
        program.head, objective, graph, ends, fixed, stream.x, rollout, evidence, credit, prefixes
    )
    rest = (graph, learned, learned, fixed, stream.x, rollout, prefixes)
    parts = [enter, *layer.programs, loss, _enter_gradient.lower(*rest)]
    used = [part.compile().memory_analysis() for part in parts]
    count = len(model.layers)
    return Memory(
        result=count * nbytes(layer.slopes) + nbytes(ends),
        saved=nbytes(stream) + count * (nbytes(layer.saved) + nbytes(stream.x)),
        scratch=max(each.temp_size_in_bytes for each in used if each is not None),
    )


def nbytes(tree: Any) -> int:
    """Of all arrays, or shapes of arrays."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
