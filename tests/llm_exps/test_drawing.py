import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_exps import drawing
from llm_exps.sampling import row_keys

DRAW = jax.jit(drawing.draw, static_argnames=("temperature", "top_k", "top_p"))


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"top_k": 4}, {"top_p": 0.7}, {"top_k": 6, "top_p": 0.8}]
)
def test_frequencies_agree_with_the_stated_distribution(options: dict) -> None:
    """Pearson's chi-squared at 20,000 draws, with the distribution worked out by hand in numpy."""
    draws, rules = 20_000, {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options
    logits = np.random.RandomState(1).normal(size=12) * 1.5
    probability = np.exp(logits / rules["temperature"])
    probability /= probability.sum()
    order = np.argsort(-probability)
    kept = order[: rules["top_k"] or 12]
    share = probability[kept] / probability[kept].sum()
    kept = kept[: np.searchsorted(np.cumsum(share), rules["top_p"]) + 1]
    expected = np.zeros(12)
    expected[kept] = probability[kept] / probability[kept].sum()

    keys = row_keys(jax.random.key(3), jnp.arange(draws))
    rows = jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (draws, 12))
    token, logp, entropy = DRAW(rows, keys, **options)
    counts = np.bincount(token, minlength=12)
    assert counts[expected == 0].sum() == 0
    cells = expected > 0
    statistic = ((counts - draws * expected)[cells] ** 2 / (draws * expected[cells])).sum()
    assert statistic < cells.sum() - 1 + 5 * np.sqrt(2 * cells.sum())
    np.testing.assert_allclose(logp, np.log(expected[token]), atol=1e-5)
    np.testing.assert_allclose(entropy, -(probability * np.log(probability)).sum(), atol=1e-5)


def logits_of(rows: int, vocabulary: int, seed: int, *, masked: float = 0.0) -> np.ndarray:
    """Random scores, a share of them -inf, at least one of each row not."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, vocabulary), scale=3.0).astype(np.float32)
    hidden = random.random((rows, vocabulary)) < masked
    hidden[np.arange(rows), random.integers(vocabulary, size=rows)] = False
    return np.where(hidden, -np.inf, logits)


@pytest.mark.parametrize("vocabulary", [2, 127, 128, 129, 1000, 4096])
def test_frequencies_over_blocks_of_the_vocabulary(vocabulary: int) -> None:
    """As above, with a third of the tokens impossible; cells of tokens that are expected 20 times at least."""
    draws = 20_000
    logits = logits_of(1, vocabulary, 5, masked=0.3)
    exact = np.exp(logits[0].astype(float))
    exact /= exact.sum()
    keys = row_keys(jax.random.key(4), jnp.arange(draws))
    token, _, _ = DRAW(jnp.broadcast_to(logits, (draws, vocabulary)), keys)
    counts = np.bincount(token, minlength=vocabulary)
    assert counts[exact == 0].sum() == 0
    order = np.argsort(-exact, kind="stable")
    cell = (np.cumsum(exact[order]) * draws / 20).astype(int)
    observed, expected = np.bincount(cell, counts[order]), np.bincount(cell, draws * exact[order])
    observed, expected = observed[expected > 5], expected[expected > 5]
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert statistic < len(expected) + 5 * np.sqrt(2 * len(expected))


@settings(max_examples=25, deadline=None)
@given(
    # Few pairs: each is a compilation.
    st.sampled_from([(2, 1.0), (17, 1e-3), (129, 0.3), (2048, 10.0), (50_257, 0.7), (151_936, 1.0)]),
    st.sampled_from([0.0, 0.5, 0.999]),
    st.integers(0, 2**32 - 1),
)
def test_every_token_drawn_is_possible_and_has_its_probability(
    shape: tuple[int, float], masked: float, seed: int
) -> None:
    vocabulary, temperature = shape
    logits = logits_of(4, vocabulary, seed, masked=masked)
    keys = row_keys(jax.random.key(seed), jnp.arange(4))
    token, logp, entropy = DRAW(logits, keys, temperature=temperature)
    exact = logits.astype(float) / temperature
    exact -= np.logaddexp.reduce(exact, axis=1, keepdims=True)
    drawn = np.take_along_axis(exact, np.asarray(token)[:, None], axis=1)[:, 0]
    assert np.isfinite(drawn).all()
    # Scores are rounded to 24 bits of the distance from the greatest one.
    np.testing.assert_allclose(logp, drawn, rtol=1e-6, atol=1e-5)
    weighted = np.where(np.exp(exact) > 0, np.exp(exact) * np.where(np.isfinite(exact), exact, 0), 0)
    np.testing.assert_allclose(entropy, -weighted.sum(axis=1), rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([2, 100, 300, 50_257, 151_936]),
    st.sampled_from([0.0, 0.9]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 2.0**-24, 0.5, 1 - 2.0**-23, 1 - 2.0**-24]),
    st.sampled_from([0.0, 2.0**-24, 0.5, 1 - 2.0**-23, 1 - 2.0**-24]),
)
def test_the_ends_of_the_unit_interval_name_the_ends_of_the_support(
    vocabulary: int, masked: float, seed: int, first: float, second: float
) -> None:
    logits = logits_of(2, vocabulary, seed, masked=masked)
    blocks = np.asarray(drawing._blocks(jnp.asarray(logits)))
    mass = np.exp(blocks).sum(axis=2)
    token, score = jax.jit(drawing._choose)(blocks, mass, jnp.full((2, 2), jnp.asarray([first, second])))
    block, place = np.divmod(np.asarray(token), blocks.shape[2])
    for row in range(2):
        assert np.isfinite(logits[row, token[row]])
        assert score[row] == logits[row, token[row]]
        for weight, chosen, at in (
            (mass[row], block[row], first),
            (np.exp(blocks[row, block[row]]), place[row], second),
        ):
            share = np.cumsum(weight, dtype=float) / weight.sum(dtype=float)
            assert share[chosen] - weight[chosen] / weight.sum() <= at + 2e-6
            assert at <= share[chosen] + 2e-6
            if at == 0:
                assert chosen == np.flatnonzero(weight)[0]


def test_a_draw_is_the_same_again_and_in_any_batch() -> None:
    logits, keys = logits_of(16, 1000, 3), row_keys(jax.random.key(8), jnp.arange(16))
    together = jax.device_get(DRAW(logits, keys, temperature=0.8))
    for ours, again in zip(together, DRAW(logits, keys, temperature=0.8), strict=True):
        np.testing.assert_array_equal(ours, again)
    for rows in ([3], [11, 0, 5], list(range(15, -1, -1))):
        token, logp, _ = DRAW(logits[rows], keys[np.asarray(rows)], temperature=0.8)
        np.testing.assert_array_equal(token, together[0][rows])
        np.testing.assert_allclose(logp, together[1][rows], atol=1e-6)
