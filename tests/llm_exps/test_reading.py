"""The model as sampling reads it: turned matrices give what the others give."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llm_exps.models import lora
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.linear import multiply_turned
from llm_exps.models.reading import Reading

CONFIG = DecoderConfig(
    architecture="qwen2",
    vocabulary_size=17,
    hidden_size=12,
    intermediate_size=20,
    num_layers=2,
    num_heads=3,
    num_kv_heads=1,
    head_dim=4,
    initializer_range=0.3,
)
TOKENS = jax.random.randint(jax.random.key(0), (2, 6), 0, 17)


def test_a_turned_product_is_the_product():
    x, weight = jax.random.normal(jax.random.key(1), (3, 5)), jax.random.normal(jax.random.key(2), (4, 5))
    np.testing.assert_allclose(jax.jit(multiply_turned)(x, weight), x @ weight.T, atol=1e-6)


def logits(model: Decoder) -> jax.Array:
    return model.logits(model(TOKENS).reshape(-1, CONFIG.hidden_size))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_model_is_read_as_it_is(tied, adapters, dtype):
    model = Decoder(dataclasses.replace(CONFIG, tie_embeddings=tied), dtype=dtype, rngs=nnx.Rngs(0))
    if adapters:
        lora.add(model, rank=2, alpha=4.0)
        for adapter in (layer.mlp.up_proj for layer in model.layers):
            adapter.lora_b[...] = jax.random.normal(jax.random.key(3), adapter.lora_b[...].shape)
    graph, state = nnx.split(model)
    reading = Reading.of(graph, state)
    assert {leaf.dtype for leaf in jax.tree.leaves(reading.state)} == {jnp.dtype(dtype)}
    found = jax.jit(lambda reading: logits(reading.model()))(reading)
    np.testing.assert_allclose(found, logits(model), atol=1e-5 if dtype == jnp.float32 else 0.1)
    # The model itself stays as it was.
    assert nnx.split(model)[0] == graph


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="matrices are turned on a CPU")
def test_only_matrices_are_copied():
    graph, state = nnx.split(Decoder(CONFIG, rngs=nnx.Rngs(0)))
    reading = Reading.of(graph, state)
    assert reading.turned
    before, after = nnx.to_flat_state(state), nnx.to_flat_state(reading.state)
    for (path, old), (_, new) in zip(before, after, strict=True):
        turned = path[-1] == "kernel"
        assert new[...].shape == (old[...].shape[::-1] if turned else old[...].shape)
        same = new[...].unsafe_buffer_pointer() == old[...].unsafe_buffer_pointer()
        assert same != turned, path
