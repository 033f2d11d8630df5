"""Drawing tokens from logits, in few passes over `[rows, vocabulary]`.

A token is drawn by inverting the distribution in two steps, a block of the vocabulary and then a token of it. Noise on
every logit (Gumbel's) draws from the same distribution, and needs as many random numbers as the vocabulary has tokens.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

_BLOCK = 128
"""Tokens of a block; the published vocabularies are multiples of it, and need no padding."""


def draw(
    logits: Float[Array, "rows vocabulary"],
    keys: Key[Array, " rows"],
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> tuple[Int[Array, " rows"], Float[Array, " rows"], Float[Array, " rows"]]:
    """One token a row from its own key, its log-probability after truncation, and the entropy before, in nats.

    temperature: 0 takes the most probable token, and its probability at temperature 1. top_k: 0 keeps all tokens.
    top-k before top-p, as in transformers: top-p counts the probability that top-k leaves.
    A logit of -inf is never drawn.
    """
    scores = (logits - logits.max(axis=1, keepdims=True)) / (temperature or 1.0)
    blocks = _blocks(scores)
    weight = jnp.exp(blocks)
    mass = weight.sum(axis=2)
    total = mass.sum(axis=1)
    # Where the weight is 0 the score may be -inf, and their product NaN.
    entropy = jnp.log(total) - jnp.where(weight > 0, weight * blocks, 0.0).sum(axis=(1, 2)) / total
    if temperature == 0:
        return jnp.argmax(logits, axis=1), -jnp.log(total), entropy
    kept = _truncate(scores, top_k=top_k, top_p=top_p)
    if kept is not scores:
        blocks = _blocks(kept)
        mass = jnp.exp(blocks).sum(axis=2)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (2,), jnp.float32))(keys)
    token, score = _choose(blocks, mass, uniform)
    # A model that is NaN everywhere still gets a token of the vocabulary, not one of the padding.
    return jnp.minimum(token, logits.shape[1] - 1), score - jnp.log(mass.sum(axis=1)), entropy


def _blocks(scores: Float[Array, "rows vocabulary"]) -> Float[Array, "rows blocks width"]:
    rows, size = scores.shape
    width = min(size, _BLOCK)
    return jnp.pad(scores, [(0, 0), (0, -size % width)], constant_values=-jnp.inf).reshape(rows, -1, width)


def _choose(
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


def _truncate(scores: Float[Array, "rows vocabulary"], *, top_k: int, top_p: float) -> Float[Array, "rows vocabulary"]:
    """Keep the `top_k` most probable tokens, and of these the fewest that hold `top_p` of the probability."""
    top_k = min(top_k or scores.shape[1], scores.shape[1])
    if top_k == scores.shape[1] and top_p == 1:
        return scores
    best, _ = jax.lax.top_k(scores, top_k)
    threshold = best[:, -1:]
    if top_p < 1:
        probability = jax.nn.softmax(best)
        before = jnp.cumsum(probability, axis=1) - probability
        threshold = jnp.min(jnp.where(before < top_p, best, jnp.inf), axis=1, keepdims=True)
    return jnp.where(scores >= threshold, scores, -jnp.inf)
