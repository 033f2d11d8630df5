"""The house is as CONTRIBUTING.md draws it: who imports whom, and nothing that belongs to one machine."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("mdp_theory", "proofs", "llm_exps", "figures")
PACKAGES = ("rino_base", *ROOMS, "rino")
ALLOWED = {
    "rino_base": set(),
    "mdp_theory": {"rino_base"},
    "proofs": {"rino_base"},
    "llm_exps": {"rino_base", "mdp_theory"},
    "figures": {"rino_base"},
}
# Inside mdp_theory, from the ground up: a floor stands on those before it.
FLOORS = ("precision", "problems", "methods", "exact", "check", "audit", "conformance")
STANDS_ON = {
    "precision": set(),
    "problems": set(),
    "methods": set(),
    "exact": {"precision", "problems", "methods"},
    "check": {"precision", "problems", "methods", "exact"},
    "audit": {"precision", "methods"},
    "conformance": {"methods", "exact", "audit"},
}


def imported_modules(path, *, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} imports by a relative path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path, *, top_level_only=False):
    return {name.split(".")[0] for name in imported_modules(path, top_level_only=top_level_only)}


def sources(room):
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_only_what_they_may(room):
    for path in sources(room):
        foreign = (imports(path) & set(PACKAGES)) - {room} - ALLOWED[room]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


@pytest.mark.parametrize("floor", FLOORS)
def test_floors_of_the_theory_stand_on_those_below(floor):
    place = ROOT / "mdp_theory" / floor
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        below = {name.split(".")[1] for name in imported_modules(path) if name.startswith("mdp_theory.")}
        foreign = below - {floor} - STANDS_ON[floor]
        assert not foreign, f"{path.relative_to(ROOT)} imports mdp_theory's {foreign}"


def test_no_import_leads_back_to_where_it_began():
    """Not even one inside a function or for the type checker alone."""
    paths = [path for room in PACKAGES for path in sources(room)]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    modules = dict(zip(names, paths, strict=True))
    needs = {
        module: {name if name in modules else name.rpartition(".")[0] for name in imported_modules(path)} - {module}
        for module, path in modules.items()
    }
    assert len(needs["mdp_theory.problems.mdp"] & modules.keys()) > 5
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the circle


def test_theory_needs_no_language_model_library():
    for path in sources("mdp_theory"):
        assert not {"flax", "transformers", "torch"} & imports(path, top_level_only=True), path


@pytest.mark.parametrize("room", ["proofs", "figures", "rino_base"])
def test_rooms_without_jax(room):
    for path in sources(room):
        assert not {"jax", "flax"} & imports(path), path


def test_front_door_imports_no_room_until_it_is_needed():
    for path in sorted((ROOT / "rino").glob("*.py")):
        assert not set(ROOMS) & imports(path, top_level_only=True), path
    heavy = "('jax', 'sympy', 'matplotlib', 'transformers')"
    script = f"import sys, rino, rino.cli; rino.cli.build_app(); print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_what_needs_pytorch_is_marked_and_so_run_again_where_it_is():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name not in ("conftest.py", Path(__file__).name) and re.search(
            r"(importorskip|find_spec|skipif)\(.*(torch|TORCH)", text
        ):
            assert "pytestmark = pytest.mark.torch" in text, path.relative_to(ROOT)


def test_modules_have_a_docstring_and_one_subject():
    for room in PACKAGES:
        for path in sources(room):
            text = path.read_text(encoding="utf-8")
            assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} lacks a docstring"
            assert len(text.splitlines()) <= 400, f"{path} has {len(text.splitlines())} lines: is it one subject?"


def test_nothing_evaluates_or_unpickles():
    """Model output is parsed, never evaluated; files are safetensors or JSON, never pickles."""
    forbidden = re.compile(r"(?<![\w.])(eval|exec)\(|\bpickle\b|trust_remote_code=True")
    for room in PACKAGES:
        for path in sources(room):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if not line.lstrip().startswith(("#", '"')):
                    assert not forbidden.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
