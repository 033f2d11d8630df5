"""Sampling: every prompt is prefilled once, its cache is forked for the group, and one compiled loop decodes.

The whole of it is one program per (prompts, padded prompt length, `Sampling`): prompts are padded to a few lengths, the
cache never leaves the program, so that XLA updates it in place, and the loop ends as soon as every row has.
The noise of a token is a function of its row's key and of its place in the response, nothing else: a row draws the same
response whatever batch it is sampled in.

A token is drawn by inverting the distribution in two steps, a block of the vocabulary and then a token of it. Noise on
every logit (Gumbel's) draws from the same distribution, and needs as many random numbers as the vocabulary has tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from llm_exps.models.cache import Cache
from llm_exps.models.decoder import Decoder
from rino_base.messages import InputError

_BLOCK = 128
"""Tokens of a block: about as many as Qwen's vocabulary has blocks, to the factor that whole vector registers cost."""


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    temperature: 0 takes the most probable token. top_k: 0 keeps all tokens; top_p: 1 keeps all tokens.
    stop_tokens: each ends a response. pad_token: fills what follows the end.
    """

    max_new_tokens: int
    num_generations: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop_tokens: tuple[int, ...] = ()
    pad_token: int = 0

    def __post_init__(self) -> None:
        rules = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "num_generations": (self.num_generations >= 1, "at least 1"),
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k >= 0, "0 or more"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise InputError(f"{name} is {getattr(self, name)}, and has to be {rule}", mend=f"change {name}")


class Samples(NamedTuple):
    """Responses, the `num_generations` of a prompt next to each other.

    mask: True on the response, its stop token included.
    logp: log-probability of each token under the distribution it was drawn from, after temperature, top-k and top-p;
        greedy responses have it at temperature 1. 0 off the mask.
    entropy: in nats, of the distribution at the temperature (1 if greedy), before top-k and top-p. 0 off the mask.
    """

    tokens: Int[Array, "rows time"]
    mask: Bool[Array, "rows time"]
    logp: Float[Array, "rows time"]
    entropy: Float[Array, "rows time"]


def generate(
    model: Decoder, prompts: Sequence[Sequence[int]], keys: Key[Array, " rows"], sampling: Sampling
) -> Samples:
    """Draw `num_generations` responses to each prompt.

    keys: one for each response, in the order of the result; see `row_keys`.
    """
    tokens, mask = pad_prompts(prompts, pad_token=sampling.pad_token)
    graph, state = nnx.split(model)
    return sample(graph, state, tokens, mask, keys, sampling)


def row_keys(key: Key[Array, ""], rows: Int[Array, " rows"]) -> Key[Array, " rows"]:
    """A key for each row from the number that names the row, wherever in a batch it stands."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def pad_prompts(
    prompts: Sequence[Sequence[int]], *, pad_token: int
) -> tuple[Int[np.ndarray, "prompts time"], Bool[np.ndarray, "prompts time"]]:
    """Token and mask arrays of prompts, padded on the left to a common length of a few possible ones."""
    if not prompts or not all(map(len, prompts)):
        raise InputError("a prompt is empty", mend="give every prompt at least one token")
    length = length_bin(max(map(len, prompts)))
    tokens = np.full((len(prompts), length), pad_token, np.int32)
    mask = np.zeros((len(prompts), length), bool)
    for row, prompt in enumerate(prompts):
        tokens[row, length - len(prompt) :] = prompt
        mask[row, length - len(prompt) :] = True
    return tokens, mask


def length_bin(length: int) -> int:
    """The least of 8, 12, 16, 24, 32, 48, ... that holds `length`: few compilations, and a third of padding at most."""
    power = 1 << max(length - 1, 7).bit_length()
    return power * 3 // 4 if length <= power * 3 // 4 and power > 8 else power


@partial(jax.jit, static_argnames=("graph", "sampling"))
def sample(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    prompts: Int[Array, "prompts prompt_time"],
    mask: Bool[Array, "prompts prompt_time"],
    keys: Key[Array, " rows"],
    sampling: Sampling,
) -> Samples:
    """As `generate`, from a split model and from prompts that `pad_prompts` has padded."""
    dtype = nnx.merge(graph, state).dtype
    # Cast once: inside the loop every token would read the parameters in their stored type.
    model = nnx.merge(graph, jax.tree.map(lambda x: x.astype(dtype), state))
    batch, prompt_time = prompts.shape
    rows, time = batch * sampling.num_generations, sampling.max_new_tokens

    cache = Cache.create(model.config, batch=batch, slots=prompt_time, dtype=dtype)
    positions = jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0)
    hidden, cache = model.extend(prompts, mask, positions, cache)
    cache = cache.fork(sampling.num_generations, extra_slots=time - 1)
    hidden = jnp.repeat(hidden[:, -1], sampling.num_generations, axis=0)
    lengths = jnp.repeat(mask.sum(axis=1), sampling.num_generations)
    stops = jnp.asarray(sampling.stop_tokens, jnp.int32)

    def draw(hidden: Array, running: Array, step: Array, samples: Samples) -> tuple[Samples, Array]:
        token, logp, entropy = sample_token(model.logits(hidden), _fold(keys, step), sampling)
        drawn = Samples(jnp.where(running, token, sampling.pad_token), running, logp * running, entropy * running)
        samples = Samples(*(x.at[:, step].set(new) for x, new in zip(samples, drawn, strict=True)))
        return samples, running & ~(token[:, None] == stops).any(axis=1)

    def advance(carry: tuple[Samples, Cache, Array, Array]) -> tuple[Samples, Cache, Array, Array]:
        samples, cache, running, step = carry
        last = jax.lax.dynamic_slice_in_dim(samples.tokens, step - 1, 1, axis=1)
        at = (lengths + step - 1)[:, None]
        hidden, cache = model.extend(last, running[:, None], at, cache)
        samples, running = draw(hidden[:, 0], running, step, samples)
        return samples, cache, running, step + 1

    empty = Samples(
        tokens=jnp.full((rows, time), sampling.pad_token, jnp.int32),
        mask=jnp.zeros((rows, time), bool),
        logp=jnp.zeros((rows, time)),
        entropy=jnp.zeros((rows, time)),
    )
    samples, running = draw(hidden, jnp.ones(rows, bool), jnp.int32(0), empty)
    # The first token comes from the prefill, so the loop runs one time less than there are tokens.
    samples, *_ = jax.lax.while_loop(
        lambda carry: carry[2].any() & (carry[3] < time), advance, (samples, cache, running, jnp.int32(1))
    )
    return samples


def sample_token(
    logits: Float[Array, "rows vocabulary"], keys: Key[Array, " rows"], sampling: Sampling
) -> tuple[Int[Array, " rows"], Float[Array, " rows"], Float[Array, " rows"]]:
    """One token a row, its log-probability and the entropy, as `Samples` defines them.

    top-k before top-p, as in transformers: top-p counts the probability that top-k leaves.
    """
    scores = (logits - logits.max(axis=1, keepdims=True)) / (sampling.temperature or 1.0)
    blocks = _blocks(scores)
    weight = jnp.exp(blocks)
    mass = weight.sum(axis=2)
    total = mass.sum(axis=1)
    # Where the weight is 0 the score may be -inf, and their product NaN.
    entropy = jnp.log(total) - jnp.where(weight > 0, weight * blocks, 0.0).sum(axis=(1, 2)) / total
    if sampling.temperature == 0:
        return jnp.argmax(logits, axis=1), -jnp.log(total), entropy
    kept = _truncate(scores, sampling)
    if kept is not scores:
        blocks = _blocks(kept)
        mass = jnp.exp(blocks).sum(axis=2)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (2,), jnp.float32))(keys)
    token, score = _draw(blocks, mass, uniform)
    # A model that is NaN everywhere still gets a token of the vocabulary, not one of the padding.
    return jnp.minimum(token, logits.shape[1] - 1), score - jnp.log(mass.sum(axis=1)), entropy


def _blocks(scores: Float[Array, "rows vocabulary"]) -> Float[Array, "rows blocks width"]:
    rows, size = scores.shape
    width = min(size, _BLOCK)
    return jnp.pad(scores, [(0, 0), (0, -size % width)], constant_values=-jnp.inf).reshape(rows, -1, width)


def _draw(
    blocks: Float[Array, "rows blocks width"], mass: Float[Array, "rows blocks"], uniform: Float[Array, "rows 2"]
) -> tuple[Int[Array, " rows"], Float[Array, " rows"]]:
    """The token that two uniform numbers of [0, 1) name, and its score: a block by its mass, then a token of the block.

    mass: the sum of exp(score) in each block.
    The second number is not the rest of the first, whose digits would be used up where a block has little mass.
    """
    block = _invert(mass, uniform[:, 0])
    scores = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    place = _invert(jnp.exp(scores - scores.max(axis=1, keepdims=True)), uniform[:, 1])
    return block * blocks.shape[2] + place, jnp.take_along_axis(scores, place[:, None], axis=1)[:, 0]


def _invert(weight: Float[Array, "rows choices"], uniform: Float[Array, " rows"]) -> Int[Array, " rows"]:
    """The first choice whose cumulative weight exceeds `uniform` of the whole; never one of weight 0."""
    below = jnp.cumsum(weight, axis=1)
    # A parallel sum need not grow with its terms, to the last bit: hence the maximum, and a look at the weight itself.
    chosen = (below > uniform[:, None] * below.max(axis=1, keepdims=True)) & (weight > 0)
    last = weight.shape[1] - 1 - jnp.argmax(weight[:, ::-1] > 0, axis=1)
    return jnp.where(chosen.any(axis=1), jnp.argmax(chosen, axis=1), last)


def _truncate(scores: Float[Array, "rows vocabulary"], sampling: Sampling) -> Float[Array, "rows vocabulary"]:
    """Keep the `top_k` most probable tokens, and of these the fewest that hold `top_p` of the probability."""
    top_k = min(sampling.top_k or scores.shape[1], scores.shape[1])
    if top_k == scores.shape[1] and sampling.top_p == 1:
        return scores
    best, _ = jax.lax.top_k(scores, top_k)
    threshold = best[:, -1:]
    if sampling.top_p < 1:
        probability = jax.nn.softmax(best)
        before = jnp.cumsum(probability, axis=1) - probability
        threshold = jnp.min(jnp.where(before < sampling.top_p, best, jnp.inf), axis=1, keepdims=True)
    return jnp.where(scores >= threshold, scores, -jnp.inf)


def _fold(keys: Key[Array, " rows"], step: Int[Array, ""]) -> Key[Array, " rows"]:
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, step)
