"""Stand-ins for packages that a framework imports and its loss never calls: a GPU's kernels, a cluster's launcher.

A name of a stand-in can be imported, subclassed, called and used as a decorator; nothing that it returns is a number,
so a loss that did depend on one would fail rather than be audited wrongly.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any


def stand_in_for(*packages: str) -> tuple[str, ...]:
    """Make `import PACKAGE` work for those that are not installed, and say which those are."""
    missing = tuple(name for name in packages if importlib.util.find_spec(name) is None)
    if missing:
        sys.meta_path.append(_Finder(missing))
    return missing


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Anything,), {})


class _Anything:
    """Any class or function of a stand-in."""

    def __new__(cls, *args: Any, **_: Any) -> Any:
        # Used as a decorator it leaves what it decorates alone.
        return args[0] if len(args) == 1 and callable(args[0]) else super().__new__(cls)
