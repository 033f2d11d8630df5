"""What `rino audit` can be asked about: functions of files and modules, trainers, catalogued methods, frameworks.

A framework's loss lives in a process of its own for as long as it is asked, so a target is opened and closed.
"""

import ast
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdp_theory.audit.frameworks.batches import FRAMEWORKS
from mdp_theory.audit.frameworks.environment import Worker, WorkerProblem, variants
from mdp_theory.audit.loss import Loss, LossFailure, check, load_loss
from mdp_theory.methods.batch import Batch
from rino_base.messages import InputError


@contextlib.contextmanager
def opened(target: str, probe: Batch, *, signature: Path | None = None) -> Iterator[Loss]:
    """The loss that `target` names, for as long as the block runs.

    Args:
        target: `FILE.py:FUNCTION`, `module:function`, `FILE.py:CLASS` of a trainer after TRL's, a catalogued method, or
            `FRAMEWORK:NAME,setting=value,…`; a framework alone means its default configuration.
        probe: a batch on which the loss must be finite, scalar and repeatable.
        signature: a TOML file that says what a function's own arguments are.

    Raises:
        InputError: there is no such loss, it fails on `probe`, or its framework is nowhere installed.
    """
    framework, trainer = _framework_of(target)
    if signature is not None and (framework is not None or not (":" in target or target.endswith(".py"))):
        raise InputError(f"--signature goes with a function, not with {target}", mend="leave it out")
    if framework is None:
        yield load_loss(target, probe, signature=signature)
        return
    name, settings = split_settings(target)
    if trainer is None:
        _, colon, variant = name.partition(":")
        settings = _variant(framework, variant if colon else "default", settings)
    with Worker(framework) as worker:
        yield open_loss(worker, target, settings, probe, framework=framework, trainer=trainer)


def open_loss(
    worker: Worker,
    target: str,
    settings: Mapping[str, Any],
    probe: Batch,
    *,
    framework: str,
    trainer: str | None = None,
) -> Loss:
    """A worker's loss, checked as any other.

    Raises:
        InputError: the framework does not take the settings, has another interface, or its loss fails on `probe`.
    """
    try:
        version = worker.open(settings, trainer=trainer)
    except WorkerProblem as problem:
        mend = "see that the version installed is that of environments.toml, and that the settings are the framework's"
        raise InputError(f"{target} cannot be opened: {problem}", mend=mend) from None
    loss = Loss(
        target, f"{framework} {version}", lambda batch: _weigh(worker, batch, 1), lambda b, n: _weigh(worker, b, n)
    )
    try:
        check(loss, probe)
    except LossFailure as failure:
        raise InputError(f"{target} {failure}", mend=failure.mend) from None
    return loss


def _weigh(worker: Worker, batch: Batch, parts: int) -> tuple[float, np.ndarray]:
    try:
        return worker.weigh(batch, parts=parts)
    except WorkerProblem as problem:
        raise LossFailure(str(problem), "the framework itself raises it") from None


def _framework_of(target: str) -> tuple[str | None, str | None]:
    """The framework that a target needs, and the trainer class where that is the user's own."""
    name, _ = split_settings(target)
    first = name.partition(":")[0]
    if first in FRAMEWORKS and not Path(name).exists():
        return first, None
    file, colon, attribute = name.rpartition(":")
    if colon and Path(file).is_file() and _is_trainer(Path(file), attribute):
        return "trl", name
    return None, None


def _is_trainer(file: Path, name: str) -> bool:
    """Whether the file defines a class of that name that is derived from another; read without running it."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError):
        return False
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == name]
    methods = {part.name for node in classes for part in node.body if isinstance(part, ast.FunctionDef)}
    return any(node.bases for node in classes) and "__call__" not in methods


def split_settings(target: str) -> tuple[str, dict[str, Any]]:
    """`name,setting=value,…` as the name and the settings; values are read as JSON where they are JSON."""
    name, *given = re.split(r",(?![^\[{]*[\]}])", target)  # lists and tables keep their commas
    settings: dict[str, Any] = {}
    for part in given:
        key, equals, text = part.partition("=")
        if not equals or not key:
            raise InputError(f"{target}: {part!r} is no setting", mend="write NAME,setting=value,setting=value")
        try:
            settings[key.strip()] = json.loads(text)
        except ValueError:
            settings[key.strip()] = text.strip()
    return name, settings


def _variant(framework: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    known = variants(framework)
    if name not in known:
        raise InputError(f"{framework} has no loss called {name!r} here", mend=f"one of: {', '.join(known)}")
    if known[name].outside:
        raise InputError(f"{framework}:{name} cannot be probed: {known[name].outside}", mend="audit another loss")
    return {**known[name].settings, **settings}
