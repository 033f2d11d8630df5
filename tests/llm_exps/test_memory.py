"""Defaults that follow from the device, and the estimate of memory against what XLA reports of a compiled update."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from llm_exps.config import resolve
from llm_exps.evidence import Evidence, Rollout
from llm_exps.gradient import memory
from llm_exps.learner import Learner
from llm_exps.memory import (
    Device,
    describe,
    row_bytes,
    state_bytes,
    update_bytes,
    with_device_defaults,
    with_micro_batch,
)
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.optimiser import Settings
from llm_exps.options import OptimiserOptions, RunOptions
from llm_exps.update import Weights, lower_update
from mdp_theory.methods.catalogue import get
from mdp_theory.methods.credit import Credit

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
    chosen = resolve(chosen, parameters=494_032_768, context=1536)
    said = describe(chosen, CARD, QWEN, parameters=494_032_768, length=1536)
    assert f"{rows} completions at once" in said
    needed = update_bytes(chosen, QWEN, parameters=494_032_768, length=1536)
    assert f"{needed / 2**30:.3g} GiB, of it" in said
    assert state_bytes(494_032_768) < needed < CARD.memory


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


def analysed(config: DecoderConfig, *, rows: int, time: int, dtype: str, remat: bool, chunk: int):
    """A learner, its weights, and what a gradient from `rows` of twice `time` tokens takes; nothing is computed."""
    graph, params = nnx.split(Decoder.abstract(config, dtype=jnp.dtype(dtype), remat=remat))
    options = OptimiserOptions(learning_rate=1e-3)
    learner = Learner(graph=graph, objective=get("grpo").objective, options=options, temperature=1.0, chunk=chunk)
    whole, part = ((rows, 2 * time), jnp.int32), ((rows, time), jnp.float32)
    fields = [whole, ((rows, 2 * time), bool), part, part, ((rows,), jnp.float32), ((rows,), jnp.int32)]
    rollout = Rollout(*(jax.ShapeDtypeStruct(*field) for field in fields))
    credit, weights = Credit(rollout.mask, rollout.mask), Weights(params, None)
    found = memory(learner.program, learner.objective, weights, rollout, Evidence(None, None), credit)
    return learner, weights, found


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("length", [64, 256])
def test_estimate_bounds_what_xla_reports(length, remat):
    """The growth with the number of rows is what the choice rests on: overstated a little perhaps, not understated."""
    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16}
    config = dataclasses.replace(QWEN, vocabulary_size=64, num_layers=4, **sizes)

    def used(rows):
        _, _, found = analysed(config, rows=rows, time=length // 2, dtype="float32", remat=remat, chunk=64)
        return found.saved + found.scratch

    per_row = (used(24) - used(8)) / 16
    assert per_row <= row_bytes(config, length=length, dtype="float32", remat=remat) <= 2 * per_row


def test_rematerialisation_keeps_less():
    def each(remat):
        return row_bytes(QWEN, length=1536, dtype="bfloat16", remat=remat)

    assert each(True) < each(False) / 4


@pytest.mark.parametrize(("dtype", "remat"), [("float32", False), ("bfloat16", True)])
def test_an_update_needs_what_the_estimate_says_a_parameter(dtype, remat):
    """Both programs of an update as XLA compiles them: next to nothing but what grows with the parameters.

    Weights, moments and gradient are 16 bytes; the optimiser's step takes up to 6 more as scratch.
    """
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_heads": 4, "num_kv_heads": 2, "head_dim": 64}
    config = dataclasses.replace(QWEN, vocabulary_size=512, num_layers=4, **sizes)
    learner, weights, gradient = analysed(config, rows=2, time=8, dtype=dtype, remat=remat, chunk=8)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(weights))
    state = jax.eval_shape(learner.init, weights.params)
    steps = lower_update(Settings.of(learner.options), nnx.Param, state, weights)
    updates = [each.compile().memory_analysis() for each in steps]
    held = sum(update.argument_size_in_bytes for update in updates)
    assert held == pytest.approx(16 * parameters, rel=0.01)
    assert gradient.result == 4 * parameters
    peaks = [
        12 * parameters + sum(gradient),
        held + max(update.temp_size_in_bytes for update in updates),
    ]
    assert 16 * parameters < max(peaks) <= state_bytes(parameters)
