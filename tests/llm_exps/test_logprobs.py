import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from whole_rows import completion_logprobs

from llm_exps.models.decoder import Decoder, DecoderConfig

QWEN_VOCABULARY = 151_936
BATCH, PROMPT, TIME, TEMPERATURE = 4, 3, 21, 0.7


def build(vocabulary: int, *, tie: bool = True) -> tuple[nnx.GraphDef, nnx.State]:
    config = DecoderConfig(
        architecture="qwen2",
        vocabulary_size=vocabulary,
        hidden_size=8,
        intermediate_size=8,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=4,
        tie_embeddings=tie,
        initializer_range=0.5,
    )
    return nnx.split(Decoder(config, rngs=nnx.Rngs(0)))


def batch(vocabulary: int, *, time: int = TIME) -> tuple[jax.Array, jax.Array]:
    """Prompts of 3, 1, 2 and 3 tokens; completions that end early on two rows."""
    tokens = jax.random.randint(jax.random.key(1), (BATCH, PROMPT + time), 0, vocabulary)
    index = jnp.arange(PROMPT + time)
    start, end = jnp.array([0, 2, 1, 0])[:, None], jnp.array([time, 5, time, 9])[:, None] + PROMPT
    return tokens, (index >= start) & (index < end)


def chunked(state, graph, tokens, valid, *, time: int = TIME, chunk: int):
    logp, entropy = completion_logprobs(
        nnx.merge(graph, state), tokens, valid, time=time, temperature=TEMPERATURE, chunk=chunk
    )
    mask = valid[:, -time:]
    return (jnp.sin(logp) * mask).sum(), (logp * mask, entropy * mask)


def naive(state, graph, tokens, valid, *, time: int = TIME):
    model = nnx.merge(graph, state)
    scores = jax.nn.log_softmax(model.logits(model(tokens, valid))[:, -time - 1 : -1] / TEMPERATURE)
    logp = jnp.take_along_axis(scores, tokens[:, -time:, None], axis=2)[..., 0]
    mask = valid[:, -time:]
    return (jnp.sin(logp) * mask).sum(), (logp * mask, -(jnp.exp(scores) * scores).sum(axis=-1) * mask)


@pytest.mark.parametrize(("tie", "chunk"), [(True, 1), (False, 20), (True, 1024)])
def test_values_and_gradients_are_those_of_the_whole_logits(tie: bool, chunk: int) -> None:
    graph, state = build(37, tie=tie)
    tokens, valid = batch(37)
    expected_gradient, expected = jax.jit(jax.grad(naive, has_aux=True), static_argnums=1)(state, graph, tokens, valid)
    gradient, result = jax.jit(jax.grad(chunked, has_aux=True), static_argnums=1, static_argnames="chunk")(
        state, graph, tokens, valid, chunk=chunk
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), result, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradient, expected_gradient)


def test_padding_columns_of_any_number_change_nothing() -> None:
    graph, state = build(37)
    tokens, valid = batch(37)
    longer = jnp.pad(tokens, [(0, 0), (2, 0)]), jnp.pad(valid, [(0, 0), (2, 0)])
    run = jax.jit(chunked, static_argnums=1, static_argnames="chunk")
    _, expected = run(state, graph, tokens, valid, chunk=16)
    _, result = run(state, graph, *longer, chunk=16)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), result, expected)


def test_qwens_vocabulary_never_meets_batch_and_time() -> None:
    """The compiled programs, forward and backward, stay far below one `[batch, time, vocabulary]` array."""
    graph, state = build(QWEN_VOCABULARY)
    tokens, valid = batch(QWEN_VOCABULARY, time=128)
    whole = BATCH * 128 * QWEN_VOCABULARY * 4

    def memory(function, **options) -> int:
        program = jax.jit(lambda state: function(state, graph, tokens, valid, time=128, **options))
        return program.lower(state).compile().memory_analysis().temp_size_in_bytes

    def backward(function):
        return jax.grad(function, has_aux=True)

    assert memory(chunked, chunk=32) < 0.3 * whole
    assert memory(backward(chunked), chunk=32) < 0.3 * whole
    assert memory(naive) > whole  # the measurement does see such an array
    assert memory(backward(naive)) > 2 * whole
