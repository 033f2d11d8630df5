"""The catalogue: names, immutability, and the constants that sources state."""

import dataclasses
from itertools import chain

import pytest

from mdp_theory.methods.catalogue import METHODS, get
from rino_base.messages import InputError


def test_names_are_unique():
    names = list(chain.from_iterable((method.key, *method.aliases) for method in METHODS.values()))
    assert len(names) == len(set(names))
    titles = [method.title for method in METHODS.values()]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("key", METHODS)
def test_every_name_leads_to_its_method(key):
    method = METHODS[key]
    assert method.key == key
    assert key.isascii()
    assert method.source
    assert all(get(name) is method for name in (key, *method.aliases))


@pytest.mark.parametrize(("wrong", "nearest"), [("grppo", "grpo"), ("DR_GRPO", "dr-grpo"), ("f-isft", "f-isft")])
def test_an_unknown_name_is_refused_with_the_nearest(wrong, nearest):
    with pytest.raises(InputError, match=f"unknown method '{wrong}'") as caught:
        get(wrong)
    assert caught.value.mend.startswith(f"'{nearest}")


def test_nothing_can_be_changed_in_place():
    with pytest.raises(TypeError):
        METHODS["grpo"] = METHODS["dapo"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["grpo"].objective.clip.low = 0.3
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["grpo"].objective = METHODS["dapo"].objective


def test_constants_are_those_of_the_sources():
    assert (METHODS["dapo"].objective.clip.low, METHODS["dapo"].objective.clip.high) == (0.2, 0.28)
    assert (METHODS["gspo"].objective.clip.low, METHODS["gspo"].objective.clip.high) == (3e-4, 4e-4)
    assert METHODS["cispo"].objective.clip.low is None
    assert METHODS["grpo-kl"].objective.kl.beta == 0.04
    assert METHODS["ppo"].objective.advantage.gae_lambda == 0.95
    assert METHODS["w-reinforce"].objective.advantage.positive == 0.1


def test_the_standard_deviation_is_the_plain_one_everywhere():
    advantages = [method.objective.advantage for method in METHODS.values()]
    assert {(advantage.ddof, advantage.eps) for advantage in advantages} == {(0, 0.0)}
