"""Losses with arguments of their own: a declaration says which array each of them is, in a decorator or in a TOML file.

`$logp`, `$old_logp`, `$ref_logp`, `$mask` are [batch, time]; `$rewards`, `$group` are [batch]. Many losses want what is
computed before them: `$advantages` is the reward less its group's mean, [batch], `$token_advantages` the same on every
token and `$token_rewards` the reward on the last token, [batch, time]. Every other value is passed as it stands.
"""

import inspect
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rino_base.messages import InputError

MARK = "__rino_signature__"


def _advantages(streams: Mapping[str, Any]) -> Any:
    rewards, group = streams["rewards"], streams["group"]
    same = (group[:, None] == group[None, :]) * 1.0
    return rewards - (same * rewards[None, :]).sum(1) / same.sum(1)


def _token_rewards(streams: Mapping[str, Any]) -> Any:
    mask = streams["mask"] * 1.0
    last = mask * (mask.cumsum(1) == mask.sum(1)[:, None])
    return last * streams["rewards"][:, None]


# Written with operators and methods that jax's and torch's arrays share.
_COMPUTED: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "advantages": _advantages,
    "token_advantages": lambda streams: streams["mask"] * _advantages(streams)[:, None],
    "token_rewards": _token_rewards,
}
_GIVEN = ("logp", "old_logp", "ref_logp", "rewards", "mask", "group")


def audited(
    *, returns: int | str | None = None, **arguments: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function's own arguments to `rino audit`, and change nothing else about it.

    Args:
        returns: the index or the key of the loss in what the function returns; None where it returns the loss.
        arguments: by the function's names: an array such as `"$logp"`, or a value to pass.

    Raises:
        InputError: an unknown `$name`.
    """
    declaration = _checked({"arguments": arguments, "returns": returns}, "the declaration")

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, MARK, declaration)
        return function

    return mark


def read(path: Path) -> dict[str, Any]:
    """A declaration from a TOML file: a table `arguments`, and `returns` where the loss is a part of the result.

    Raises:
        InputError: the file is not one.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", mend="give a TOML file with a table [arguments]") from None
    if set(found) - {"arguments", "returns"} or not isinstance(found.get("arguments"), dict):
        raise InputError(
            f"{path} declares {sorted(found)}", mend="write a table [arguments], and returns if it is needed"
        )
    return _checked({"returns": None, **found}, str(path))


def _checked(declaration: dict[str, Any], where: str) -> dict[str, Any]:
    known = (*_GIVEN, *_COMPUTED)
    for name, value in declaration["arguments"].items():
        if isinstance(value, str) and value.startswith("$") and value[1:] not in known:
            raise InputError(f"{where}: {name} is {value!r}", mend=f"one of: {', '.join('$' + each for each in known)}")
    return declaration


def declared(function: Callable[..., Any], declaration: Mapping[str, Any], name: str) -> Callable[..., Any]:
    """The function as one of the six arguments.

    Raises:
        InputError: the function cannot be called with the arguments declared.
    """
    arguments, returns = declaration["arguments"], declaration["returns"]
    try:
        inspect.signature(function).bind(**dict.fromkeys(arguments))
    except TypeError as error:
        raise InputError(f"{name}: {error}", mend="declare every argument that has no default") from None
    except ValueError:
        pass  # a built-in says nothing about its arguments

    def call(*six: Any) -> Any:
        streams = dict(zip(_GIVEN, six, strict=True))
        given = {key: _value(value, streams) for key, value in arguments.items()}
        result = function(**given)
        return result if returns is None else result[returns]

    return call


def _value(value: Any, streams: Mapping[str, Any]) -> Any:
    if not (isinstance(value, str) and value.startswith("$")):
        return value
    return _COMPUTED[value[1:]](streams) if value[1:] in _COMPUTED else streams[value[1:]]
