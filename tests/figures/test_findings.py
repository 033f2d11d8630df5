"""The page of findings: its tables are those that the files give, today."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from rino_base.marked_tables import filled

ROOT = Path(__file__).parents[2]


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "results" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def findings():
    return script("findings")


def test_the_tables_of_the_page_are_made_from_the_files(findings):
    text = findings.PAGE.read_text(encoding="utf-8")
    assert filled(text, "study", findings.TABLES) == text, "run: python results/findings.py --write"
    for name in findings.TABLES:
        inside = text.split(f"<!-- study: {name} -->")[1].split(f"<!-- /study: {name} -->")[0]
        assert len(inside.splitlines()) > 3


def test_every_file_that_the_page_names_is_there(findings):
    text = findings.PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(results/[^` ]*)`", text))
    assert "results/study/low/" in named
    missing = {name for name in named if not (ROOT / name).exists()}
    assert not missing


def test_attempts_that_miss_and_hit_are_told_apart_and_cut_off_responses_do_not_count_as_stopping():
    prompt = "1 2 3 make 7:"
    texts = [
        "1 + 2 + 3 = 6, 1 + 2 * 3 = 7 <answer> 1 + 2 * 3 </answer>",  # a miss, then a hit, and no more
        "1 + 2 * 3 = 7, 1 + 2 + 3 = 6 <answer> 1 + 2 + 3 </answer>",  # goes on after a hit, stops after a miss
        "3 + 1 - 2 = 2, 3 * 2 - 1 = 5, 1 + 2 +",  # cut off: four attempts are not known to be the last
    ]
    habits = script("attempts").habits([prompt] * 3, texts, np.array([True, False, False]))
    assert habits == {
        "attempts_wrong": 2,
        "attempts_right": 2,
        "hits": pytest.approx(2 / 6),
        "another_after_miss": 1 / 2,
        "another_after_hit": 1 / 2,
    }
