"""Adapters: the model begins as it was, only they learn, and what is saved answers as the model with them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llm_exps.models import lora
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.huggingface import load
from llm_exps.options import AdapterOptions, RunOptions, changed_flags
from rino import cli

TOKENS = jnp.array([[1, 5, 2, 7], [3, 3, 0, 6]])
# The shapes of test_experiment.py, whose compiled programs these runs find.
SMALL = (
    *("--num-prompts", "4", "--num-generations", "4", "--max-completion-length", "16"),
    *("--eval-prompts", "8", "--eval-samples", "4"),
)


@pytest.fixture
def model():
    config = DecoderConfig(
        architecture="qwen2",
        vocabulary_size=11,
        hidden_size=16,
        intermediate_size=24,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        tie_embeddings=True,
        max_positions=32,
        eos_token_ids=(0,),
        pad_token_id=0,
        initializer_range=0.3,
    )
    return Decoder(config, rngs=nnx.Rngs(0))


def logits(model):
    return np.asarray(model.logits(model(TOKENS)))


def disturb(model):
    """Give every B other values than 0."""
    for index, (_, value) in enumerate(nnx.to_flat_state(nnx.state(model, nnx.LoRAParam))):
        value[...] = jax.random.normal(jax.random.key(index), value.shape) / 4
    graph, adapters, rest = nnx.split(model, nnx.LoRAParam, ...)
    return nnx.merge(graph, adapters, rest)


def test_adapters_change_nothing_at_first(model):
    before = logits(model)
    lora.add(model, rank=3, alpha=8.0)
    np.testing.assert_array_equal(logits(model), before)
    assert len(nnx.to_flat_state(nnx.state(model, nnx.LoRAParam))) == 2 * 2 * len(lora.NAMES)


def test_only_the_named_matrices_get_one(model):
    lora.add(model, rank=3, alpha=8.0, targets=("v_proj",))
    assert {path[-2] for path, _ in nnx.to_flat_state(nnx.state(model, nnx.LoRAParam))} == {"v_proj"}


def test_an_adapter_is_alpha_over_rank_times_its_product(model):
    linear = model.layers[0].mlp.up_proj
    kernel = np.asarray(linear.kernel[...])
    adapter = lora.LoRA(linear, rank=3, alpha=12.0, rngs=nnx.Rngs(1))
    adapter.lora_b[...] = jnp.ones((3, 24))
    x = np.linspace(-1, 1, 16)
    expected = x @ kernel + 4 * (x @ np.asarray(adapter.lora_a[...])) @ np.ones((3, 24))
    np.testing.assert_allclose(np.asarray(adapter(jnp.asarray(x, jnp.float32))), expected, atol=1e-5)


def test_merging_keeps_the_answers(model):
    before = logits(model)
    lora.add(model, rank=3, alpha=8.0)
    changed = disturb(model)
    answers = logits(changed)
    assert np.abs(answers - before).max() > 0.1
    lora.merge(changed)
    np.testing.assert_allclose(logits(changed), answers, atol=1e-4)
    assert not nnx.to_flat_state(nnx.state(changed, nnx.LoRAParam))


def test_a_comparison_line_carries_the_adapter():
    options = RunOptions(adapter=AdapterOptions(lora_r=2, lora_target_modules=("q_proj", "v_proj")))
    assert changed_flags(options) == ["--lora-r", "2", "--lora-target-modules", "q_proj", "v_proj"]


def test_a_run_trains_adapters_alone_and_saves_an_ordinary_model(tmp_path):
    """Every matrix changed by a matrix of the adapters' rank, nothing else did, and the probe still says 0."""
    out, result = tmp_path / "run", tmp_path / "result.json"
    flags = [*SMALL, "--steps", "2", "--learning-rate", "1e-2", "--lora-r", "2", "--probe-every", "1"]
    assert cli.run(["train", *flags, "--out", str(out), "--json", str(result)]) == 0
    before, _ = load("llm_exps/default_model")
    after, _ = load(out / "model")
    moved = {}
    old = nnx.to_flat_state(nnx.state(before, nnx.Param))
    new = nnx.to_flat_state(nnx.state(after, nnx.Param))
    for (path, left), (_, right) in zip(old, new, strict=True):
        change = np.asarray(right[...] - left[...])
        moved[path] = np.linalg.matrix_rank(change, tol=1e-5) if path[-1] == "kernel" else np.abs(change).max()
    assert {value for path, value in moved.items() if path[-1] == "kernel"} == {2}
    assert {value for path, value in moved.items() if path[-1] != "kernel"} == {0}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().split("\n") if line]
    assert max(line["equivalence/relative_error"] for line in lines) < 1e-5
