"""Proofs that are none: what was done to a file of the development, and that the command does not accept it.

What a scan of the source finds is tried on every theorem's file. What Coq has to find is tried on T4 in the daily run
and on every file by `pytest -m slow tests/proofs/test_kernel_tampering.py`: a file with one change is compiled against
the others as they are.
"""

import re
import shutil
from dataclasses import replace

import pytest

from proofs.kernel import check as kernel
from proofs.kernel import record
from proofs.kernel.check import check
from proofs.kernel.source import FOLDER, needed, read, read_all
from rino_base.messages import InputError

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="Coq is not installed: apt-get install coq …")
SOURCES = read_all()
CLAIMED = {source.theorem: source for source in SOURCES.values() if source.theorem}
RECORDED = record.read(FOLDER)
DAILY = "T4"
EVERY = [DAILY, *(pytest.param(name, marks=pytest.mark.slow) for name in CLAIMED if name != DAILY)]

FORBIDDEN = [
    "Axiom cheat : False.",
    "Axioms cheat cheat' : False.",
    "Parameter cheat : False.",
    "Parameters cheat cheat' : False.",
    "Conjecture cheat : False.",
    "Variable cheat : False.",
    "Variables cheat cheat' : False.",
    "Hypothesis cheat : False.",
    "Hypotheses cheat cheat' : False.",
    "Context (cheat : False).",
    "Section Open. End Open. Hypothesis cheat : False.",
    "Lemma cheat : False. Proof. Admitted.",
    "Lemma cheat : False. Proof. admit. Qed.",
    "Lemma cheat : False. Proof. give_up. Qed.",
    "Lemma cheat : False. Proof. Abort.",
    "Program Definition cheat : False := _. Admit Obligations.",
    "Unset Guard Checking.",
    "Local Unset Positivity Checking.",
    "Unset\n  Universe (* so *) Checking.",
    "#[bypass_check(guard)] Fixpoint cheat (n : nat) : False := cheat n.",
    "Set Definitional UIP.",
    "Primitive cheat := #int63_add.",
    "Module Type T. End T.",
    "Declare Module M : T.",
    'Declare ML Module "elsewhere".',
    "Module M. Theorem t4_zero_sum : True. Proof. by []. Qed. End M.",
    'Load "elsewhere".',
    'Add LoadPath "elsewhere" as Rino.',
    'Add Rec LoadPath "elsewhere" as Rino.',
    'Add ML Path "elsewhere".',
    'Cd "elsewhere".',
    "Drop.",
    'Redirect "t4_zero_sum.axioms" Print nat.',
    'Extraction "query_t04_binary_advantages.v" nat.',
    "#[global] Set Printing Depth 1.",
    'Notation "x = y" := True : type_scope.',
    'Infix "==>" := or : type_scope.',
    "Coercion cheat : nat >-> bool.",
    "Canonical cheat := nat.",
    "Require Import Elsewhere.",
    "Require Rino.elsewhere.",
    "From Elsewhere Require Import all.",
    '(* "*)" *) Axiom cheat : False. (* *)',
    '(* (* *) *) Axiom cheat : False. (* " *)',
]
ALLOWED = [
    "(* Axiom cheat : False. *)",
    "(* (* *) Admitted. *)",
    '(* "*)" Axiom cheat : False. *)',
    "Section Here. Variable cheat : False. End Here.",
    "Local Notation two := 2.",
    "From Coq Require Import Lia.",
]


def changed(tmp_path, theorem, text):
    """The development with another text for one theorem's file."""
    for path in (*FOLDER.glob("*.v"), FOLDER / record.NAME):
        shutil.copy(path, tmp_path)
    path = tmp_path / CLAIMED[theorem].path.name
    path.write_text(text, encoding="utf-8")
    return path


def text_of(theorem):
    return CLAIMED[theorem].path.read_text(encoding="utf-8")


def with_line(theorem, line):
    """The file's text with a line more behind what it imports."""
    return text_of(theorem).replace("Local Open Scope ring_scope.\n", f"Local Open Scope ring_scope.\n{line}\n", 1)


def scanned(tmp_path, theorem, line):
    """What the scan finds once the file has this line too."""
    path, text = tmp_path / CLAIMED[theorem].path.name, with_line(theorem, line)
    assert text != text_of(theorem)
    path.write_text(text, encoding="utf-8")
    return read(path).forbidden


def first_claim(theorem):
    """The file's text before its first claim, the claim's statement, its proof, and what follows."""
    text = text_of(theorem)
    start = text.index("\nTheorem ") + 1
    proof = text.index("Proof.", start)
    end = text.index("Qed.", proof) + len("Qed.")
    return text[:start], text[start:proof], text[proof:end], text[end:]


def report_on(path, compiled, build, *, scanned=True):
    """What the command says of a changed file beside the others, compiled."""
    for file in compiled[0].glob("*.vo"):
        shutil.copy(file, build)
    source = read(path) if scanned else replace(read(path), forbidden=())
    (build / f"{source.module}.vo").unlink()
    coq = kernel.find_coq()
    outcome = kernel._outcome(coq, build, source, stands=True)
    again = {} if outcome.refused else kernel._check_again(coq, build, [source.module])
    return kernel._report(source, outcome, outcome.refused or again.get(source.module, ""), RECORDED)


@pytest.mark.parametrize("line", FORBIDDEN)
def test_the_scan_finds_what_no_proof_may_contain(tmp_path, line):
    for theorem, source in CLAIMED.items():
        assert not source.forbidden
        assert scanned(tmp_path, theorem, line), theorem


@pytest.mark.parametrize("line", ALLOWED)
def test_the_scan_lets_pass_what_is_harmless(tmp_path, line):
    for theorem in CLAIMED:
        assert not scanned(tmp_path, theorem, line), theorem


@needs_coq
def test_what_the_scan_finds_is_refused_and_so_is_what_stands_on_it(tmp_path):
    changed(tmp_path, DAILY, with_line(DAILY, "Axiom cheat : False."))
    (report,) = check([DAILY], folder=tmp_path)
    assert not report.verified
    assert "Axiom" in report.refused
    below = changed(tmp_path, DAILY, text_of(DAILY)).with_name("algebra.v")
    below.write_text(below.read_text(encoding="utf-8") + "Axiom cheat : False.\n", encoding="utf-8")
    (report,) = check([DAILY], folder=tmp_path)
    assert not report.verified
    assert report.refused.startswith("stands on algebra.v: ")
    assert "Axiom" in report.refused


def test_a_file_that_is_not_there_two_for_a_theorem_and_a_circle(tmp_path):
    changed(tmp_path, "T4", with_line("T4", "From Rino Require Import elsewhere."))
    with pytest.raises(InputError, match=r"binary_advantages[.]v needs elsewhere"):
        read_all(tmp_path)
    changed(tmp_path, "T4", with_line("T4", "From Rino Require Import t05_one_direction."))
    with pytest.raises(InputError, match=r"one_direction[.]v needs"):
        read_all(tmp_path)
    shutil.copy(changed(tmp_path, "T4", text_of("T4")), tmp_path / "t04_other.v")
    with pytest.raises(InputError, match="more than one file claims T4"):
        read_all(tmp_path)


def test_every_file_is_needed_by_a_theorem():
    assert set(needed([source.module for source in CLAIMED.values()], SOURCES)) == set(SOURCES)


def test_what_is_on_record_is_what_is_claimed():
    """No claim without a record, none with the name of another, and none on record that is gone."""
    names = [claim.name for source in CLAIMED.values() for claim in source.claims]
    assert sorted(RECORDED) == sorted(names)
    for source in CLAIMED.values():
        prefix, all_but_first = f"{source.theorem.lower()}_", [claim.name for claim in source.claims[1:]]
        assert record.missing(prefix, all_but_first, RECORDED).startswith(f"{record.NAME} has {source.claims[0].name}")
    assert "does not have it" in record.differs("t4_cheat", "True", RECORDED)
    broken = RECORDED["t4_zero_sum"].replace(" ", "\n")
    assert record.differs("t4_zero_sum", broken, RECORDED) == ""
    assert "does not state" in record.differs("t4_zero_sum", f"False -> {broken}", RECORDED)


@needs_coq
@pytest.mark.parametrize("theorem", EVERY)
def test_a_changed_statement_is_refused(tmp_path_factory, compiled, theorem):
    """Its proof does not prove that too."""
    before, statement, proof, after = first_claim(theorem)
    more = re.sub(r"\.\s*$", r" /\\ (0 = 1)%N.\n", statement)
    assert more != statement
    path = changed(tmp_path_factory.mktemp("folder"), theorem, before + more + proof + after)
    report = report_on(path, compiled, tmp_path_factory.mktemp("build"))
    assert not report.verified
    assert "Error" in report.refused


@needs_coq
@pytest.mark.parametrize("theorem", EVERY)
def test_a_changed_proof_is_refused(tmp_path_factory, compiled, theorem):
    before, statement, _, after = first_claim(theorem)
    path = changed(tmp_path_factory.mktemp("folder"), theorem, f"{before}{statement}Proof. exact: I. Qed.{after}")
    report = report_on(path, compiled, tmp_path_factory.mktemp("build"))
    assert not report.verified
    assert "Error" in report.refused


@needs_coq
@pytest.mark.parametrize("theorem", EVERY)
def test_a_hypothesis_more_is_refused(tmp_path_factory, compiled, theorem):
    """Of a section, so that the source of the statement is the same. Coq accepts the proof; the record does not."""
    before, statement, _, _ = first_claim(theorem)
    opened = re.findall(r"^(Section|End) (\w+)", before, re.MULTILINE)
    left = [name for word, name in opened if word == "Section" and ("End", name) not in opened]
    sneaky = f"Section Sneaky.\nHypothesis sneaky : False.\n{statement}Proof. by case: sneaky. Qed.\nEnd Sneaky.\n"
    ends = "".join(f"End {name}.\n" for name in reversed(left))
    path = changed(tmp_path_factory.mktemp("folder"), theorem, before + sneaky + ends)
    report = report_on(path, compiled, tmp_path_factory.mktemp("build"))
    (verdict,) = report.verdicts
    assert "False ->" in verdict.statement
    assert set(verdict.axioms) <= set(kernel.ALLOWED_AXIOMS)
    assert verdict.refused.startswith("it does not state what")
    assert not report.verified


@needs_coq
@pytest.mark.parametrize(
    ("line", "proof"),
    [
        ("Axiom cheat : False.", None),
        pytest.param("Axiom cheat : False.", "by case: cheat.", marks=pytest.mark.slow),
        ("Hypothesis cheat : False.", "by case: cheat."),
        pytest.param(
            "Unset Guard Checking. Fixpoint cheat (n : nat) : False := cheat n. Set Guard Checking.",
            "by case: (cheat 0).",
            marks=pytest.mark.slow,
        ),
        pytest.param("Lemma cheat : False. Admitted.", "by case: cheat.", marks=pytest.mark.slow),
    ],
)
def test_without_the_scan_coq_still_finds_it(tmp_path_factory, compiled, line, proof):
    before, statement, honest, after = first_claim(DAILY)
    text = before + statement + (f"Proof. {proof} Qed." if proof else honest) + after
    text = text.replace("Local Open Scope ring_scope.\n", f"Local Open Scope ring_scope.\n{line}\n", 1)
    path = changed(tmp_path_factory.mktemp("folder"), DAILY, text)
    report = report_on(path, compiled, tmp_path_factory.mktemp("build"), scanned=False)
    assert not report.verified
    assert "cheat" in report.refused


@needs_coq
def test_two_claims_of_one_name_are_refused(tmp_path_factory, compiled):
    before, statement, proof, after = first_claim(DAILY)
    path = changed(
        tmp_path_factory.mktemp("folder"), DAILY, before + statement + proof + "\n" + statement + proof + after
    )
    report = report_on(path, compiled, tmp_path_factory.mktemp("build"))
    assert "already exists" in report.refused
