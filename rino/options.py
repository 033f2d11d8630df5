"""Options by name: keyword arguments become the frozen options of the command line, checked as it checks them."""

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from rino_base.messages import InputError

Options = TypeVar("Options")


def build(kind: type[Options], given: Mapping[str, object], *, what: str, others: tuple[str, ...] = ()) -> Options:
    """The options `kind` (a dataclass, which may hold others) with the values given, flat and by name.

    Args:
        kind: a dataclass all of whose fields have defaults.
        given: value by name; a name is a field of `kind` or of a dataclass inside it.
        what: what takes the options, for the error.
        others: further names that the caller takes, so that the nearest can be one of them.

    Raises:
        InputError: an unknown name (the mend names the nearest), or a value of another type than the option's.
    """
    names = sorted({*names_of(kind), *others})
    for name in given:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            raise InputError(
                f"{what} has no option {name!r}", mend=f"{nearest[0]!r} is nearest; there are {', '.join(names)}"
            )
    return _fill(kind, given)


def as_list(values: object, name: str) -> tuple[Any, ...]:
    """What was given as a list, as a tuple.

    Raises:
        InputError: it was no list.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"{name} is {values!r}", mend=f"give a list of values, such as {name}=[…]")
    return tuple(values)


def as_path(value: object, name: str) -> str:
    """What was given as a path or a name, as text.

    Raises:
        InputError: it was neither text nor a path.
    """
    if not isinstance(value, str | PathLike) or not isinstance(fspath(value), str):
        raise InputError(f"{name} is {value!r}", mend=f"give {name} as text or a path")
    return fspath(value)


def names_of(kind: Any) -> Iterator[str]:
    """The names of all options, those of nested dataclasses included."""
    for item, inner in _fields(kind):
        yield from [item.name] if inner is None else names_of(inner)


def _fields(kind: Any) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """Every field, with its type where that is a dataclass of options itself."""
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        yield item, hints[item.name] if dataclasses.is_dataclass(hints[item.name]) else None


def _fill(kind: type[Options], given: Mapping[str, object]) -> Options:
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for item, inner in _fields(kind):
        if inner is not None:
            values[item.name] = _fill(inner, given)
        elif item.name in given:
            values[item.name] = _checked(item.name, given[item.name], hints[item.name])
    return kind(**values)


def _checked(name: str, value: object, hint: Any) -> object:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for kind in kinds:
        if get_origin(kind) is Literal:
            if any(value == choice and type(value) is type(choice) for choice in get_args(kind)):
                return value
        elif get_origin(kind) is tuple:
            if isinstance(value, list | tuple):
                return tuple(_checked(f"a value of {name}", item, get_args(kind)[0]) for item in value)
        elif kind is Path and isinstance(value, str | Path):
            return Path(value)
        elif isinstance(value, bool) or kind not in (int, float):
            if type(value) is kind:
                return value
        elif kind is int and isinstance(value, Integral):  # numpy's numbers too
            return int(value)
        elif kind is float and isinstance(value, Real):
            return float(value)
    raise InputError(f"{name} is {value!r}", mend=f"give {' or '.join(map(_words, kinds))}")


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of values"
    named = {bool: "True or False", int: "a whole number", float: "a number", str: "a string", Path: "a path"}
    return "None" if kind is NoneType else named[kind]
