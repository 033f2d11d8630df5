"""The choice of an attention kernel; that of a GPU is pretended, since tests run without one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_exps.models import attention


@pytest.fixture(autouse=True)
def forgotten():
    attention.fused.cache_clear()
    yield
    attention.fused.cache_clear()


def test_the_plain_form_is_taken_on_a_cpu_and_is_softmax_attention():
    keys = jax.random.split(jax.random.key(0), 3)
    query, key, value = (jax.random.normal(k, (2, 5, heads, 8)) for k, heads in zip(keys, (4, 2, 2), strict=True))
    mask = jnp.tril(jnp.ones((5, 5), bool))[None, None] & jnp.ones((2, 1, 1, 1), bool)
    found = attention.attend_within(query, key, value, mask)
    scores = np.einsum("bthd,bshd->bhts", query, np.repeat(key, 2, axis=2)) / np.sqrt(8)
    weights = np.exp(np.where(mask, scores, -np.inf))
    weights /= weights.sum(axis=-1, keepdims=True)
    expected = np.einsum("bhts,bshd->bthd", weights, np.repeat(value, 2, axis=2))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert attention.fused("cpu", "bfloat16", 64) is None


def test_cudnn_is_taken_where_it_compiles(monkeypatch):
    tried = []
    monkeypatch.setattr(attention, "_compile", lambda *what: tried.append(what))
    assert attention.fused("gpu", "bfloat16", 64) == "cudnn"
    assert attention.fused("gpu", "bfloat16", 64) == "cudnn"
    assert tried == [("bfloat16", 64)]
    for unfit in [("gpu", "float32", 64), ("gpu", "bfloat16", 12), ("gpu", "bfloat16", 256), ("tpu", "bfloat16", 64)]:
        assert attention.fused(*unfit) is None
    assert len(tried) == 1


def test_a_device_without_the_kernel_falls_back():
    """Not pretended: here cuDNN really is missing."""
    if jax.default_backend() == "gpu":
        pytest.skip("needs a machine without cuDNN")
    assert attention.fused("gpu", "bfloat16", 64) is None


@pytest.mark.parametrize(("time", "slots"), [(5, 9), (4, 7), (1, 1), (6, 8)])
def test_a_kernel_gets_even_lengths_and_what_is_added_changes_nothing(monkeypatch, time, slots):
    """cuDNN's backward pass refuses odd ones; pretended by the plain form, which takes any."""
    keys = jax.random.split(jax.random.key(1), 3)
    query = jax.random.normal(keys[0], (2, time, 4, 8))
    key, value = (jax.random.normal(k, (2, slots, 2, 8)) for k in keys[1:])
    mask = jax.random.bernoulli(keys[0], 0.5, (2, 1, time, slots)).at[..., 0].set(True)

    def total(query, key, value):
        return jnp.sin(attention.attend_within(query, key, value, mask)).sum()

    expected = jax.value_and_grad(total, argnums=(0, 1, 2))(query, key, value)
    seen, plain = [], jax.nn.dot_product_attention

    def even(query, key, value, **options):
        seen.append((query.shape[1], key.shape[1], value.shape[1], *options["mask"].shape[2:]))
        return plain(query, key, value, mask=options["mask"])

    monkeypatch.setattr(attention, "fused", lambda *_: "cudnn")
    monkeypatch.setattr(jax.nn, "dot_product_attention", even)
    found = jax.value_and_grad(total, argnums=(0, 1, 2))(query, key, value)
    assert all(length % 2 == 0 for length in seen[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)
