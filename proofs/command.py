"""`rino prove`: check the theorems, show their derivations, and write them as LaTeX and JSON."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from proofs import render, tex
from proofs.corrupt import KINDS, Attack, attack
from proofs.kernel import command as kernel_command
from proofs.kernel.check import KernelReport, find_coq
from proofs.kernel.report import as_json as kernel_json
from proofs.parts import Definition
from proofs.theorem import Theorem
from proofs.verify import Report, verify
from rino_base.files import write_json, write_text
from rino_base.messages import InputError, print_table
from rino_base.progress import progress_bar

MODULES: Mapping[str, str] = {
    "T1": "proofs.t01_bandit",
    "T2": "proofs.t02_uniform_split",
    "T3": "proofs.t03_per_sample",
    "T4": "proofs.t04_binary_advantages",
    "T5": "proofs.t05_one_direction",
    "T6": "proofs.t06_effective_objective",
    "T7": "proofs.t07_off_policy",
    "T8": "proofs.t08_kl_terms",
    "T9": "proofs.t09_length",
    "T10": "proofs.t10_partial_credit",
    "T11": "proofs.t11_credit_in_expectation",
    "T12": "proofs.t12_variance",
    "T13": "proofs.t13_equivalences",
    "T14": "proofs.t14_amplification",
    "T15": "proofs.t15_optimisers",
    "T16": "proofs.t16_rates",
    "T17": "proofs.t17_noise",
    "T18": "proofs.t18_environment",
}
"""Where each theorem is: a module with a function `theorem() -> Theorem`, imported when the command runs."""


def load(name: str) -> Theorem:
    """Return the theorem of this id, in upper or lower case; raise InputError with the nearest id if there is none."""
    key = name.strip().upper()
    if key not in MODULES:
        number = int("".join(filter(str.isdecimal, key[:9])) or 1)
        nearest = min(MODULES, key=lambda known: abs(int(known[1:]) - number))
        raise InputError(f"there is no theorem {name!r}: there are {', '.join(MODULES)}", mend=f"rino prove {nearest}")
    theorem: Theorem = import_module(MODULES[key]).theorem()
    return theorem


def prove(
    theorem: str | None = None,
    /,
    *,
    latex: Path | None = None,
    json: Path | None = None,
    kernel: bool = False,
    corrupt: bool = False,
) -> int:
    """Check the theorems symbolically, with the witness that breaks each when an assumption is dropped.

    Each step of each derivation is carried out by SymPy now; one that does not come out, or takes too long, fails with
    its two sides and their difference. Steps have to join: each begins with what the step before, a definition or a
    cited step ends with, and the statement has the formulas that the chains end with. Each witness is a concrete
    instance on which a conclusion holds with an assumption and fails without it.

    Args:
        theorem: The theorem to check and show line by line, such as T5. Without it all are checked.
        latex: A directory for one LaTeX file a theorem and a main.tex that compiles with a plain TeX installation.
        json: A file for the results.
        kernel: Also have Coq's kernel check the formal proofs, and print what each says and assumes.
        corrupt: Also change one part of each theorem at a time, and count the changes that the check notices.

    Returns:
        0 if everything is verified, 1 if a step, a joint or a witness fails, the kernel refuses a proof, or a
        corruption is not noticed.

    Raises:
        InputError: There is no such theorem, or no Coq for `kernel`.
    """
    theorems = [load(name) for name in (MODULES if theorem is None else [theorem])]
    ids = [theorem.id for theorem in theorems]
    results_of = {theorem.id: theorem.results for theorem in theorems}
    if kernel:
        find_coq()  # Before anything is computed.
    reports = check_all(theorems)
    formal = kernel_command.check_all(ids) if kernel else []
    attacks = attack_all(theorems) if corrupt else []
    if theorem:
        print(render.text(reports[0]))
    else:
        print("".join(map(render.failures, reports)), end="")
    if latex:
        write_latex(latex, reports, formal)
    if json:
        entries = [as_json(report) for report in reports]
        for entry, found in zip(entries, attacks, strict=False):
            entry["corruptions"] = corruptions_json(found)
        results: dict[str, object] = {"theorems": entries}
        write_json(json, results | ({"kernel": kernel_json(formal, results_of)} if kernel else {}))
    print_table(
        "Theorems",
        ("theorem", "title", "steps verified", "chains", "symbolic", "enumerated", "witnesses", "seconds"),
        map(_row, reports),
    )
    if kernel:
        kernel_command.show(formal, results_of)
    if corrupt:
        show_attacks(ids, attacks)
    accepted = all(report.verified for report in reports) and all(report.verified for report in formal)
    return 0 if accepted and not any(found.missed for found in attacks) else 1


def check_all(theorems: list[Theorem]) -> list[Report]:
    """Check the theorems one after the other, under a progress bar that counts steps and witnesses.

    A theorem that cites another one is not verified unless that one is; it is checked too.
    """
    wanted = {theorem.id: theorem for theorem in theorems}
    cited = {other.id: other for theorem in theorems for other in theorem.after if other.id not in wanted}
    with progress_bar() as bar:
        every = {**cited, **wanted}
        parts = sum(len(theorem.steps) + len(theorem.witnesses) for theorem in every.values())
        task = bar.add_task("prove", total=parts)
        reports = {}
        for name, theorem in every.items():
            bar.update(task, description=f"prove {name}")
            reports[name] = verify(theorem, done=_advance(bar.advance, task))
    return [_with_cited(reports[name], reports) for name in wanted]


def attack_all(theorems: list[Theorem]) -> list[Attack]:
    """Try every corruption of the theorems, under a progress bar that counts theorems."""
    with progress_bar() as bar:
        task = bar.add_task("corrupt", total=len(theorems))
        found = []
        for theorem in theorems:
            bar.update(task, description=f"corrupt {theorem.id}")
            found.append(attack(theorem))
            bar.advance(task)
    return found


def show_attacks(ids: list[str], attacks: list[Attack]) -> None:
    """Print how many corruptions of each kind were tried and caught, and each that was not."""
    for name, found in zip(ids, attacks, strict=True):
        for missed in found.missed:
            print(f"{name}, corruption not noticed: {missed.kind}: {missed.part}")
    kinds = [
        (kind, what, sum(found.tried[kind] for found in attacks), sum(found.caught(kind) for found in attacks))
        for kind, what in KINDS.items()
    ]
    print_table("Corruptions", ("kind", "what is changed", "tried", "caught"), [*kinds, _total(kinds)])


def _total(kinds: list[tuple[str, str, int, int]]) -> tuple[object, ...]:
    return "all", "", sum(row[2] for row in kinds), sum(row[3] for row in kinds)


def _with_cited(report: Report, reports: Mapping[str, Report]) -> Report:
    broken = [other.id for other in report.theorem.after if not reports[other.id].verified]
    faults = tuple(f"{name}, which it cites, is not verified" for name in broken)
    return replace(report, faults=report.faults + faults)


def write_latex(directory: Path, reports: list[Report], formal: list[KernelReport]) -> None:
    """Write one file a theorem, with its statements in Coq, and main.tex which reads them."""
    for report in reports:
        statements = kernel_command.latex(report.theorem.id, formal)
        write_text(directory / f"{report.theorem.id}.tex", tex.theorem_file(report) + statements)
    write_text(directory / "main.tex", tex.main_file([report.theorem.id for report in reports]))


def as_json(report: Report) -> dict[str, object]:
    """The result of one theorem in the form that docs/proofs.md describes."""
    theorem = report.theorem
    return {
        "id": theorem.id,
        "title": theorem.title,
        "statement": theorem.statement,
        "results": [{"name": name, "formula": formula} for name, formula in theorem.formulas().items()],
        "definitions": [_definition(part) for part in theorem.definitions],
        "assumptions": [part.name for part in theorem.assumptions],
        "verified": report.verified,
        "symbolic": theorem.symbolic,
        "enumerated": theorem.enumerated,
        "faults": list(report.faults),
        "steps": [
            {
                "claim": step.claim,
                "equation": f"{step.left} {step.relation} {step.right}",
                "rule": step.rule,
                "begins": str(step.begins) or "the step before",
                "given": "; ".join(map(str, (*step.given, *step.where))),
                "name": step.name,
                "verified": outcome.verified,
                "detail": outcome.detail,
                "seconds": outcome.seconds,
            }
            for step, outcome in zip(theorem.steps, report.steps, strict=True)
        ],
        "witnesses": [
            {
                "dropped": witness.dropped,
                "about": witness.about,
                "instance": witness.instance,
                "conclusion": witness.conclusion,
                "verified": outcome.verified,
                "numbers": outcome.detail,
                "seconds": outcome.seconds,
            }
            for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True)
        ],
        "not_proved": list(theorem.not_proved),
        "remark": theorem.remark,
        "seconds": report.seconds,
    }


def corruptions_json(found: Attack) -> dict[str, object]:
    """How many corruptions of a theorem were tried and caught, by kind, and those that were not."""
    return {
        "tried": sum(found.tried.values()),
        "caught": sum(map(found.caught, found.tried)),
        "kinds": {kind: {"tried": tried, "caught": found.caught(kind)} for kind, tried in found.tried.items()},
        "missed": [f"{missed.kind}: {missed.part}" for missed in found.missed],
    }


def _definition(part: Definition) -> dict[str, str]:
    equations = [f"{left} = {right}" for left, right in part.equations.items()]
    bodies = [] if part.body is None else [f"{part.letter} := {part.body}" if part.letter else str(part.body)]
    return {"name": part.name, "words": part.words, "formula": "; ".join([*bodies, *equations])}


def _advance(advance: Callable, task: int) -> Callable[[], None]:
    return lambda: advance(task)


def _row(report: Report) -> tuple[object, ...]:
    def share(outcomes: tuple) -> str:
        return f"{sum(outcome.verified for outcome in outcomes)}/{len(outcomes)}"

    theorem = report.theorem
    steps, witnesses = share(report.steps), share(report.witnesses)
    joints = "fault" if report.faults else "whole"
    values = theorem.symbolic, theorem.enumerated
    return theorem.id, theorem.title, steps, joints, *values, witnesses, round(report.seconds, 2)
