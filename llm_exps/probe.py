"""The equivalence, measured on the model being trained: two gradients side by side, in total and layer by layer."""

from collections import defaultdict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


@jax.jit
def compare_gradients(left: nnx.State, right: nnx.State) -> dict[str, Float[Array, ""]]:
    """Cosine and relative error |left - right| / |right|: `equivalence/cosine` and `equivalence/relative_error` of the
    whole, and the same under `equivalence/layers.0/…`, `equivalence/embed_tokens/…` of every part.

    Two gradients that both vanish are equal: cosine 1, error 0.
    """
    products: dict[str, Array] = defaultdict(lambda: jnp.zeros(4))
    pairs = zip(nnx.to_flat_state(left), nnx.to_flat_state(right), strict=True)
    for (path, a), (_, b) in pairs:
        a, b = a[...].astype(jnp.float32), b[...].astype(jnp.float32)
        # The difference is summed as such: from the other three it would lose all digits where the two nearly agree.
        sums = jnp.stack([(a * b).sum(), (a * a).sum(), (b * b).sum(), ((a - b) ** 2).sum()])
        part = f"{path[0]}.{path[1]}" if path[0] == "layers" else str(path[0])
        for name in ("", f"{part}/"):
            products[name] += sums
    result = {}
    for name, (dot, left_square, right_square, gap) in products.items():
        norms = jnp.sqrt(left_square * right_square)
        both_vanish = (left_square == 0) & (right_square == 0)
        result[f"equivalence/{name}cosine"] = jnp.where(norms > 0, dot / jnp.where(norms > 0, norms, 1.0), both_vanish)
        size = jnp.where(right_square > 0, right_square, 1.0)
        result[f"equivalence/{name}relative_error"] = jnp.sqrt(gap / size)
    return result
