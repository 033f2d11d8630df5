"""Small random models in every switch, and what transformers computes with them.

The weights are functions of the case's name, so only transformers' answers are stored. To make them again, with torch:

    python tests/llm_exps/references/make.py
"""

import json
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ANSWERS = Path(__file__).with_name("transformers.npz")
NEW_TOKENS = 12

_SIZES = {
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 64,
    "eos_token_id": None,
    "bos_token_id": None,
}
_LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}

# Entries of config.json, in the published form or in that of transformers 5.
CASES = {
    "qwen2-tied": {"model_type": "qwen2", "tie_word_embeddings": True, "rope_theta": 1e6},
    "qwen2-untied-mha": {
        "model_type": "qwen2",
        "tie_word_embeddings": False,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-2,
        "rope_theta": 1e4,
    },
    "qwen2-mqa-v5": {
        "model_type": "qwen2",
        "tie_word_embeddings": True,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e3},
    },
    "qwen3-tied": {"model_type": "qwen3", "tie_word_embeddings": True, "head_dim": 16, "rope_theta": 1e6},
    "qwen3-untied-v5": {
        "model_type": "qwen3",
        "tie_word_embeddings": False,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 12,
        "rms_norm_eps": 1e-3,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    },
    "llama-tied": {"model_type": "llama", "tie_word_embeddings": True, "rope_theta": 1e5, "num_attention_heads": 3,
                   "num_key_value_heads": 1},
    "llama-scaled": {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "rope_theta": 5e5,
        "rope_scaling": {"rope_type": "llama3", **_LLAMA3},
    },
    "llama-scaled-untied-v5": {
        "model_type": "llama",
        "tie_word_embeddings": False,
        "head_dim": 20,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, **_LLAMA3},
    },
}  # fmt: skip


def config(name: str) -> dict:
    """The `config.json` of a case."""
    classes = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}
    return {**_SIZES, **CASES[name], "architectures": [classes[CASES[name]["model_type"]]]}


def weights(name: str) -> dict[str, np.ndarray]:
    """Weights under their published names, large enough that every part of the model shows in the logits."""
    entries = config(name)
    # numpy promises that this generator's stream never changes.
    random = np.random.RandomState(zlib.crc32(name.encode()))
    hidden, inner, heads = entries["hidden_size"], entries["intermediate_size"], entries["num_attention_heads"]
    head_dim = entries.get("head_dim", hidden // heads)
    queries, keys = heads * head_dim, entries["num_key_value_heads"] * head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (entries["vocab_size"], hidden)}
    for layer in range(entries["num_hidden_layers"]):
        block = {
            "self_attn.q_proj.weight": (queries, hidden),
            "self_attn.k_proj.weight": (keys, hidden),
            "self_attn.v_proj.weight": (keys, hidden),
            "self_attn.o_proj.weight": (hidden, queries),
            "mlp.gate_proj.weight": (inner, hidden),
            "mlp.up_proj.weight": (inner, hidden),
            "mlp.down_proj.weight": (hidden, inner),
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
        }
        if entries["model_type"] == "qwen2":
            block |= {f"self_attn.{part}_proj.bias": (n,) for part, n in zip("qkv", (queries, keys, keys), strict=True)}
        if entries["model_type"] == "qwen3":
            block |= {f"self_attn.{part}_norm.weight": (head_dim,) for part in "qk"}
        shapes |= {f"model.layers.{layer}.{part}": shape for part, shape in block.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not entries["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (entries["vocab_size"], hidden)
    scale = {1: 0.5, 2: 0.25}
    return {
        key: (random.standard_normal(shape) * scale[len(shape)] + ("norm" in key)).astype(np.float32)
        for key, shape in shapes.items()
    }


def write(name: str, directory: Path) -> Path:
    """The case as a Hugging Face directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config(name)))
    save_file(weights(name), directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def prompts() -> tuple[np.ndarray, np.ndarray]:
    """Tokens [3, 24], more than the context that the scaled frequencies start from, and the mask of a left padding."""
    tokens = np.random.RandomState(0).randint(0, _SIZES["vocab_size"], (3, 24))
    return tokens, np.arange(24) >= np.array([0, 5, 21])[:, None]


def answers(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """transformers' logits [3, 24, vocabulary] (zero on padding) and greedy tokens [3, NEW_TOKENS]."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokens, mask = (torch.tensor(x) for x in prompts())
    with torch.no_grad():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = model(tokens, attention_mask=mask.long(), position_ids=positions).logits * mask[..., None]
        greedy = model.generate(
            tokens, attention_mask=mask.long(), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
        )
    return logits.numpy(), greedy[:, tokens.shape[1] :].numpy()


def main() -> None:
    import tempfile

    stored = {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as directory:
            stored[f"{name}/logits"], stored[f"{name}/greedy"] = answers(write(name, Path(directory)))
    np.savez_compressed(ANSWERS, **stored)


if __name__ == "__main__":
    main()
