import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import random
from references import make
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from llm_exps.models import huggingface
from llm_exps.models.decoder import Decoder
from llm_exps.models.huggingface import load, load_tokenizer, save, stop_tokens
from llm_exps.sampling import Sampling, generate, row_keys
from rino_base.messages import InputError

WORDS = ["<pad>", "<eos>", "1", "2", "12", "+", "="]


@nnx.jit
def logits(model: Decoder, tokens: jnp.ndarray, mask: jnp.ndarray) -> jnp.ndarray:
    return model.logits(model(tokens, mask)) * mask[..., None]


def greedy(model: Decoder) -> np.ndarray:
    prompts = [row[keep].tolist() for row, keep in zip(*make.prompts(), strict=True)]
    sampling = Sampling(max_new_tokens=make.NEW_TOKENS, temperature=0.0)
    return np.asarray(generate(model, prompts, row_keys(random.key(0), jnp.arange(3)), sampling).tokens)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with a tokenizer of words."""
    path = make.write("qwen2-tied", tmp_path_factory.mktemp("model") / "qwen2")
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<pad>", "<eos>"])
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>", "pad_token": "<pad>"}))
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 1]}))
    return path


@pytest.mark.parametrize("name", make.CASES)
def test_logits_and_greedy_tokens_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    model, _ = load(make.write(name, tmp_path))
    with np.load(make.ANSWERS) as stored:
        expected, tokens = stored[f"{name}/logits"], stored[f"{name}/greedy"]
    np.testing.assert_allclose(logits(model, *map(jnp.asarray, make.prompts())), expected, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(greedy(model), tokens)


@pytest.mark.torch
@pytest.mark.parametrize("name", make.CASES)
def test_transformers_opens_what_is_written_with_identical_logits(name: str, tmp_path: Path) -> None:
    model, _ = load(make.write(name, tmp_path / "in"))
    save(model, tmp_path / "out")
    (logits, tokens), (expected, continuation) = make.answers(tmp_path / "out"), make.answers(tmp_path / "in")
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(tokens, continuation)
    # And the stored answers are those of the version installed.
    with np.load(make.ANSWERS) as stored:
        np.testing.assert_allclose(stored[f"{name}/logits"], expected, atol=2e-5, rtol=0)
        np.testing.assert_array_equal(stored[f"{name}/greedy"], continuation)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_directory_survives_the_way_in_and_out(dtype: str, tmp_path: Path) -> None:
    source = make.write("qwen3-untied-v5", tmp_path / "in")
    model, _ = load(source, param_dtype=dtype)
    save(model, tmp_path / "out", dtype=dtype)
    written = load_file(tmp_path / "out" / "model.safetensors")
    original = make.weights("qwen3-untied-v5")
    assert written.keys() == original.keys()
    for name, array in written.items():
        assert array.dtype == jnp.dtype(dtype)
        np.testing.assert_array_equal(array, original[name].astype(jnp.dtype(dtype)))


def test_shards_are_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "_SHARD_BYTES", 30_000)
    source = make.write("llama-scaled-untied-v5", tmp_path / "in")
    model, _ = load(source)
    save(model, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 2
    assert index["metadata"]["total_size"] == sum(
        array.nbytes for array in make.weights("llama-scaled-untied-v5").values()
    )
    again, _ = load(tmp_path / "out")
    np.testing.assert_array_equal(
        logits(again, *map(jnp.asarray, make.prompts())), logits(model, *map(jnp.asarray, make.prompts()))
    )


def test_rewriting_with_fewer_shards_leaves_no_stale_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = load(make.write("qwen2-tied", tmp_path / "in"))
    with monkeypatch.context() as patch:
        patch.setattr(huggingface, "_SHARD_BYTES", 30_000)
        save(model, tmp_path / "out")
    save(model, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]


def test_companions_travel_along(directory: Path, tmp_path: Path) -> None:
    model, _ = load(directory)
    save(model, tmp_path, companions=directory)
    assert {"tokenizer.json", "tokenizer_config.json", "generation_config.json"} <= {f.name for f in tmp_path.iterdir()}
    save(model, tmp_path, companions=tmp_path)  # in place
    assert load_tokenizer(tmp_path).encode("12 + 2 <eos>") == [4, 5, 3, 1]


def test_the_tokenizer_is_read_as_it_is_written(directory: Path) -> None:
    """AutoTokenizer of transformers 5 makes characters of these words, because the model type is qwen2."""
    tokenizer = load_tokenizer(directory)
    assert tokenizer.encode("12 + 2") == [4, 5, 3]
    assert tokenizer.decode([4, 5, 3]) == "12 + 2"
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 0)


def test_stop_tokens_come_from_both_files(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    change_config(eos_token_id=7)(tmp_path)
    assert stop_tokens(tmp_path) == (1, 5, 7)
    (tmp_path / "generation_config.json").unlink()
    assert stop_tokens(tmp_path) == (7,)


def change_config(**entries: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps(config | entries))

    return change


def change_weights(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        tensors = load_file(directory / "model.safetensors")
        change(tensors)
        save_file(tensors, directory / "model.safetensors")

    return apply


def poison(tensors: dict[str, np.ndarray]) -> None:
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = np.nan


def truncate(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lose_a_shard(directory: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no model directory"),
        (lambda d: (d / "config.json").unlink(), "no config.json"),
        (lambda d: (d / "config.json").write_text("{"), "is not JSON"),
        (change_config(model_type="mamba"), "mamba"),
        (lambda d: (d / "model.safetensors").unlink(), "has no model.safetensors"),
        (lose_a_shard, "has no model-00002-of-00002.safetensors"),
        (truncate, "truncated"),
        (change_weights(lambda t: t.pop("model.norm.weight")), "no tensor model.norm.weight"),
        (change_weights(poison), r"model.layers.1.mlp.up_proj.weight .* NaN"),
        (change_weights(lambda t: t.update(score=np.ones(3, np.float32))), "the first score"),
        (change_weights(lambda t: t.update({"model.norm.weight": np.ones(48, np.int8)})), "type I8"),
        (change_config(intermediate_size=81), r"shape \(80, 48\).* \(81, 48\)|shape \(48, 80\).* \(48, 81\)"),
        (change_config(tie_word_embeddings=False), "no tensor lm_head.weight"),
        (change_config(num_hidden_layers=1), "does not call for"),
    ],
)
def test_damaged_directories_are_refused(
    damage: Callable[[Path], object], message: str, directory: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    damage(copy)
    with pytest.raises(InputError, match=message):
        load(copy)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda d: (d / "tokenizer.json").write_text("{}"), "cannot be read"),
        (change_config(vocab_size=5), "token ids up to 6, and the model has 5 rows"),
    ],
)
def test_damaged_tokenizers_are_refused(
    damage: Callable[[Path], object], message: str, directory: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    damage(copy)
    with pytest.raises(InputError, match=message):
        load_tokenizer(copy)


def test_a_hub_name_without_network_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="hub cannot be reached"):
        load("Qwen/Qwen2.5-0.5B")


def test_a_full_disk_is_refused(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = load(directory)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(InputError, match="disk has"):
        save(model, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
