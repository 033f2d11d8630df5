import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_exps import sampling as module
from llm_exps.models.decoder import Decoder, DecoderConfig
from llm_exps.sampling import Samples, Sampling, generate, length_bin, pad_prompts, row_keys, sample, sample_token
from rino_base.messages import InputError

CONFIG = DecoderConfig(
    architecture="qwen3",
    vocabulary_size=17,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    tie_embeddings=True,
    initializer_range=0.3,
)
SAMPLING = Sampling(max_new_tokens=10, num_generations=3, temperature=0.7, stop_tokens=(1, 2), pad_token=16)
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11], [3, 4]]


@pytest.fixture(scope="module")
def model() -> Decoder:
    return Decoder(CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def keys() -> jax.Array:
    return row_keys(jax.random.key(0), jnp.arange(12))


@pytest.fixture(scope="module")
def samples(model: Decoder, keys: jax.Array) -> Samples:
    return jax.device_get(generate(model, PROMPTS, keys, SAMPLING))


def test_responses_end_at_the_first_stop_token(samples: Samples) -> None:
    ended = 0
    for tokens, mask in zip(samples.tokens, samples.mask, strict=True):
        stops = np.flatnonzero(np.isin(tokens, SAMPLING.stop_tokens))
        length = stops[0] + 1 if stops.size else SAMPLING.max_new_tokens
        ended += bool(stops.size)
        assert mask.tolist() == [True] * length + [False] * (SAMPLING.max_new_tokens - length)
        assert (tokens[length:] == SAMPLING.pad_token).all()
    assert 0 < ended < 12  # both kinds of ending occur
    for values in (samples.logp, samples.entropy):
        assert (values[~samples.mask] == 0).all()


def test_cached_decoding_has_the_uncached_probabilities(model: Decoder, samples: Samples) -> None:
    rows = [PROMPTS[row // 3] + tokens.tolist() for row, tokens in enumerate(samples.tokens)]
    padded = np.zeros((12, 15), int)
    for row, tokens in enumerate(rows):
        padded[row, : len(tokens)] = tokens
    logits = nnx.jit(lambda model, tokens: model.logits(model(tokens)))(model, padded)
    logp = np.asarray(jax.nn.log_softmax(logits / SAMPLING.temperature))
    entropy = -(np.exp(logp) * logp).sum(axis=-1)
    for row, mask in enumerate(samples.mask):
        start, length = len(PROMPTS[row // 3]) - 1, mask.sum()
        at = np.arange(start, start + length)
        np.testing.assert_allclose(samples.logp[row, :length], logp[row, at, samples.tokens[row, :length]], atol=1e-5)
        np.testing.assert_allclose(samples.entropy[row, :length], entropy[row, at], atol=1e-5)


def test_a_row_draws_the_same_whatever_its_batch(model: Decoder, keys: jax.Array, samples: Samples) -> None:
    order = [2, 0]
    rows = np.concatenate([np.arange(3 * prompt, 3 * prompt + 3) for prompt in order])
    others = generate(model, [PROMPTS[prompt] for prompt in order], keys[rows], SAMPLING)
    np.testing.assert_array_equal(others.tokens, samples.tokens[rows])
    assert len({tuple(row) for row in samples.tokens.tolist()}) > 8  # rows differ from each other


def test_greedy_takes_the_most_probable_token(model: Decoder, keys: jax.Array) -> None:
    options = Sampling(max_new_tokens=6, temperature=0.0)
    result = generate(model, [[3, 4, 5]], keys[:1], options)
    tokens = [3, 4, 5]
    forward = nnx.jit(lambda model, tokens: model.logits(model(tokens)))
    for step in range(6):
        logits = forward(model, jnp.asarray([tokens + [0] * (9 - len(tokens))]))[0, len(tokens) - 1]
        tokens.append(int(jnp.argmax(logits)))
        np.testing.assert_allclose(result.logp[0, step], jax.nn.log_softmax(logits).max(), atol=1e-5)
    assert result.tokens[0].tolist() == tokens[3:]


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"top_k": 4}, {"top_p": 0.7}, {"top_k": 6, "top_p": 0.8}]
)
def test_frequencies_agree_with_the_stated_distribution(options: dict) -> None:
    """Pearson's chi-squared at 20,000 draws, with the distribution worked out by hand in numpy."""
    draws, sampling = 20_000, Sampling(max_new_tokens=1, **options)
    logits = np.random.RandomState(1).normal(size=12) * 1.5
    probability = np.exp(logits / sampling.temperature)
    probability /= probability.sum()
    order = np.argsort(-probability)
    kept = order[: sampling.top_k or 12]
    share = probability[kept] / probability[kept].sum()
    kept = kept[: np.searchsorted(np.cumsum(share), sampling.top_p) + 1]
    expected = np.zeros(12)
    expected[kept] = probability[kept] / probability[kept].sum()

    keys = row_keys(jax.random.key(3), jnp.arange(draws))
    rows = jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (draws, 12))
    token, logp, entropy = jax.jit(sample_token, static_argnums=2)(rows, keys, sampling)
    counts = np.bincount(token, minlength=12)
    assert counts[expected == 0].sum() == 0
    cells = expected > 0
    statistic = ((counts - draws * expected)[cells] ** 2 / (draws * expected[cells])).sum()
    assert statistic < cells.sum() - 1 + 5 * np.sqrt(2 * cells.sum())
    np.testing.assert_allclose(logp, np.log(expected[token]), atol=1e-5)
    np.testing.assert_allclose(entropy, -(probability * np.log(probability)).sum(), atol=1e-5)


JITTED = jax.jit(sample_token, static_argnums=2)


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
    token, _, _ = JITTED(
        jnp.broadcast_to(logits, (draws, vocabulary)),
        row_keys(jax.random.key(4), jnp.arange(draws)),
        Sampling(max_new_tokens=1),
    )
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
    token, logp, entropy = JITTED(logits, keys, Sampling(max_new_tokens=1, temperature=temperature))
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
    blocks = np.asarray(module._blocks(jnp.asarray(logits)))
    mass = np.exp(blocks).sum(axis=2)
    token, score = jax.jit(module._draw)(blocks, mass, jnp.full((2, 2), jnp.asarray([first, second])))
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
    options = Sampling(max_new_tokens=1, temperature=0.8)
    together = jax.device_get(JITTED(logits, keys, options))
    for ours, again in zip(together, JITTED(logits, keys, options), strict=True):
        np.testing.assert_array_equal(ours, again)
    for rows in ([3], [11, 0, 5], list(range(15, -1, -1))):
        token, logp, _ = JITTED(logits[rows], keys[np.asarray(rows)], options)
        np.testing.assert_array_equal(token, together[0][rows])
        np.testing.assert_allclose(logp, together[1][rows], atol=1e-6)


def test_prompts_are_prefilled_once_and_the_loop_ends_with_the_last_row(
    keys: jax.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A bias towards one token, which is the stop token, lets every row end after few steps of the many allowed.
    model = Decoder(dataclasses.replace(CONFIG, tie_embeddings=False), rngs=nnx.Rngs(0))
    options = dataclasses.replace(SAMPLING, max_new_tokens=50, stop_tokens=tuple(range(12)))
    shapes, steps = [], []
    extend = Decoder.extend

    def spy(self: Decoder, tokens: jax.Array, *rest: object) -> object:
        shapes.append(tokens.shape)
        jax.debug.callback(lambda: steps.append(1))
        return extend(self, tokens, *rest)

    monkeypatch.setattr(Decoder, "extend", spy)
    result = jax.block_until_ready(generate(model, PROMPTS, keys, options))
    jax.effects_barrier()
    assert shapes[0] == (4, 8)
    assert set(shapes[1:]) == {(12, 1)}
    assert len(steps) == int(result.mask.sum(axis=1).max())
    assert 1 < len(steps) < 20


def test_prompt_lengths_share_compilations(model: Decoder, keys: jax.Array, samples: Samples) -> None:
    before = sample._cache_size()
    for length in (1, 3, 6, 8):
        generate(model, [[3] * length] * 4, keys, SAMPLING)
    assert sample._cache_size() == before


@pytest.mark.parametrize("length", [1, 8, 9, 12, 13, 100, 513])
def test_bins_hold_their_length_with_bounded_padding(length: int) -> None:
    size = length_bin(length)
    assert length <= size <= max(8, 1.5 * length)
    assert len({length_bin(n) for n in range(1, 1025)}) == 15


def test_prompts_are_padded_on_the_left() -> None:
    tokens, mask = pad_prompts([[1, 2], [3]], pad_token=9)
    assert tokens[:, -2:].tolist() == [[1, 2], [9, 3]]
    assert mask.sum(axis=1).tolist() == [2, 1]
    with pytest.raises(InputError, match="empty"):
        pad_prompts([[1], []], pad_token=0)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}, {"num_generations": 0}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Sampling(max_new_tokens=1, **wrong)


def test_the_cache_is_in_memory_once() -> None:
    """The loop updates the cache in place: no copy of it per step, none for another layout."""
    config = dataclasses.replace(CONFIG, num_heads=4, num_kv_heads=2, head_dim=16)
    graph, state = nnx.split(Decoder(config, rngs=nnx.Rngs(0)))
    prompts = jnp.ones((8, 8), jnp.int32), jnp.ones((8, 8), bool)
    options = Sampling(max_new_tokens=256, num_generations=8)
    program = sample.lower(graph, state, *prompts, row_keys(jax.random.key(0), jnp.arange(64)), options).compile()
    slots = 8 + 256 - 1
    cache = 64 * slots * 2 * config.num_layers * config.num_kv_heads * config.head_dim * 4
    assert program.memory_analysis().temp_size_in_bytes < 1.25 * cache
