"""Python files of users: run once, beside their neighbours, and whatever they raise is said in their name."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from rino_base.messages import InputError

T = TypeVar("T")


def load_file(path: Path) -> ModuleType:
    """The module that a `.py` file makes; what the file raises comes through."""
    # Dataclasses and pickling look a class's module up by name; no name of the user's hides a module of that name.
    name = f"file_of_the_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with beside(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def beside(path: Path) -> Iterator[None]:
    """Imports find the file's neighbours, as they do when Python runs the file."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def call(function: Callable[[], T], path: Path, what: str) -> T:
    """What a function of the file returns; `what` the file is, for messages.

    Raises:
        InputError: the function's own, or one that names the file for anything else that it raises.
    """
    try:
        return function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"the {what} {path} fails: {words}", mend="run it with python to see where") from error
