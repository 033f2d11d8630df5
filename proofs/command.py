"""`rino prove`: check the theorems, show their derivations, and write them as LaTeX and JSON."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from proofs import render, tex
from proofs.kernel import command as kernel_command
from proofs.kernel.check import KernelReport, find_coq
from proofs.kernel.report import as_json as kernel_json
from proofs.theorem import Report, Theorem
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
}
"""Where each theorem is: a module with a function `theorem() -> Theorem`, imported when the command runs."""


def load(name: str) -> Theorem:
    """Return the theorem of this id, in upper or lower case; raise InputError with the nearest id if there is none."""
    key = name.strip().upper()
    if key not in MODULES:
        number = int("".join(filter(str.isdecimal, key)) or 1)
        nearest = min(MODULES, key=lambda known: abs(int(known[1:]) - number))
        raise InputError(f"there is no theorem {name!r}: there are {', '.join(MODULES)}", mend=f"rino prove {nearest}")
    theorem: Theorem = import_module(MODULES[key]).theorem()
    return theorem


def prove(
    theorem: str | None = None, /, *, latex: Path | None = None, json: Path | None = None, kernel: bool = False
) -> int:
    """Check the theorems symbolically, with the witness that breaks each when an assumption is dropped.

    Each step of each derivation is carried out by SymPy now; one that does not come out, or takes too long, fails with
    its two sides and their difference. Each witness is a concrete instance on which the conclusion holds with an
    assumption and fails without it.

    Args:
        theorem: The theorem to check and show line by line, such as T5. Without it all are checked.
        latex: A directory for one LaTeX file a theorem and a main.tex that compiles with a plain TeX installation.
        json: A file for the results.
        kernel: Also have Coq's kernel check the formal proofs, and print what each says and assumes.

    Returns:
        0 if everything is verified, 1 if a step or a witness fails or the kernel refuses a proof.

    Raises:
        InputError: There is no such theorem, or no Coq for `kernel`.
    """
    theorems = [load(name) for name in ([theorem] if theorem else MODULES)]
    ids = [theorem.id for theorem in theorems]
    if kernel:
        find_coq()  # Before anything is computed.
    reports = check_all(theorems)
    formal = kernel_command.check_all(ids) if kernel else []
    if theorem:
        print(render.text(reports[0]))
    else:
        print("".join(map(render.failures, reports)), end="")
    if latex:
        write_latex(latex, reports, formal)
    if json:
        results: dict[str, object] = {"theorems": [as_json(report) for report in reports]}
        write_json(json, results | ({"kernel": kernel_json(formal, ids)} if kernel else {}))
    print_table(
        "Theorems",
        ("theorem", "title", "steps verified", "symbolic", "enumerated", "witnesses", "seconds"),
        map(_row, reports),
    )
    if kernel:
        kernel_command.show(formal, ids)
    accepted = all(report.verified for report in reports) and all(report.verified for report in formal)
    return 0 if accepted else 1


def check_all(theorems: list[Theorem]) -> list[Report]:
    """Check the theorems one after the other, under a progress bar that counts steps and witnesses."""
    with progress_bar() as bar:
        task = bar.add_task("prove", total=sum(len(theorem.steps) + len(theorem.witnesses) for theorem in theorems))
        reports = []
        for theorem in theorems:
            bar.update(task, description=f"prove {theorem.id}")
            reports.append(theorem.check(done=_advance(bar.advance, task)))
    return reports


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
        "assumptions": list(theorem.assumptions),
        "verified": report.verified,
        "symbolic": theorem.symbolic,
        "enumerated": theorem.enumerated,
        "steps": [
            {
                "claim": step.claim,
                "equation": f"{step.left} {step.relation} {step.right}",
                "rule": step.rule,
                "given": step.why_given,
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
                "instance": witness.instance,
                "conclusion": witness.conclusion,
                "verified": outcome.verified,
                "numbers": outcome.detail,
                "seconds": outcome.seconds,
            }
            for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True)
        ],
        "remark": theorem.remark,
        "seconds": report.seconds,
    }


def _advance(advance: Callable, task: int) -> Callable[[], None]:
    return lambda: advance(task)


def _row(report: Report) -> tuple[object, ...]:
    def share(outcomes: tuple) -> str:
        return f"{sum(outcome.verified for outcome in outcomes)}/{len(outcomes)}"

    theorem = report.theorem
    steps, witnesses = share(report.steps), share(report.witnesses)
    return theorem.id, theorem.title, steps, theorem.symbolic, theorem.enumerated, witnesses, round(report.seconds, 2)
