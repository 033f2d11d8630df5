"""Log-probabilities of completions, without ever holding `[batch, time, vocabulary]`.

The head is applied to a few time steps at once, and its logits are computed again in the backward pass instead of kept:
the memory is that of one chunk. For Qwen2.5's 151,936 tokens, 64 × 1024 positions in float32 would be 39.8 GB. Where
one chunk holds all, nothing is gained by computing it twice, and it is kept.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from llm_exps.models.decoder import Decoder


def token_logprobs(
    model: Decoder,
    hidden: Float[Array, "batch time hidden"],
    targets: Int[Array, "batch time"],
    *,
    temperature: float = 1.0,
    chunk: int = 1024,
) -> tuple[Float[Array, "batch time"], Float[Array, "batch time"]]:
    """Log-probability of each target at a temperature given the hidden state before it, and the entropy there in nats.

    chunk: tokens whose logits are held at once.

    The entropy carries no gradient.
    """
    batch, time = targets.shape
    # Chunks run along time, so that a batch that is split over devices stays split. They are made as equal as can be:
    # the last one is padded.
    chunks = -(-time // max(chunk // batch, 1))
    steps = -(-time // chunks)

    def split(x: Array) -> Array:
        padded = jnp.pad(x, [(0, 0), (0, chunks * steps - time), *[(0, 0)] * (x.ndim - 2)])
        return jnp.moveaxis(padded.reshape(batch, chunks, steps, *x.shape[2:]), 1, 0)

    def score(part: tuple[Array, Array]) -> tuple[Array, Array]:
        hidden, targets = part
        # Tokens in one dimension: XLA is slower where a product runs over two.
        logits = model.logits(hidden.reshape(-1, hidden.shape[-1])) / temperature
        normaliser = jax.nn.logsumexp(logits, axis=-1)
        logp = jnp.take_along_axis(logits, targets.reshape(-1, 1), axis=-1)[..., 0] - normaliser
        fixed = jax.lax.stop_gradient(logits)
        entropy = jax.lax.stop_gradient(normaliser) - jnp.sum(jax.nn.softmax(fixed) * fixed, axis=-1)
        return logp.reshape(targets.shape), entropy.reshape(targets.shape)

    def join(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(batch, -1)[:, :time]

    if chunks == 1:
        return score((hidden, targets))
    logp, entropy = jax.lax.map(jax.checkpoint(score), (split(hidden), split(targets)))
    return join(logp), join(entropy)
