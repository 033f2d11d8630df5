"""Hugging Face directories in and out: `config.json`, `model.safetensors` or its shards, and the tokenizer's files.

Weights are memory-mapped and read slice by slice, straight to the device that holds each slice, so that the host never
holds more than a few; they are written shard by shard. Nothing is pickled and no code of the directory is run.
"""

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Sharding
from jax.typing import DTypeLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from llm_exps.models.config import DecoderConfig, token_ids
from llm_exps.models.decoder import Decoder
from llm_exps.models.hub import resolve
from rino_base.files import atomic_path, read_object, write_json
from rino_base.messages import InputError, first_line, report_warning
from rino_base.progress import track

# Besides the weights, what makes a directory usable: copied from the source when a model is written back.
_COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_SHARD_BYTES = 4 * 2**30
_BLOCK_VALUES = 2**24  # compared at once
_READERS = 4  # tensors read at once

# Where a parameter is in the model: ("layers", 0, "mlp", "up_proj", "kernel").
ParameterPath = tuple[Any, ...]
Placement = Callable[[str, tuple[int, ...]], Sharding | None]


def load(
    source: str | Path,
    *,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike = jnp.float32,
    remat: bool = False,
    placement: Placement | None = None,
) -> tuple[Decoder, DecoderConfig]:
    """Read a model from a Hugging Face directory or hub name.

    dtype, param_dtype, remat: as in `Decoder`; weights of another type are cast to `param_dtype` as they are read.
    placement: the sharding of a parameter from its name (`layers.0.mlp.up_proj.kernel`) and shape; default: one device.

    Raises: InputError for a missing directory or file, an unsupported architecture, a truncated shard, a tensor that is
        missing, of another shape, of no floating type, or not finite, and for a hub name that cannot be reached.
    """
    directory = resolve(source)
    config = read_config(directory)
    with _open_weights(directory) as tensors:
        _refuse_missing_layers(tensors, config, directory)
        _refuse_another_head(tensors, config, directory)

        def read(path: ParameterPath, shape: tuple[int, ...]) -> jax.Array:
            sharding = placement(".".join(map(str, path)), shape) if placement else None
            return _read(tensors, path, shape, jnp.dtype(param_dtype), sharding, directory)

        model = assemble(config, read, dtype=dtype, param_dtype=param_dtype, remat=remat)
        expected = {tensor_name(path) for path, _ in nnx.to_flat_state(nnx.state(model))}
        _refuse_unexpected(tensors, expected, directory)
    return model, config


def assemble(
    config: DecoderConfig, read: Callable[[ParameterPath, tuple[int, ...]], jax.Array], **options: Any
) -> Decoder:
    """A decoder whose every parameter is what `read` returns for its path and shape; options: as in `Decoder`."""
    # No random weights are made only to be overwritten.
    graph, abstract = nnx.split(Decoder.abstract(config, **options))
    parameters = list(nnx.to_flat_state(abstract))
    with ThreadPoolExecutor(_READERS) as pool:
        arrays = pool.map(lambda parameter: read(parameter[0], parameter[1].shape), parameters)
        read_in = track(zip(parameters, arrays, strict=True), description="Reading weights", total=len(parameters))
        return nnx.merge(graph, nnx.from_flat_state([(path, leaf.replace(array)) for (path, leaf), array in read_in]))


def save(
    model: Decoder, directory: str | Path, *, companions: str | Path | None = None, dtype: DTypeLike = jnp.float32
) -> None:
    """Write a model as a Hugging Face directory that transformers and vLLM open.

    companions: a directory whose tokenizer and generation files are copied along.
    dtype: stored type of the weights.

    `config.json` goes first and comes last: a directory that has one is whole.
    Raises: InputError when the disk has no room for the weights.
    """
    directory, stored = Path(directory), jnp.dtype(dtype)
    parameters = [(path, variable[...]) for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param))]
    total = sum(array.size for _, array in parameters) * stored.itemsize
    shards = _shards(parameters, stored.itemsize)
    if jax.process_index() > 0:
        # Only the first process writes, but all take part in gathering what is spread over them.
        for path, array in parameters:
            _to_published(path, array, stored)
        return
    with _room_for(directory, total):
        (directory / "config.json").unlink(missing_ok=True)
        index: dict[str, str] = {}
        for number, shard in enumerate(track(shards, description="Saving weights"), start=1):
            single = len(shards) == 1
            name = "model.safetensors" if single else f"model-{number:05}-of-{len(shards):05}.safetensors"
            tensors = {tensor_name(path): _to_published(path, array, stored) for path, array in shard}
            with atomic_path(directory / name) as temporary:
                save_file(tensors, temporary, metadata={"format": "pt"})
            index |= dict.fromkeys(tensors, name)
        if len(shards) > 1:
            metadata = {"total_size": total}
            write_json(directory / "model.safetensors.index.json", {"metadata": metadata, "weight_map": index})
        _remove_others(directory, set(index.values()))
        if companions is not None:
            copy_companions(companions, directory)
        write_json(directory / "config.json", model.config.to_huggingface(stored.name))


def copy_companions(source: str | Path, directory: Path) -> None:
    """Copy the tokenizer and generation files of one model directory into another."""
    for name in _COMPANIONS:
        file = resolve(source) / name
        if file.is_file() and file.resolve() != (directory / name).resolve():
            with atomic_path(directory / name) as temporary:
                shutil.copyfile(file, temporary)


def load_tokenizer(source: str | Path) -> Any:
    """The transformers tokenizer of a model directory or hub name; never runs code from it.

    Raises: InputError when there is none, or when it knows more tokens than the model has rows.
    """
    directory = resolve(source)
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        raise InputError(
            f"{directory} has no tokenizer: none of {', '.join(_TOKENIZERS)}",
            mend="copy tokenizer.json and tokenizer_config.json from the model's publisher into the directory",
        )
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # seconds to import, not needed to run a model

    # AutoTokenizer of transformers 5 does not read tokenizer.json as it is written: for model type qwen2 it puts its
    # own splitting rules in the place of the file's, and a vocabulary of words falls apart into characters.
    as_written = (directory / "tokenizer.json").is_file()
    try:
        tokenizer = (PreTrainedTokenizerFast if as_written else AutoTokenizer).from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises whatever the broken file happened to cause
        raise InputError(
            f"the tokenizer of {directory} cannot be read: {first_line(error)}",
            mend="copy tokenizer.json and tokenizer_config.json from the model's publisher again",
        ) from error
    rows = read_config(directory).vocabulary_size
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise InputError(
            f"the tokenizer of {directory} has token ids up to {largest}, and the model has {rows} rows",
            mend="use the tokenizer that belongs to the model, or a config.json with the right vocab_size",
        )
    return tokenizer


def stop_tokens(source: str | Path) -> tuple[int, ...]:
    """Every token that ends a response: those of `generation_config.json` and of `config.json`."""
    directory = resolve(source)
    config = read_config(directory)
    stops = set(config.eos_token_ids)
    file = directory / "generation_config.json"
    if file.is_file():
        for token in token_ids(_read_json(file).get("eos_token_id")):
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < config.vocabulary_size:
                raise InputError(
                    f"{file} has eos_token_id = {token!r}, which is no token of the model",
                    mend="take the generation_config.json that belongs to the model, or remove it",
                )
            stops.add(token)
    if not stops:
        report_warning(f"{directory} names no token that ends a response: every completion runs to its limit")
    return tuple(sorted(stops))


def read_config(directory: Path) -> DecoderConfig:
    """The configuration of a model directory.

    Raises: InputError for a missing or malformed `config.json` and for an unsupported architecture.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise InputError(f"{directory} has no config.json", mend="name a Hugging Face model directory")
    return DecoderConfig.from_huggingface(_read_json(path))


def tensor_name(path: ParameterPath) -> str:
    """The published name of a parameter: `layers.0.norm.scale` is `model.layers.0.norm.weight`."""
    *modules, leaf = path
    prefix = [] if modules[0] == "lm_head" else ["model"]
    return ".".join(map(str, [*prefix, *modules, "bias" if leaf == "bias" else "weight"]))


@contextmanager
def _open_weights(directory: Path) -> Iterator[Mapping[str, Any]]:
    """Map every tensor name to the open, memory-mapped file that holds it."""
    index = directory / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.is_file():
        names = _read_json(index).get("weight_map")
        files = set(names.values()) if isinstance(names, dict) and all(map(_is_plain, names.values())) else set()
        if not files:
            raise InputError(
                f"{index} does not map the names of tensors to files beside it", mend="download the file again"
            )
    with ExitStack() as stack:
        tensors: dict[str, Any] = {}
        for name in sorted(files):
            if not (directory / name).is_file():
                raise InputError(
                    f"{directory} has no {name}",
                    mend="complete the download; weights are read from safetensors files only",
                )
            try:
                file = stack.enter_context(safe_open(directory / name, framework="numpy"))
            except SafetensorError as error:
                raise InputError(
                    f"{directory / name} is truncated or damaged ({error})", mend="download or write the file again"
                ) from error
            tensors |= dict.fromkeys(file.keys(), file)
        yield tensors


def _is_plain(name: Any) -> bool:
    """Whether this is the name of a file in the directory itself."""
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _refuse_missing_layers(tensors: Mapping[str, Any], config: DecoderConfig, directory: Path) -> None:
    # Before the model is laid out: ten million layers would take hours to find missing.
    layers = {name.split(".")[2] for name in tensors if name.startswith("model.layers.")}
    if len(layers) < config.num_layers:
        raise InputError(
            f"{directory} has weights of {len(layers)} layers, and its config.json calls for {config.num_layers:,}",
            mend="complete the download, or take the config.json that belongs to the weights",
        )


def _refuse_another_head(tensors: Mapping[str, Any], config: DecoderConfig, directory: Path) -> None:
    """A tied model may carry its head a second time: equal, then, to its embedding."""
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    if not config.tie_embeddings or head not in tensors or embedding not in tensors:
        return
    left, right = (tensors[name].get_slice(name) for name in (head, embedding))
    same = left.get_shape() == right.get_shape() and left.get_dtype() == right.get_dtype()
    rows = left.get_shape()[0] if same else 0
    step = max(_BLOCK_VALUES // max(left.get_shape()[-1], 1), 1)
    parts = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    if not same or not all(np.array_equal(left[part], right[part]) for part in parts):
        raise InputError(
            f"{directory} has a {head} that differs from its embedding, and its config.json ties the two",
            mend="set tie_word_embeddings to false in config.json if the head was trained apart, or remove it",
        )


def _refuse_unexpected(tensors: Mapping[str, Any], expected: set[str], directory: Path) -> None:
    # A tied model may carry its head a second time, and old Llama files carry the constant rotary frequencies.
    ignorable = ("lm_head.weight", "rotary_emb.inv_freq")
    extra = sorted(name for name in tensors if name not in expected and not name.endswith(ignorable))
    if extra:
        raise InputError(
            f"{directory} has {len(extra)} tensors that its config.json does not call for, the first {extra[0]}",
            mend="take the config.json that belongs to the weights",
        )


def _read(
    tensors: Mapping[str, Any],
    path: ParameterPath,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: Sharding | None,
    directory: Path,
) -> jax.Array:
    """One parameter, each device reading only its own slice of the file."""
    name = tensor_name(path)
    if name not in tensors:
        raise InputError(
            f"{directory} has no tensor {name}, which its config.json calls for",
            mend="complete the download, or take the config.json that belongs to the weights",
        )
    stored = tensors[name].get_slice(name)
    # PyTorch keeps a linear layer's matrix as [outputs, inputs].
    transposed = path[-1] == "kernel"
    expected = shape[::-1] if transposed else shape
    if tuple(stored.get_shape()) != expected:
        raise InputError(
            f"tensor {name} of {directory} has shape {tuple(stored.get_shape())}, and config.json calls for {expected}",
            mend="take the config.json that belongs to the weights",
        )
    if stored.get_dtype() not in ("F32", "BF16", "F16", "F64"):
        raise InputError(
            f"tensor {name} of {directory} has type {stored.get_dtype()}, and weights are F32, BF16 or F16",
            mend="use a checkpoint that is not quantised",
        )

    def read_slice(index: tuple[slice, ...] | None) -> np.ndarray:
        block = stored[index[::-1] if transposed and index else index]
        if not np.isfinite(block.astype(np.float32, copy=False)).all():
            raise InputError(
                f"tensor {name} of {directory} has values that are NaN or infinite",
                mend="download the file again, or go back to an earlier checkpoint",
            )
        return (block.T if transposed else block).astype(dtype, copy=False)

    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.make_array_from_callback(shape, sharding or default, read_slice)


def _to_published(path: ParameterPath, array: jax.Array, dtype: np.dtype) -> np.ndarray:
    if not array.is_fully_addressable:
        from jax.experimental import multihost_utils

        array = multihost_utils.process_allgather(array, tiled=True)
    host = np.asarray(array).astype(dtype, copy=False)
    return np.ascontiguousarray(host.T if path[-1] == "kernel" else host)


def _shards(parameters: list[tuple[Any, jax.Array]], itemsize: int) -> list[list[tuple[Any, jax.Array]]]:
    """Split so that a shard, the most the host holds at a time, stays below the limit where a single tensor does."""
    shards: list[list[tuple[Any, jax.Array]]] = [[]]
    size = 0
    for path, array in parameters:
        if shards[-1] and size + array.size * itemsize > _SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append((path, array))
        size += array.size * itemsize
    return shards


def _remove_others(directory: Path, files: set[str]) -> None:
    """Remove the weights of an earlier model: a stale index would be read in the place of the new file."""
    for path in directory.glob("model*.safetensors*"):
        is_index = path.name == "model.safetensors.index.json"
        if not (len(files) > 1 if is_index else path.name in files):
            path.unlink()


@contextmanager
def _room_for(directory: Path, size: int) -> Iterator[None]:
    """Refuse to start, or explain the failure, when the disk is too full for `size` bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    problem = f"{directory} needs {size / 1e9:.3g} GB for the weights, and the disk has {free / 1e9:.3g} GB left"
    mend = "free some space, or write to another disk"
    if free < size:
        raise InputError(problem, mend=mend)
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise InputError(problem, mend=mend) from error


def _read_json(path: Path) -> dict[str, Any]:
    return read_object(path, mend="download or write the file again")
