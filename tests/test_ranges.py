"""Ranges of options: every number has one, and command line, `--config` and Python hold to the same."""

import dataclasses
import importlib
import inspect
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rino
from llm_exps.options import CompareOptions, EvaluateOptions, GenerateOptions, RunOptions
from rino import cli
from rino_base.messages import InputError
from rino_base.ranges import OF_COMMAND, RANGES, hold, rule


def options_of(function):
    """(name, type) of every option of a command, those inside dataclasses of options included."""
    hints = typing.get_type_hints(function)
    for name in inspect.signature(function).parameters:
        yield from flat(name, hints[name])


def flat(name, kind):
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for item in dataclasses.fields(kind):
            yield from flat(item.name, hints[item.name])
    else:
        yield name, kind


def is_number(kind):
    parts = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return False
    return any(map(is_number, parts)) if parts else kind in (int, float)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_number_of_a_command_has_a_range(command):
    module, _, name = cli.COMMANDS[command][0].partition(":")
    function = getattr(importlib.import_module(module), name)
    missing = [option for option, kind in options_of(function) if is_number(kind) and rule(command, option) is None]
    assert not missing, f"give {missing} of rino {command} a line in rino_base/ranges.py"


@pytest.mark.parametrize("function", ["check", "gradient", "coefficient", "compare", "train", "method"])
def test_every_number_of_a_function_has_a_range(function):
    numbers = {
        name
        for name, item in inspect.signature(getattr(rino, function)).parameters.items()
        if item.kind is item.KEYWORD_ONLY and str(item.annotation).startswith(("int", "float"))
    }
    assert all(rule(function, name) for name in numbers)


EVERY = [*RANGES.values(), *(found for of in OF_COMMAND.values() for found in of.values())]


@given(st.sampled_from(EVERY), st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text()))
def test_a_range_holds_exactly_the_numbers_between_its_ends(wanted, value):
    holds = wanted.holds(value)
    if isinstance(value, bool) or not isinstance(value, int if wanted.whole else int | float):
        assert not holds
    elif holds:
        assert wanted.least <= value <= wanted.most
    else:
        assert not wanted.least < value < wanted.most  # NaN too


@pytest.mark.parametrize("wanted", EVERY, ids=str)
def test_the_ends_of_a_range_are_as_its_words_say(wanted):
    assert wanted.holds(wanted.least) == ("above" not in str(wanted))
    assert wanted.holds(wanted.most) == ("below" not in str(wanted))


def test_numbers_inside_lists_and_dataclasses_are_held():
    @dataclasses.dataclass
    class Options:
        seed: int = -1

    for given_options in ({"options": Options()}, {"seeds": [0, -1]}):
        with pytest.raises(InputError, match="is -1"):
            hold("compare", given_options)
    with pytest.raises(InputError, match="seeds is empty"):
        hold("compare", {"seeds": ()})
    hold("compare", {"seeds": (0,), "options": RunOptions(seed=3)})
    with pytest.raises(InputError, match="num_generations is None"):
        hold("check", {"num_generations": None})


@pytest.mark.parametrize("options", [RunOptions(), CompareOptions(), EvaluateOptions(), GenerateOptions()])
def test_defaults_are_in_range(options):
    hold("train", {"options": options})
