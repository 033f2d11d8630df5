"""`rino prove` as a user meets it: exit codes, what is printed, JSON, LaTeX, and bad input."""

import json
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from proofs import command, corrupt, timing
from proofs.command import load, prove
from rino_base.messages import InputError


@pytest.fixture
def quick(monkeypatch):
    """Two quick theorems in place of all."""
    monkeypatch.setattr(command, "MODULES", {name: command.MODULES[name] for name in ("T2", "T11")})


@pytest.fixture
def corrupted(monkeypatch, quick):
    """T2 with the sign of one result flipped."""
    true = load("T2")
    steps = tuple(replace(step, right=-step.right) if step.name == "reward-to-go" else step for step in true.steps)
    module = SimpleNamespace(theorem=lambda: replace(true, steps=steps))
    modules = {"proofs.t02_uniform_split": module}
    found = command.import_module
    monkeypatch.setattr(command, "import_module", lambda name: modules.get(name) or found(name))


def test_all_theorems_in_one_table(quick, capsys):
    assert prove() == 0
    printed = capsys.readouterr().out
    for word in ("T2", "T11", "steps verified", "symbolic", "witnesses", "seconds", "6/6", "2/2", "whole"):
        assert word in printed
    assert "by:" not in printed


def test_one_theorem_line_by_line(capsys):
    assert prove("t2") == 0
    printed = capsys.readouterr().out
    for word in (
        "T2  Uniform split",
        "Derivation",
        "  6. ",
        "begins with: ",
        "by: ",
        "given: ",
        "✓ verified",
        "Witnesses",
        "√2/4",
        "╱",
    ):
        assert word in printed


def test_a_false_step_is_named_with_its_sides_and_their_difference(corrupted, capsys, tmp_path):
    assert prove(json=tmp_path / "out.json") == 1
    printed = capsys.readouterr().out
    assert "T2, step not verified: With the return from t on" in printed
    assert "left − right = 2*r*(L - t + 1)/L" in printed
    assert "-r⋅(L - t + 1)" in printed
    assert "5/6" in printed
    found = {item["id"]: item for item in json.loads((tmp_path / "out.json").read_text())["theorems"]}
    assert not found["T2"]["verified"]
    assert found["T11"]["verified"]
    assert [step["verified"] for step in found["T2"]["steps"]].count(False) == 1


def test_a_false_step_shows_in_the_derivation_too(corrupted, capsys):
    assert prove("T2") == 1
    assert "✗ NOT VERIFIED: left − right = 2*r*(L - t + 1)/L" in capsys.readouterr().out


def test_a_step_out_of_time_fails_the_command(quick, capsys, monkeypatch):
    monkeypatch.setattr(timing, "TIME_LIMIT", 1e-6)
    assert prove() == 1
    assert "no answer within 1e-06 s of processor time" in capsys.readouterr().out


def test_json(quick, tmp_path):
    assert prove("T2", json=tmp_path / "out.json") == 0
    (found,) = json.loads((tmp_path / "out.json").read_text())["theorems"]
    assert found["id"] == "T2"
    assert found["verified"] is True
    assert found["enumerated"] == "nothing"
    assert {"title", "statement", "assumptions", "symbolic", "remark", "seconds"} <= set(found)
    assert {"results", "definitions", "faults", "not_proved"} <= set(found)
    fields = {"claim", "equation", "rule", "begins", "given", "name", "verified", "detail", "seconds"}
    assert fields == set(found["steps"][0])
    fields = {"dropped", "about", "instance", "conclusion", "verified", "numbers", "seconds"}
    assert fields == set(found["witnesses"][0])
    assert {"name": "left out", "formula": "Σ[u, 1, t − 1] (r/L) = r (t − 1)/L"} in found["results"]
    assert "r (L − t + 1)/L" in found["statement"]
    assert found["faults"] == []
    assert "corruptions" not in found


def test_corruptions_are_counted(tmp_path, capsys):
    assert prove("T2", corrupt=True, json=tmp_path / "out.json") == 0
    (found,) = json.loads((tmp_path / "out.json").read_text())["theorems"]
    counts = found["corruptions"]
    assert counts["tried"] == counts["caught"] == sum(kind["tried"] for kind in counts["kinds"].values()) > 50
    assert counts["missed"] == []
    assert counts["kinds"]["both sides"]["tried"] >= 3 * len(found["steps"])
    printed = capsys.readouterr().out
    for word in ("Corruptions", "both sides of a step changed alike", "tried", "caught", str(counts["tried"])):
        assert word in printed


def test_a_corruption_that_is_not_noticed_fails_the_command(quick, capsys, monkeypatch, tmp_path):
    """Without the comparison of left sides, a step may be doubled on both."""
    monkeypatch.setattr(corrupt, "faults", lambda theorem: iter(()))
    assert prove("T2", corrupt=True, json=tmp_path / "out.json") == 1
    assert "T2, corruption not noticed: both sides: step 1, doubled" in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "out.json").read_text())["theorems"]
    assert found["verified"]
    assert found["corruptions"]["caught"] < found["corruptions"]["tried"]


@pytest.fixture
def unjoined(monkeypatch, quick):
    """T2 with both sides of one step doubled, so that the step alone still holds."""
    true = load("T2")
    first, *others = true.steps
    steps = (replace(first, left=2 * first.left, right=2 * first.right), *others)
    module = SimpleNamespace(theorem=lambda: replace(true, steps=steps))
    found = command.import_module
    monkeypatch.setattr(
        command, "import_module", lambda name: module if name.endswith("t02_uniform_split") else found(name)
    )


def test_a_true_step_that_does_not_join_fails_the_command(unjoined, capsys, tmp_path):
    assert prove(json=tmp_path / "out.json") == 1
    printed = capsys.readouterr().out
    assert "T2, not joined: step 1" in printed
    assert "it does not begin with" in printed
    found = {item["id"]: item for item in json.loads((tmp_path / "out.json").read_text())["theorems"]}
    assert all(step["verified"] for step in found["T2"]["steps"])
    assert not found["T2"]["verified"]
    assert len(found["T2"]["faults"]) == 1
    assert prove("T2") == 1
    assert "✗ NOT JOINED: step 1" in capsys.readouterr().out


def test_a_theorem_is_not_verified_if_one_that_it_cites_is_not(monkeypatch, tmp_path):
    true = load("T13")
    first, other = true.after
    broken = replace(first, steps=(*first.steps[:-1], replace(first.steps[-1], right=first.steps[-1].right * 2)))
    (report,) = command.check_all([replace(true, after=(broken, other))])
    assert not report.verified
    assert report.faults == ("T3, which it cites, is not verified",)


@pytest.mark.parametrize(("name", "nearest"), [("T99", "T18"), ("t0", "T1"), ("5", "T5"), ("bandit", "T1")])
def test_unknown_theorems(name, nearest):
    with pytest.raises(InputError) as caught:
        prove(name)
    assert name in caught.value.problem
    assert caught.value.mend == f"rino prove {nearest}"


def test_latex_has_a_file_for_each_theorem(quick, tmp_path):
    assert prove(latex=tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["T11.tex", "T2.tex", "main.tex"]
    written = (tmp_path / "T2.tex").read_text(encoding="utf-8")
    for word in (r"\begin{theorem}", r"\begin{proof}", r"\begin{witnesses}", r"\sum_{u=1}^{L}"):
        assert word in written
    assert r"\input{T11}" in (tmp_path / "main.tex").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("latexmk") is None, reason="no TeX here")
def test_the_document_compiles(tmp_path):
    prove(latex=tmp_path)
    result = subprocess.run(
        ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "main.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )
    assert result.returncode == 0, result.stdout[-2000:]
    log = (tmp_path / "main.log").read_text(errors="replace")
    assert "Overfull" not in log
    assert "Undefined control sequence" not in log
