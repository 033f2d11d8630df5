"""Updates block by block against optax on the whole tree."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from llm_exps import update
from llm_exps.models.decoder import Decoder, DecoderConfig
from llm_exps.optimiser import Settings, decays, transformation
from llm_exps.options import OptimiserOptions
from llm_exps.update import Weights, apply_update, initial_state, lower_update

CONFIG = DecoderConfig(
    architecture="qwen2",
    vocabulary_size=17,
    hidden_size=8,
    intermediate_size=12,
    num_layers=3,
    num_heads=2,
    num_kv_heads=1,
    head_dim=4,
    tie_embeddings=False,
    initializer_range=0.3,
)
RATE = 0.01


@pytest.fixture
def weights() -> Weights:
    params = nnx.state(Decoder(CONFIG, rngs=nnx.Rngs(0)))
    return Weights(params, {"kernel": jnp.ones(8), "bias": jnp.zeros(())})


def gradients(weights: Weights, seed: int) -> Weights:
    leaves, tree = jax.tree.flatten(weights)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(tree, [jnp.asarray(rng.normal(size=leaf.shape), jnp.float32) for leaf in leaves])


@pytest.mark.parametrize("name", ["adamw", "lion", "adafactor", "momentum", "sgd"])
@pytest.mark.parametrize("limit", [0.0, 1.0, 1e3])
def test_blocks_make_the_update_of_the_whole(weights: Weights, name: str, limit: float):
    options = OptimiserOptions(optimiser=name, learning_rate=RATE, weight_decay=0.1, max_grad_norm=limit)
    settings = Settings.of(options)
    whole = optax.partition(
        {
            "policy": optax.chain(
                optax.clip_by_global_norm(limit) if limit else optax.identity(),
                transformation(settings, RATE, "policy"),
            ),
            "critic": optax.adam(options.critic_learning_rate, b1=options.adam_beta1, b2=options.adam_beta2),
        },
        Weights("policy", "critic"),
    )
    expected, moments = jax.tree.map(jnp.copy, weights), whole.init(weights)
    state = initial_state(settings, nnx.Param, weights)
    for seed in range(3):
        slopes = gradients(weights, seed)
        changes, moments = whole.update(slopes, moments, expected)
        expected = optax.apply_updates(expected, changes)
        state, norm = apply_update(settings, nnx.Param, state, slopes, RATE)
        assert float(norm) == pytest.approx(float(optax.tree.norm(slopes.params)), rel=1e-6)
    for found, wanted in zip(jax.tree.leaves(state.weights), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    assert any(decays(leaf) for leaf in jax.tree.leaves(weights)), "there is something that decays"


def test_one_program_serves_all_layers(weights: Weights, monkeypatch: pytest.MonkeyPatch):
    # A number that no other test has, so that nothing has been traced before.
    settings = Settings.of(OptimiserOptions(learning_rate=RATE, adam_beta1=0.77))
    state, traced = initial_state(settings, nnx.Param, weights), []
    monkeypatch.setattr(update, "transformation", lambda *given: traced.append(given[2]) or transformation(*given))
    apply_update(settings, nnx.Param, state, gradients(weights, 0), RATE)
    assert sorted(traced) == ["critic", "policy", "policy"], "the critic, the layers, what is in no layer"


def test_programs_from_shapes_are_one_a_block(weights: Weights):
    settings = Settings.of(OptimiserOptions(learning_rate=RATE))
    shapes = jax.eval_shape(lambda: weights)
    state = jax.eval_shape(lambda: initial_state(settings, nnx.Param, weights))
    held = [
        lowered.compile().memory_analysis().argument_size_in_bytes
        for lowered in lower_update(settings, nnx.Param, state, shapes)
    ]
    # Weights, gradient and two moments; norm, rate and the count of each block besides.
    total = 16 * sum(leaf.size for leaf in jax.tree.leaves(weights))
    assert len(held) == CONFIG.num_layers + 2
    assert total <= sum(held) <= total + 64 * len(held)
