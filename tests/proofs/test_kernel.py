"""The proofs in Coq: what the command accepts, what it refuses, and what it says without Coq."""

import json
import re
import shutil

import pytest

from proofs.command import MODULES, load, prove
from proofs.kernel import check as kernel
from proofs.kernel.check import ALLOWED_AXIOMS, assumptions, check
from proofs.kernel.covers import COVERS, open_results
from proofs.kernel.source import needed, read_all, without_comments
from rino_base.messages import InputError

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="Coq is not installed: apt-get install coq …")
SOURCES = read_all()
CLAIMED = {source.theorem: source for source in SOURCES.values() if source.theorem}


def test_every_theorem_of_a_file_is_a_claim_with_words():
    assert set(CLAIMED) <= set(MODULES)
    for source in CLAIMED.values():
        stated = re.findall(r"\bTheorem\s+(\w+)", without_comments(source.path.read_text(encoding="utf-8")))
        assert stated == [claim.name for claim in source.claims]
        for claim in source.claims:
            assert claim.words.startswith(source.theorem), claim.name
            assert claim.counterexample == (f"{source.theorem} without" in claim.words), claim.name


def test_what_is_open_is_computed():
    """Results and claims that are named exist; a result is open unless all its claims are accepted."""
    for theorem, results in COVERS.items():
        claims = {claim.name for claim in CLAIMED[theorem].claims if not claim.counterexample}
        assert set(results) <= set(load(theorem).results), theorem
        assert {claim for named in results.values() for claim in named.split()} <= claims, theorem
    assert open_results("T9", load("T9").results, []) == load("T9").results
    assert "zero sum" not in open_results("T9", load("T9").results, ["t9_zero_sum"])
    assert "gradient" in open_results("T9", load("T9").results, ["t9_grpo"])  # It needs t9_any_rule too.
    assert open_results("T99", ["x"], ["t9_zero_sum"]) == ("x",)


def test_files_stand_on_those_before_them():
    order = list(SOURCES)
    for name, source in SOURCES.items():
        assert all(order.index(need) < order.index(name) for need in source.needs)
    assert "outcomes" in needed(["t05_one_direction"], SOURCES)
    assert "t05_one_direction" not in needed(["t04_binary_advantages"], SOURCES)


def test_comments_and_strings_are_no_commands():
    text = '(* Admitted (* Axiom *) Axiom *) Lemma x. "Axiom" (* *)\nAxiom y.'
    assert without_comments(text).split() == ["Lemma", "x.", "Axiom", "y."]
    assert len(without_comments(text).splitlines()) == 2


def test_assumptions_are_read_line_by_line():
    assert assumptions("Closed under the global context\n") == ()
    printed = "Axioms:\nfoo.bar : forall x,\n  x = x\nlong_name\n  : Prop\nf is assumed to be guarded.\n"
    assert assumptions(printed) == ("foo.bar", "long_name", "f is assumed to be guarded.")


def test_without_coq_two_lines_and_nothing_computed(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError) as error:
        prove("T4", kernel=True)
    assert "coqc" in error.value.problem
    assert error.value.mend.startswith("apt-get install")
    assert len(str(error.value).splitlines()) == 2
    assert capsys.readouterr().out == ""


@needs_coq
def test_every_claim_is_accepted(compiled):
    _, reports = compiled
    assert [report.source.theorem for report in reports] == list(CLAIMED)
    for report in reports:
        assert report.verified, report.refused
        for verdict in report.verdicts:
            assert verdict.statement
            assert set(verdict.axioms) <= set(ALLOWED_AXIOMS)


@needs_coq
def test_the_command_prints_and_writes_statements_words_and_axioms(tmp_path, capsys):
    assert prove("T4", kernel=True, json=tmp_path / "out.json", latex=tmp_path) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())["kernel"]["T4"]
    assert found["file"] == "t04_binary_advantages.v"
    assert found["verified"] is True
    assert found["axioms"] == []
    assert found["open_results"] == []
    assert "Num.sqrt ((1 - share F b) / share F b)" in found["statement"]
    assert any(claim["counterexample"] for claim in found["claims"])
    for words in ("t4_advantages :", "axioms: none", "accepted by coqc and coqchk", "√((1−p̂)/p̂)"):
        assert words in printed
    assert "t4_advantages :" in (tmp_path / "T4.tex").read_text()


def test_latex_has_the_statements_without_coq_too(tmp_path, capsys):
    assert prove("T4", latex=tmp_path) == 0
    assert "Theorem t4_advantages b i :" in (tmp_path / "T4.tex").read_text()


@needs_coq
def test_an_assumption_that_is_not_listed_is_refused(monkeypatch):
    """`Print Assumptions` has the last word: an axiom of the libraries counts only while the list has it."""
    monkeypatch.setattr(kernel, "assumptions", lambda printed: ("Some.new_axiom",))
    (report,) = check(["T4"])
    assert not report.verified
    assert not report.refused
    assert all("Some.new_axiom" in verdict.refused for verdict in report.verdicts)
