"""From a GGUF file of the Llama architecture to a Hugging Face directory, without torch.

llama.cpp stores q and k with the two halves of each head interleaved, because its rotary embedding turns neighbouring
pairs; here they are put back. Quantised weights are expanded to the float32 values that they stand for.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from llm_exps.models.config import DecoderConfig
from llm_exps.models.huggingface import ParameterPath, assemble, save
from rino_base.files import write_json
from rino_base.messages import InputError

_MODULES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_CONTROL = 3  # llama.cpp's token type for tokens that mark structure and are no text


def convert(file: Path, directory: Path) -> DecoderConfig:
    """Write the model and the tokenizer of a GGUF file as a Hugging Face directory.

    Raises: InputError for a file that is no GGUF, of another architecture than Llama, or with another tokenizer than
        SmolLM's; and when the `gguf` package is missing or the disk is full.
    """
    try:
        import gguf
    except ImportError:
        raise InputError("reading GGUF needs the package gguf", mend="pip install gguf") from None
    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, OSError, IndexError) as error:
        raise InputError(f"{file} cannot be read as GGUF ({error})", mend="download the file again") from error

    fields = {name: field.contents() for name, field in reader.fields.items()}
    architecture, splitting = fields.get("general.architecture"), fields.get("tokenizer.ggml.pre")
    if architecture != "llama" or splitting != "smollm":
        raise InputError(
            f"{file} has architecture {architecture!r} and tokenizer {splitting!r}, not 'llama' and 'smollm'",
            mend="import SmolLM2, or start from the Hugging Face directory of your model",
        )
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = _config(fields, tied="output.weight" not in tensors)

    def read(path: ParameterPath, shape: tuple[int, ...]) -> jax.Array:
        name = _tensor_name(path)
        if name not in tensors:
            raise InputError(f"{file} has no tensor {name}", mend="download the file again")
        array = gguf.quants.dequantize(tensors[name].data, tensors[name].tensor_type)
        if path[-2] in ("q_proj", "k_proj"):
            array = _halves_from_pairs(array, config.head_dim)
        return jnp.asarray(array.T if path[-1] == "kernel" else array)

    model = assemble(config, read)
    directory.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(fields, directory)
    save(model, directory)
    return config


def _config(fields: dict[str, Any], *, tied: bool) -> DecoderConfig:
    return DecoderConfig(
        architecture="llama",
        vocabulary_size=fields["llama.vocab_size"],
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_layers=fields["llama.block_count"],
        num_heads=fields["llama.attention.head_count"],
        num_kv_heads=fields["llama.attention.head_count_kv"],
        head_dim=fields["llama.rope.dimension_count"],
        rope_theta=float(fields["llama.rope.freq_base"]),
        # Stored as float32: 9.99999e-06 stands for 1e-5.
        norm_eps=float(np.format_float_positional(np.float32(fields["llama.attention.layer_norm_rms_epsilon"]))),
        tie_embeddings=tied,
        max_positions=fields["llama.context_length"],
        bos_token_id=fields["tokenizer.ggml.bos_token_id"],
        eos_token_ids=(fields["tokenizer.ggml.eos_token_id"],),
        pad_token_id=fields["tokenizer.ggml.padding_token_id"],
    )


def _tensor_name(path: ParameterPath) -> str:
    if path[0] != "layers":
        return {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}[path[0]] + ".weight"
    _, layer, *module, _ = path
    return f"blk.{layer}.{_MODULES['.'.join(module)]}.weight"


def _halves_from_pairs(array: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows (0, h/2, 1, h/2 + 1, ...) of each head back to (0, 1, ..., h - 1)."""
    return array.reshape(-1, head_dim // 2, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)


def _write_tokenizer(fields: dict[str, Any], directory: Path) -> None:
    vocabulary = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(vocabulary)}, merges))
    # "smollm" in llama.cpp: every digit alone, then GPT-2's rule.
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(vocabulary, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(directory / "tokenizer.json"))
    named = {
        name: vocabulary[fields[f"tokenizer.ggml.{entry}_token_id"]]
        for name, entry in {
            "bos_token": "bos",
            "eos_token": "eos",
            "pad_token": "padding",
            "unk_token": "unknown",
        }.items()
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": fields["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
    }
    write_json(directory / "tokenizer_config.json", settings | named)
