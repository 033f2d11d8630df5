"""The page of findings: its tables are those that the files give, today."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def findings():
    spec = importlib.util.spec_from_file_location("findings", ROOT / "results" / "findings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_page_are_made_from_the_files(findings):
    text = findings.PAGE.read_text(encoding="utf-8")
    assert findings.page(text) == text, "run: python results/findings.py --write"
    for name in findings.TABLES:
        inside = text.split(f"<!-- study: {name} -->")[1].split(f"<!-- /study: {name} -->")[0]
        assert len(inside.splitlines()) > 3


def test_every_file_that_the_page_names_is_there(findings):
    text = findings.PAGE.read_text(encoding="utf-8")
    named = {word.strip("`") for word in text.replace("(", " ").split() if word.startswith("`results/")}
    missing = {name for name in (word.rstrip("`,.;") for word in named) if not (ROOT / name).exists()}
    assert not missing
