"""Problem files: a tree of responses with [[prompt]] tables, or with [[state]] tables a graph. docs/theory.md has both.

Everything raises `InputError` for whatever is wrong, and names the place.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdp_theory.problems import graph
from mdp_theory.problems.checks import check_fields, check_type, check_vocabulary, read_toml
from mdp_theory.problems.environment import Says
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.process import with_steps
from rino_base.messages import InputError

_NUMBER = (int, float)
_UTTERANCE = 'write after = "TOKEN" and says = [{ tokens = ["TOKEN", ...], probability = NUMBER }, ...]'


def read_problem(path: Path) -> TokenMDP:
    """The problem of a TOML file."""
    return problem_of(read_toml(path), where=str(path))


def problem_of(data: Mapping[str, Any], *, where: str) -> TokenMDP:
    """From the contents of a problem file (`where` names it in errors)."""
    return _graph(data, where) if "state" in data else _tree(data, where)


def _tree(data: Mapping[str, Any], where: str) -> TokenMDP:
    fields = {"name": str, "vocabulary": list, "eos": str, "horizon": int, "prompt": list}
    more = {"environment": list, "reward_noise": _NUMBER}
    check_fields(data, fields | more, required=fields.keys(), where=where)
    entries = _prompts(data["prompt"], where)
    probability = {text: float(entry["probability"]) for text, entry in entries.items() if "probability" in entry}
    if probability and len(probability) < len(entries):
        missing = next(text for text in entries if text not in probability)
        raise InputError(f"{where}: prompt {missing!r} has no probability", mend="give it to all prompts or to none")
    check_type(data["horizon"], int, f"{where}, horizon")
    for token in data["vocabulary"]:
        check_type(token, str, f"{where}, vocabulary")
    problem = TokenMDP.from_table(
        data["name"],
        vocabulary=data["vocabulary"],
        eos=data["eos"],
        horizon=data["horizon"],
        rewards={text: _numbers(entry.get("rewards", {})) for text, entry in entries.items()},
        default_reward={text: float(entry.get("default_reward", 0.0)) for text, entry in entries.items()},
        probability=probability or None,
        environment=_environment(data.get("environment", []), where),
        noise=float(data.get("reward_noise", 0.0)),
    )
    steps = {text: _numbers(entry["step_rewards"]) for text, entry in entries.items() if entry.get("step_rewards")}
    return with_steps(problem, steps) if steps else problem


def _prompts(entries: Sequence[Any], where: str) -> dict[str, dict[str, Any]]:
    """The [[prompt]] tables of a tree by their text, each with fields of the right type."""
    fields = {"text": str, "probability": _NUMBER, "default_reward": _NUMBER, "rewards": dict, "step_rewards": dict}
    found: dict[str, dict[str, Any]] = {}
    if not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{where}: 'prompt' is not a list of tables", mend="write each prompt under [[prompt]]")
    for number, entry in enumerate(entries, start=1):
        place = f"{where}, prompt {number}"
        check_fields(entry, fields, required=["text"], where=place)
        if entry["text"] in found:
            raise InputError(
                f"{place}: the text {entry['text']!r} is used twice", mend="give every prompt its own text"
            )
        for response, reward in entry.get("rewards", {}).items():
            check_type(reward, _NUMBER, f"{place}, reward of {response!r}")
        for beginning, reward in entry.get("step_rewards", {}).items():
            check_type(reward, _NUMBER, f"{place}, step reward of {beginning!r}")
        found[entry["text"]] = entry
    return found


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in table.items()}


def _environment(entries: Sequence[Any], where: str) -> Says:
    """The [[environment]] tables of a problem file."""
    says: dict[str, list[tuple[list[str], float]]] = {}
    for number, entry in enumerate(entries, start=1):
        place = f"{where}, environment {number}"
        if not isinstance(entry, dict) or set(entry) != {"after", "says"}:
            raise InputError(f"{place}: it needs the fields after and says, and no other", mend=_UTTERANCE)
        after, given = entry["after"], entry["says"]
        if not isinstance(after, str) or not isinstance(given, list) or not given:
            raise InputError(f"{place}: 'after' is not a token, or 'says' not a list of utterances", mend=_UTTERANCE)
        if after in says:
            raise InputError(f"{place}: {after!r} has an environment already", mend="list all it says in one table")
        says[after] = []
        for one in given:
            if not isinstance(one, dict) or set(one) != {"tokens", "probability"}:
                raise InputError(f"{place}: {one!r} is not an utterance with tokens and probability", mend=_UTTERANCE)
            words, chance = one["tokens"], one["probability"]
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise InputError(f"{place}: the tokens {words!r} are not a list of strings", mend=_UTTERANCE)
            if isinstance(chance, bool) or not isinstance(chance, int | float):
                raise InputError(f"{place}: the probability {chance!r} is not a number", mend=_UTTERANCE)
            says[after].append((words, float(chance)))
    return says


def _graph(data: Mapping[str, Any], where: str) -> TokenMDP:
    fields = {"name": str, "vocabulary": list, "eos": str, "horizon": int, "prompt": list, "state": list}
    check_fields(data, fields | {"reward_noise": _NUMBER}, required=fields.keys(), where=where)
    for token in data["vocabulary"]:
        check_type(token, str, f"{where}, vocabulary")
    check_vocabulary(data["vocabulary"], data["eos"])
    check_type(data["horizon"], int, f"{where}, horizon")
    states = _states(data["state"], where)
    for state, entry in states.items():
        _check_state(entry, states, data["vocabulary"], data["eos"], f"{where}, state {state!r}")
    prompts, probability = _starts(data["prompt"], states, where)
    problem = graph.from_function(
        data["name"],
        prompts=prompts,
        vocabulary=data["vocabulary"],
        eos=data["eos"],
        horizon=data["horizon"],
        step=lambda state, token: states[str(state)].get("next", {}).get(token, state),
        reward=lambda state, token: states[str(state)].get("reward", {}).get(token, 0.0),
        probability=probability or None,
    )
    return replace(problem, noise=float(data.get("reward_noise", 0.0)))


def _states(entries: Sequence[Any], where: str) -> dict[str, dict[str, Any]]:
    """The [[state]] tables by their name."""
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries, start=1):
        place = f"{where}, state {number}"
        _table(entry, place, {"name": str, "next": dict, "reward": dict}, required=["name"])
        if entry["name"] in found:
            raise InputError(f"{place}: {entry['name']!r} is there already", mend="give every state its own name")
        found[entry["name"]] = entry
    return found


def _check_state(entry: Mapping[str, Any], states: Mapping[str, Any], vocabulary: list[str], eos: str, at: str) -> None:
    """Whether its tokens are known, its rewards numbers, and every token that goes on leads to a state."""
    leads, earned = entry.get("next", {}), entry.get("reward", {})
    going = [token for token in vocabulary if token != eos]
    for token in {**leads, **earned}:
        if token not in vocabulary or (token in leads and token == eos):
            raise InputError(
                f"{at}: {token!r} is not in the vocabulary, or ends the response and leads nowhere",
                mend=f"use {' '.join(going)}" + ("" if token in leads else f" {eos}"),
            )
    for token, value in earned.items():
        check_type(value, _NUMBER, f"{at}, reward of {token!r}")
    if leads and set(leads) != set(going):
        missing = next(token for token in going if token not in leads)
        raise InputError(
            f"{at}: nothing follows {missing!r}", mend="say for every token where it leads, or for none (it stays)"
        )
    for token, target in leads.items():
        for name in target if isinstance(target, dict) else [target]:
            if not isinstance(name, str) or name not in states:
                raise InputError(
                    f"{at}: {token!r} leads to {name!r}, which is no state", mend=f"the states: {', '.join(states)}"
                )


def _starts(
    entries: Sequence[Any], states: Mapping[str, Any], where: str
) -> tuple[dict[str, Hashable], dict[str, float]]:
    """The state in which each prompt of a graph starts, and the probabilities of those that have one."""
    prompts: dict[str, Hashable] = {}
    probability: dict[str, float] = {}
    for number, entry in enumerate(entries, start=1):
        place = f"{where}, prompt {number}"
        _table(entry, place, {"text": str, "state": str, "probability": _NUMBER}, required=["text", "state"])
        if entry["text"] in prompts:
            raise InputError(
                f"{place}: the text {entry['text']!r} is used twice", mend="give every prompt its own text"
            )
        if entry["state"] not in states:
            raise InputError(f"{place}: {entry['state']!r} is no state", mend=f"the states: {', '.join(states)}")
        prompts[entry["text"]] = entry["state"]
        if "probability" in entry:
            probability[entry["text"]] = float(entry["probability"])
    return prompts, probability


def _table(entry: Any, place: str, types: Mapping[str, Any], *, required: Sequence[str]) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"{place} is not a table", mend=f"its fields are {', '.join(types)}")
    check_fields(entry, types, required=required, where=place)
