import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from references import make

from llm_exps.models.cache import Cache, attend
from llm_exps.models.decoder import Decoder, DecoderConfig, Layer, segment_positions
from rino_base.messages import InputError

CONFIG = DecoderConfig(
    architecture="qwen2",
    vocabulary_size=31,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=4,
    tie_embeddings=True,
    initializer_range=0.3,
)
TOKENS = jnp.asarray(np.random.RandomState(0).randint(0, 31, (2, 9)))


@pytest.fixture(scope="module")
def model() -> Decoder:
    return Decoder(CONFIG, rngs=nnx.Rngs(0))


@nnx.jit
def hidden_states(model: Decoder, tokens: jax.Array, segments: jax.Array) -> jax.Array:
    return model(tokens, segments)


@pytest.fixture(scope="module")
def alone(model: Decoder) -> jax.Array:
    return hidden_states(model, TOKENS, jnp.ones_like(TOKENS))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model: Decoder, alone: jax.Array, side: str) -> None:
    widths = (3, 0) if side == "left" else (0, 3)
    tokens = jnp.pad(TOKENS, [(0, 0), widths], constant_values=7)
    mask = jnp.pad(jnp.ones_like(TOKENS), [(0, 0), widths])
    padded = hidden_states(model, tokens, mask)[:, widths[0] : widths[0] + 9]
    np.testing.assert_allclose(padded, alone, atol=1e-6)


def test_packed_sequences_do_not_see_each_other(model: Decoder, alone: jax.Array) -> None:
    segments = jnp.repeat(jnp.array([[1, 2]]), 9, axis=1)
    packed = hidden_states(model, TOKENS.reshape(1, 18), segments)
    np.testing.assert_allclose(packed.reshape(alone.shape), alone, atol=1e-5)


def test_positions_start_again_in_each_segment() -> None:
    segments = jnp.array([[0, 0, 1, 1, 1, 2, 2], [1, 1, 1, 1, 0, 0, 0]])
    expected = [[0, 1, 0, 1, 2, 0, 1], [0, 1, 2, 3, 0, 1, 2]]
    assert segment_positions(segments).tolist() == expected


def test_a_token_sees_no_later_one(model: Decoder, alone: jax.Array) -> None:
    changed = hidden_states(model, TOKENS.at[:, 5].set(0), jnp.ones_like(TOKENS))
    difference = jnp.abs(changed - alone).max(axis=(0, 2))
    assert difference[:5].max() == 0
    assert difference[5:].min() > 1e-3


def test_cached_hidden_states_equal_uncached(model: Decoder, alone: jax.Array) -> None:
    """A prompt of unequal lengths, padded on the left, then one token at a time."""
    lengths = np.array([5, 3])
    prompt = np.full((2, 6), 7)
    valid = np.zeros((2, 6), bool)
    for row, length in enumerate(lengths):
        prompt[row, 6 - length :], valid[row, 6 - length :] = TOKENS[row, :length], True
    extend = nnx.jit(lambda model, *arguments: model.extend(*arguments))
    cache = Cache.create(CONFIG, batch=2, slots=6, dtype=jnp.float32)
    hidden, cache = extend(model, jnp.asarray(prompt), jnp.asarray(valid), np.maximum(valid.cumsum(1) - 1, 0), cache)
    cache = cache.take(np.repeat([0, 1], 2), filled=5, slots=9)
    np.testing.assert_allclose(hidden[0, 1:], alone[0, :5], atol=1e-5)
    np.testing.assert_allclose(hidden[1, 3:], alone[1, :3], atol=1e-5)
    rows = np.repeat([0, 1], 2)
    for step in range(4):
        at = lengths[rows] + step
        hidden, cache = extend(
            model, TOKENS[rows, at][:, None], jnp.ones((4, 1), bool), jnp.asarray(at)[:, None], cache
        )
        np.testing.assert_allclose(hidden[:, 0], alone[rows, at], atol=1e-5)
    assert int(cache.filled) == 9


def test_grouped_attention_equals_that_to_repeated_keys() -> None:
    random = np.random.RandomState(3)
    query = random.normal(size=(3, 2, 6, 4)).astype(np.float32)
    keys, values = random.normal(size=(2, 3, 2, 9, 4)).astype(np.float32)
    mask = random.random((3, 1, 2, 9)) < 0.7
    mask[..., 0] = True
    repeated = (np.repeat(np.swapaxes(x, 1, 2), 3, axis=2) for x in (keys, values))
    expected = jax.nn.dot_product_attention(query, *repeated, mask=mask)
    np.testing.assert_allclose(attend(query, keys, values, mask), expected, atol=2e-6)


def test_rows_of_a_cache_move_with_their_tokens(model: Decoder, alone: jax.Array) -> None:
    """The second row alone, twice, in a cache of another length: its next token is what it was."""
    positions = jnp.broadcast_to(jnp.arange(5), (2, 5))
    cache = Cache.create(CONFIG, batch=2, slots=8, dtype=jnp.float32)
    _, cache = model.extend(TOKENS[:, :5], jnp.ones((2, 5), bool), positions, cache)
    for filled, slots in ((5, 6), (7, 12)):
        moved = cache.take(np.array([1, 1]), filled=filled, slots=slots)
        assert moved.valid.sum(axis=1).tolist() == [5, 5]
        hidden, _ = model.extend(TOKENS[1:].repeat(2, 0)[:, 5:6], jnp.ones((2, 1), bool), positions[:, :1] + 5, moved)
        np.testing.assert_allclose(hidden[:, 0], alone[jnp.array([1, 1]), 5], atol=1e-5)


@pytest.mark.parametrize("time", [1, 2, 8])
def test_rows_that_follow_shared_prompts_are_whole_rows(model: Decoder, time: int) -> None:
    """Values and gradients; prompts of three lengths, one of which nobody follows, and rows that end early."""
    random = np.random.RandomState(time)
    prompts, tokens = random.randint(0, 17, (3, 5)), random.randint(0, 17, (7, time))
    prompt_valid = np.arange(5) >= np.array([0, 2, 4])[:, None]
    valid = np.arange(time) < random.randint(1, time + 1, (7, 1))
    prompt = np.array([2, 0, 0, 2, 0, 2, 0])
    graph, state = nnx.split(model)
    signs = random.normal(size=(7, time, CONFIG.hidden_size)) * valid[..., None]

    def following(state: nnx.State) -> jax.Array:
        model = nnx.merge(graph, state)
        x = model.through_layers(model.branch(prompts, prompt_valid, prompt, tokens, valid))
        hidden = model.predictors(x, prompt, prompts.shape)
        return (jnp.sin(hidden) * signs).sum()

    def whole(state: nnx.State) -> jax.Array:
        rows = np.concatenate([prompts[prompt], tokens], axis=1)
        hidden = nnx.merge(graph, state)(rows, np.concatenate([prompt_valid[prompt], valid], axis=1))
        return (jnp.sin(hidden[:, -time - 1 : -1]) * signs).sum()

    found, expected = (jax.value_and_grad(function)(state) for function in (following, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), found, expected)


def test_tied_embedding_is_one_array_with_both_gradients(model: Decoder) -> None:
    untied = Decoder(dataclasses.replace(CONFIG, tie_embeddings=False), rngs=nnx.Rngs(0))
    _, state = nnx.split(untied)
    state["lm_head"]["kernel"] = nnx.Param(model.embed_tokens.embedding[...].T)
    for path in ("embed_tokens", "layers", "norm"):
        state[path] = nnx.state(model)[path]
    nnx.update(untied, state)

    @nnx.jit
    @nnx.grad
    def gradient(model: Decoder) -> jax.Array:
        return jnp.sin(model.logits(model(TOKENS))).sum()

    together, apart = gradient(model), gradient(untied)
    assert len(jax.tree.leaves(together)) == len(jax.tree.leaves(apart)) - 1
    parts = apart["embed_tokens"]["embedding"][...] + apart["lm_head"]["kernel"][...].T
    np.testing.assert_allclose(together["embed_tokens"]["embedding"][...], parts, atol=1e-4)


def test_rematerialisation_changes_no_gradient_and_keeps_less() -> None:
    tokens = jnp.zeros((4, 32), jnp.int32)
    gradients, kept = [], []
    for remat in (False, True):
        graph, state = nnx.split(Decoder(CONFIG, remat=remat, rngs=nnx.Rngs(0)))

        def loss(state: nnx.State, graph: nnx.GraphDef = graph) -> jax.Array:
            return (nnx.merge(graph, state)(tokens) ** 2).sum()

        # The pullback is a pytree of what the forward pass keeps for the backward pass.
        pullback = jax.eval_shape(lambda state, loss=loss: jax.vjp(loss, state)[1], state)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(pullback)))
        gradients.append(jax.jit(jax.grad(loss))(state))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *gradients)
    assert kept[1] < 0.5 * kept[0]


def test_compute_and_parameter_types_are_separate() -> None:
    @nnx.jit
    def run(model: Decoder) -> tuple[jax.Array, jax.Array]:
        hidden = model(TOKENS)
        return hidden, model.logits(hidden)

    mixed = Decoder(CONFIG, dtype=jnp.bfloat16, param_dtype=jnp.float32, rngs=nnx.Rngs(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(mixed))} == {jnp.dtype("float32")}
    hidden, logits = run(mixed)
    assert (hidden.dtype, logits.dtype) == (jnp.bfloat16, jnp.float32)
    _, exact = run(Decoder(CONFIG, rngs=nnx.Rngs(0)))
    error = logits - exact
    # bfloat16 has 8 bits: 0.4 % a rounding, some dozen roundings deep.
    assert 1e-4 < jnp.linalg.norm(error) / jnp.linalg.norm(exact) < 0.05


@pytest.mark.parametrize("name", make.CASES)
def test_config_survives_the_way_out_and_back(name: str) -> None:
    config = DecoderConfig.from_huggingface(make.config(name))
    written = json.loads(json.dumps(config.to_huggingface("float32")))
    assert DecoderConfig.from_huggingface(written) == config


def test_config_reads_the_published_qwen() -> None:
    """The entries of the published Qwen2.5-0.5B."""
    published = {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151643,
        "hidden_act": "silu",
        "hidden_size": 896,
        "initializer_range": 0.02,
        "intermediate_size": 4864,
        "max_position_embeddings": 32768,
        "max_window_layers": 24,
        "model_type": "qwen2",
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_mrope": False,
        "use_sliding_window": False,
        "vocab_size": 151936,
    }
    config = DecoderConfig.from_huggingface(published)
    assert (config.head_dim, config.rope_theta, config.eos_token_ids) == (64, 1e6, (151643,))
    model = Decoder.abstract(config)
    # The published count of parameters, 0.49 billion.
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model))) == 494_032_768


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "gemma"}, "gemma"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        ({"num_key_value_heads": 2}, "num_key_value_heads"),
        ({"head_dim": 5}, "head_dim"),
        ({"vocab_size": None}, "vocab_size"),
    ],
)
def test_unsupported_configurations_are_refused(change: dict, named: str) -> None:
    entries = {key: value for key, value in (make.config("llama-tied") | change).items() if value is not None}
    with pytest.raises(InputError, match=named):
        DecoderConfig.from_huggingface(entries)


@pytest.mark.parametrize("tied", [True, False])
def test_the_abstract_model_is_the_model_without_its_numbers(tied: bool) -> None:
    config = dataclasses.replace(CONFIG, num_layers=3, tie_embeddings=tied)
    graph, state = nnx.split(Decoder(config, rngs=nnx.Rngs(0)))
    abstract_graph, abstract = nnx.split(Decoder.abstract(config))
    assert abstract_graph == graph
    assert hash(abstract_graph) == hash(graph), "programs are found by it"
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), abstract) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )


@pytest.mark.parametrize("remat", [True, False])
def test_layers_are_traced_once_however_many_there_are(remat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # A width of its own, so that no other test has traced the layer before.
    model = Decoder(dataclasses.replace(CONFIG, num_layers=5, intermediate_size=40), remat=remat, rngs=nnx.Rngs(0))
    graph, state = nnx.split(model)
    traced, call = [], Layer.__call__
    monkeypatch.setattr(Layer, "__call__", lambda self, *arguments: traced.append(1) or call(self, *arguments))
    jax.jit(jax.grad(lambda state: nnx.merge(graph, state)(TOKENS).sum())).lower(state)
    assert len(traced) == 1
