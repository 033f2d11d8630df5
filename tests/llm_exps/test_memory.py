"""Defaults that follow from the device, and the estimate of memory against what XLA reports of a compiled update."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from llm_exps.logprobs import token_logprobs
from llm_exps.memory import Device, describe, row_bytes, with_device_defaults, with_micro_batch
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.options import OptimiserOptions, RunOptions

QWEN = DecoderConfig.from_huggingface(
    {
        "model_type": "qwen2",
        "vocab_size": 151_936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
    }
)
CARD = Device("gpu", 80 * 2**30)


def test_a_cpu_changes_nothing():
    device = Device("cpu", None)
    options = with_device_defaults(RunOptions(), device)
    assert (options.dtype, options.remat) == ("float32", False)
    assert with_micro_batch(options, QWEN, device, parameters=1, length=64).optimiser.micro_batch_size == 0


def test_an_accelerator_takes_bfloat16_rematerialisation_and_what_fits():
    options = with_device_defaults(RunOptions(), CARD)
    assert (options.dtype, options.remat) == ("bfloat16", True)
    chosen = with_micro_batch(options, QWEN, CARD, parameters=494_032_768, length=1024 + 512)
    rows = chosen.optimiser.micro_batch_size
    assert 256 % rows == 0
    assert 1 <= rows < 256
    assert f"{rows} completions at once" in describe(chosen, CARD)


def test_what_the_user_gives_stays():
    given = RunOptions(dtype="float32", remat=False, optimiser=OptimiserOptions(micro_batch_size=64))
    options = with_micro_batch(with_device_defaults(given, CARD), QWEN, CARD, parameters=1, length=64)
    assert options == given


def test_less_memory_means_fewer_rows_down_to_one():
    options = with_device_defaults(RunOptions(), CARD)
    rows = [
        with_micro_batch(
            options, QWEN, dataclasses.replace(CARD, memory=gib * 2**30), parameters=494_032_768, length=1536
        ).optimiser.micro_batch_size
        for gib in (141, 80, 40, 16, 8)
    ]
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] == 1
    assert rows[0] > rows[2]


@pytest.mark.parametrize("length", [64, 256])
def test_estimate_bounds_what_xla_reports(length):
    """The growth with the number of rows is what the choice rests on; it may be overstated a little, not understated.

    Without rematerialisation alone: XLA saves nothing by it on a CPU unless the layers are scanned.
    """
    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16}
    config = dataclasses.replace(QWEN, vocabulary_size=64, num_layers=4, **sizes)
    graph, state = nnx.split(Decoder(config, rngs=nnx.Rngs(0)))

    def loss(state, tokens):
        model = nnx.merge(graph, state)
        hidden = model(tokens, segments=jnp.ones_like(tokens, dtype=bool))[:, :-1]
        return token_logprobs(model, hidden, tokens[:, 1:], chunk=64)[0].sum()

    def used(rows):
        tokens = jax.ShapeDtypeStruct((rows, length), jnp.int32)
        return jax.jit(jax.grad(loss)).lower(state, tokens).compile().memory_analysis().temp_size_in_bytes

    per_row = (used(24) - used(8)) / 16
    assert per_row <= row_bytes(config, length=length, dtype="float32", remat=False) <= 2 * per_row


def test_rematerialisation_keeps_less():
    def each(remat):
        return row_bytes(QWEN, length=1536, dtype="bfloat16", remat=remat)

    assert each(True) < each(False) / 4
