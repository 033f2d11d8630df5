import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llm_exps import sampling as module
from llm_exps.models import decoder
from llm_exps.models.cache import Cache
from llm_exps.models.decoder import Decoder, DecoderConfig
from llm_exps.models.reading import Reading
from llm_exps.sampling import Samples, Sampling, generate, length_bin, pad_prompts, row_keys
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
    # The prefill makes the first token of every row.
    assert len(steps) == int(result.mask.sum(axis=1).max())
    assert 1 < len(steps) < 20


def test_prompt_lengths_share_compilations(model: Decoder, keys: jax.Array, samples: Samples) -> None:
    programs = decoder._through, module._seat, module._decode
    before = [program._cache_size() for program in programs]
    for length in (1, 3, 6, 8):
        generate(model, [[3] * length] * 4, keys, SAMPLING)
    assert [program._cache_size() for program in programs] == before


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
    options = Sampling(max_new_tokens=256, num_generations=8)
    rows, slots = 64, 256
    one = jnp.ones(rows, jnp.int32)
    seated = module._Rows(
        cache=Cache.create(config, batch=rows, slots=slots, dtype=jnp.float32),
        token=one,
        position=one,
        drawn=one,
        limit=one,
        running=one > 0,
        keys=row_keys(jax.random.key(0), jnp.arange(rows)),
    )
    program = module._decode.lower(Reading.of(graph, state), seated, options, jnp.int32(0)).compile()
    memory = program.memory_analysis()
    cache = rows * slots * 2 * config.num_layers * config.num_kv_heads * config.head_dim * 4
    assert memory.alias_size_in_bytes > cache  # what comes out lies where what went in lay
    assert memory.temp_size_in_bytes < 0.25 * cache


QUEUE = [[3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [5, 6], [7] * 16, [8, 9, 3], [10], [11] * 7, [12, 3, 4, 5]]


def bins_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few rows of few tokens pass through many stages."""
    for name, value in {"_LEAST_ROWS": 4, "_LEAST_STEPS": 8, "_LEAST_SLOTS": 16}.items():
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize(
    ("at_once", "temperature"),
    [(None, 1.0), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((5, 0.0), (8, 1.0), (1, 1.0)))],
)
def test_a_row_is_the_same_token_for_token_in_any_queue(
    model: Decoder, at_once: int | None, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts of 1 to 16 tokens, responses of 1 to 40: through stages, against one row at a time in one stage."""
    options = Sampling(max_new_tokens=40, num_generations=2, temperature=temperature, stop_tokens=(1, 2), pad_token=16)
    keys = row_keys(jax.random.key(5), jnp.arange(16))
    alone = dataclasses.replace(options, num_generations=1)
    expected = [generate(model, [QUEUE[row // 2]], keys[row : row + 1], alone) for row in range(16)]
    bins_made_small(monkeypatch)
    stages, decode = [], module._decode
    monkeypatch.setattr(
        module, "_decode", lambda *arguments: (stages.append(arguments[1].cache.valid.shape), decode(*arguments))[1]
    )
    result = generate(model, QUEUE, keys, options, at_once=at_once)
    assert len(set(stages)) > 2  # several sizes
    assert max(rows for rows, _ in stages) == (at_once or 16)
    for row, one in enumerate(expected):
        np.testing.assert_array_equal(result.tokens[row], one.tokens[0])
        np.testing.assert_array_equal(result.mask[row], one.mask[0])
        # Products of other shapes round differently.
        np.testing.assert_allclose(result.logp[row], one.logp[0], atol=1e-5)
        np.testing.assert_allclose(result.entropy[row], one.entropy[0], atol=1e-5)
    again = generate(model, QUEUE, keys, options, at_once=at_once)
    for first, second in zip(result, again, strict=True):
        np.testing.assert_array_equal(first, second)
    lengths = result.mask.sum(axis=1)
    assert lengths.max() > lengths.min() + 10


@pytest.mark.slow
def test_a_long_response_does_not_keep_the_places_of_short_ones(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps × rows decoded, against tokens drawn: without stages the longest row would set the price of all."""
    bins_made_small(monkeypatch)
    work, decode = [], module._decode

    def counted(*arguments: Any) -> Any:
        before = int(arguments[1].cache.filled)
        rows, samples = decode(*arguments)
        work.append((int(rows.cache.filled) - before) * samples.mask.shape[0])
        return rows, samples

    monkeypatch.setattr(module, "_decode", counted)
    options = Sampling(max_new_tokens=60, num_generations=8, stop_tokens=(1, 2, 3), pad_token=16)
    for at_once in (64, 16):
        work.clear()
        keys = row_keys(jax.random.key(6), jnp.arange(64))
        lengths = generate(model, QUEUE, keys, options, at_once=at_once).mask.sum(axis=1)
        assert sum(work) < 2.2 * lengths.sum() < 64 * lengths.max()


@pytest.mark.parametrize("at_once", [None, 3])
def test_a_response_of_its_own_limit_is_the_beginning_of_the_whole_one(
    model: Decoder, keys: jax.Array, samples: Samples, at_once: int | None
) -> None:
    limits = np.array([1, 2, 3, 10, 9, 8, 1, 1, 5, 6, 7, 10])
    cut = generate(model, PROMPTS, keys, SAMPLING, limits=limits, at_once=at_once)
    within = np.arange(10) < limits[:, None]
    np.testing.assert_array_equal(cut.mask, samples.mask & within)
    np.testing.assert_array_equal(cut.tokens, np.where(within, samples.tokens, SAMPLING.pad_token))


def test_prompts_are_prefilled_no_more_at_once_than_rows_are_decoded(
    model: Decoder, keys: jax.Array, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four prompts in parts of three: the second part is filled up, and no row is drawn twice."""
    sizes, prefill = [], module._prefill
    monkeypatch.setattr(module, "_prefill", lambda *rest: (sizes.append(len(rest[2])), prefill(*rest))[1])
    result = generate(model, PROMPTS, keys, SAMPLING, at_once=3)
    assert sizes == [3, 3]
    np.testing.assert_array_equal(result.tokens, samples.tokens)
    np.testing.assert_array_equal(result.mask, samples.mask)
