"""One look per method key, whatever else is drawn."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from run_files import make_results, make_run

from figures.looks import DASHES, MARKERS, METHODS, known_looks, method_look, variant_look
from figures.reading import read_results
from mdp_theory.methods.catalogue import METHODS as CATALOGUE


def test_every_method_of_the_catalogue_can_be_told_from_every_other() -> None:
    looks = {key: method_look(key) for key in (*CATALOGUE, *METHODS)}
    for (one, left), (two, right) in itertools.combinations(looks.items(), 2):
        assert (left.color, left.dash) != (right.color, right.dash), (one, two)
        assert (left.color, left.marker) != (right.color, right.marker), (one, two)


@given(st.text(min_size=1, max_size=20))
def test_a_key_that_nobody_knows_has_a_look_of_its_own(key: str) -> None:
    look = method_look(key)
    assert look == method_look(key)
    assert look.dash in DASHES
    assert look.marker in MARKERS
    # Dark enough for white paper.
    assert sum(to_rgb(look.color)) < 2.2


@pytest.mark.parametrize("methods", [("grpo",), ("f-isft-pos", "f-isft-pm"), ("f-isft-pm", "f-isft-neg", "grpo")])
def test_looks_are_the_same_in_every_subset(tmp_path: Path, methods: tuple[str, ...]) -> None:
    found = read_results(make_results(tmp_path, seeds=1, finals=dict.fromkeys(methods, 0.5)))
    assert known_looks(found) == {arm.label: METHODS[arm.method] for arm in found.arms}


def test_variants_of_a_method_differ_and_the_compared_one_keeps_its_look(tmp_path: Path) -> None:
    make_results(tmp_path, seeds=2, finals={"grpo": 0.5})
    for passes in (2, 4):
        make_run(tmp_path / "inner" / str(passes), num_iterations=passes)
    found = known_looks(read_results(tmp_path))
    assert found["GRPO"] == method_look("grpo")
    variants = [look for label, look in found.items() if "passes" in label or "num_iterations" in label]
    assert method_look("grpo") in variants
    assert len(set(map(repr, variants))) == 3


@given(st.sampled_from(sorted(METHODS)), st.integers(1, 12))
def test_variants_never_look_like_the_method(key: str, number: int) -> None:
    assert repr(variant_look(key, number)) != repr(method_look(key))
