"""Rows of problems from a local file or folder (JSON Lines, Parquet) or from a data set on the Hugging Face hub."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from llm_exps.tasks.task import Table
from rino_base.messages import InputError, first_line

_SUFFIXES = (".jsonl", ".parquet")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def read_rows(
    source: str, *, required: Iterable[str], split: str = "train", folder: str = "", limit: int | None = None
) -> Table:
    """Read at most `limit` rows from `source`: a `.jsonl` or `.parquet` file, a folder of them, or a hub data set
    `owner/name`.

    Of a folder or a hub data set, the files in the subfolder `folder` are read whose name begins with `split`.

    Raises:
        InputError: no such file or data set, no network, a broken file, or a column of `required` that some row lacks.
    """
    path = Path(source).expanduser()
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = _files(path, split, folder)
    elif _HUB_NAME.fullmatch(source) and path.suffix not in _SUFFIXES:
        files = _files(_download(source), split, folder)
    else:
        raise InputError(
            f"no such file or folder: {source}",
            mend="give a .jsonl or .parquet file, a folder of them, or a hub data set owner/name",
        )
    rows = (row for file in files for row in _read(file))
    return Table.from_rows(islice(rows, limit), required=required, source=source)


def _files(folder: Path, split: str, subfolder: str) -> list[Path]:
    # Data sets on the hub keep their files in `data/` or in a folder named after the configuration; a person's folder
    # has them on top.
    found = sorted(path for path in folder.rglob(f"{split}*") if path.suffix in _SUFFIXES)
    inside = [path for path in found if path.parent.name == subfolder]
    if not found:
        raise InputError(f"{folder} has no {split}*.jsonl or {split}*.parquet", mend="name the file itself")
    return inside or found


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # here: it takes half a second, and local files do without

    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=[f"*{suffix}" for suffix in _SUFFIXES]))
    except (OSError, ValueError) as error:  # every error of the hub, of its names and of the network is one of these
        raise InputError(
            f"the data set {name} could not be had from the Hugging Face hub: {first_line(error)}",
            mend="check the name and the network, or give a local .jsonl or .parquet file",
        ) from error


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".jsonl":
        return _read_jsonl(path)
    raise InputError(f"{path} is neither .jsonl nor .parquet", mend="convert it to JSON Lines: one JSON object a line")


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"reading {path} needs pyarrow", mend="pip install -e '.[data]', or convert the file to JSON Lines"
        ) from error
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=4096):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise InputError(
            f"{path} is no readable Parquet file: {first_line(error)}", mend="download it again"
        ) from error


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for count, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{path}, line {count}, is no JSON: {error}", mend="write one JSON object a line"
                ) from error
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}, line {count}, is a {type(row).__name__}", mend="write one JSON object a line"
                )
            yield row
