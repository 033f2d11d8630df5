"""The optimiser against hand computation: updates, decay, clipping, schedules."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from llm_exps.optimiser import Settings, decays, learning_rate
from llm_exps.options import OptimiserOptions
from llm_exps.update import Weights, apply_update, initial_state

RATE = 0.125


def stepped(gradients, **options):
    """Weights after one update a gradient, from ones; a matrix and a norm's scale."""
    settings = Settings.of(OptimiserOptions(**{"max_grad_norm": 0.0, **options}))
    state = initial_state(settings, nnx.Param, weights())
    for gradient in gradients:
        state, _ = apply_update(settings, nnx.Param, state, weights(gradient), RATE)
    return {path[0]: np.asarray(leaf[...]).ravel()[0] for path, leaf in nnx.to_flat_state(state.params)}


def weights(value=1.0):
    return Weights(
        nnx.State({"kernel": nnx.Param(jnp.full((2, 2), value)), "scale": nnx.Param(jnp.full(2, value))}), None
    )


def test_sgd_subtracts_rate_times_gradient():
    assert stepped([2.0, -1.0], optimiser="sgd")["kernel"] == 1 - RATE * 2.0 + RATE * 1.0


def test_momentum_remembers():
    # Trace 2, then 0.5 · 2 − 1 = 0.
    assert stepped([2.0, -1.0], optimiser="momentum", adam_beta1=0.5)["kernel"] == 1 - RATE * 2.0


def test_lion_takes_the_sign():
    assert stepped([1e-3], optimiser="lion")["kernel"] == 1 - RATE


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_the_first_update_of_adam_has_the_size_of_the_rate(scale):
    assert stepped([scale], optimiser="adamw")["kernel"] == pytest.approx(1 - RATE, rel=1e-5)


def test_a_large_epsilon_makes_adam_see_the_scale():
    small, large = (1 - stepped([g], optimiser="adamw", adam_epsilon=1e3)["kernel"] for g in (1.0, 4.0))
    assert large / small == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("name", ["adamw", "sgd", "momentum", "lion", "adafactor"])
def test_matrices_decay_and_norms_do_not(name):
    moved = stepped([0.0], optimiser=name, weight_decay=0.5)
    assert moved["kernel"] == pytest.approx(1 - RATE * 0.5)
    assert moved["scale"] == 1


def test_decay_is_for_arrays_of_two_axes():
    assert decays({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}) == {"kernel": True, "bias": False}


def test_gradients_are_clipped_to_a_norm_and_zero_leaves_them():
    # Six entries of 3 have norm 3√6.
    assert stepped([3.0], optimiser="sgd", max_grad_norm=1.0)["kernel"] == pytest.approx(1 - RATE / np.sqrt(6))
    assert stepped([3.0], optimiser="sgd", max_grad_norm=0.0)["kernel"] == 1 - RATE * 3


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, (2 + np.sqrt(2)) / 4, 0.5, (2 - np.sqrt(2)) / 4]),
    ],
)
def test_schedules_rise_and_fall(schedule, rates):
    options = OptimiserOptions(learning_rate=1.0, warmup_steps=2, lr_scheduler_type=schedule)
    assert [learning_rate(options, update=n, updates=6) for n in range(6)] == pytest.approx(rates)


@given(
    st.sampled_from(["constant", "linear", "cosine"]),
    st.integers(0, 30),
    st.integers(1, 50).flatmap(lambda updates: st.tuples(st.integers(0, updates - 1), st.just(updates))),
)
def test_rates_stay_between_zero_and_the_peak(schedule, warmup, place):
    update, updates = place
    options = OptimiserOptions(learning_rate=0.3, warmup_steps=warmup, lr_scheduler_type=schedule)
    assert 0 < learning_rate(options, update=update, updates=updates) <= 0.3
