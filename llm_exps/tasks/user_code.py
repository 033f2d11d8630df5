"""Python files of users: run once, and whatever they raise is said in their name."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from rino_base.messages import InputError

T = TypeVar("T")


def load_file(path: Path, what: str) -> ModuleType:
    """The module that the file `path` makes; `what` is what it holds, for messages.

    Raises:
        InputError: the file fails.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    call(lambda: spec.loader.exec_module(module), path, what)  # type: ignore[union-attr]
    return module


def call(function: Callable[[], T], path: Path, what: str) -> T:
    """What a function of the file returns.

    Raises:
        InputError: the function's own, or one that names the file for anything else that it raises.
    """
    try:
        return function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        words: Any = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"the {what} {path} fails: {words}", mend="run it with python to see where") from error
