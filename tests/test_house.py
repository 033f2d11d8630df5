"""The house is as CONTRIBUTING.md draws it: who imports whom, and nothing that belongs to one machine."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("mdp_theory", "proofs", "llm_exps", "figures", "benchmarks")
ALLOWED = {
    "mdp_theory": {"console"},
    "proofs": {"console"},
    "llm_exps": {"console", "mdp_theory"},
    "figures": {"console"},
    "console": set(),
}


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def sources(room):
    single = ROOT / f"{room}.py"
    return [single] if single.exists() else sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_only_what_they_may(room):
    own = {*ROOMS, "console", "rino", "reproduction"}
    for path in sources(room):
        foreign = (set(imports(path)) & own) - {room} - ALLOWED[room]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_theory_needs_no_language_model_library():
    for path in sources("mdp_theory"):
        assert not {"flax", "transformers", "torch"} & set(imports(path, top_level_only=True)), path


@pytest.mark.parametrize("room", ["proofs", "figures"])
def test_rooms_without_jax(room):
    for path in sources(room):
        assert not {"jax", "flax"} & set(imports(path)), path


def test_front_door_imports_no_room():
    script = (
        "import sys, rino; rino.build_app(); print([m for m in ('jax', 'sympy', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_modules_have_a_docstring_and_one_subject():
    for room in (*ROOMS, "console"):
        for path in sources(room):
            text = path.read_text(encoding="utf-8")
            assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} lacks a docstring"
            assert len(text.splitlines()) <= 450, f"{path} has {len(text.splitlines())} lines: is it one subject?"


def test_nothing_evaluates_or_unpickles():
    """Model output is parsed, never evaluated; files are safetensors or JSON, never pickles."""
    forbidden = re.compile(r"(?<![\w.])(eval|exec)\(|\bpickle\b|trust_remote_code=True")
    for room in (*ROOMS, "console", "rino", "reproduction"):
        for path in sources(room):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if not line.lstrip().startswith(("#", '"')):
                    assert not forbidden.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
