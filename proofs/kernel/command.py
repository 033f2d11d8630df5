"""The kernel's part of `rino prove`: which theorems to check, what to print, what to write."""

from collections.abc import Collection, Mapping, Sequence

from proofs.kernel import report
from proofs.kernel.check import KernelReport, check
from proofs.kernel.source import needed, read_all
from rino_base.messages import print_table
from rino_base.progress import progress_bar


def check_all(theorems: Collection[str]) -> list[KernelReport]:
    """Have Coq check the formal proofs of these theorems, under a progress bar that counts files."""
    sources = read_all()
    files = needed([name for name in sources if sources[name].theorem in theorems], sources)
    with progress_bar() as bar:
        task = bar.add_task("coqc, coqchk", total=len(files))

        def done(name: str) -> None:
            bar.update(task, advance=1, description=f"coqc, coqchk {name}")

        return check(list(theorems), done=done)


def show(reports: Sequence[KernelReport], theorems: Mapping[str, Sequence[str]]) -> None:
    """Print every claim with its words, its formal statement and its axioms, then one line a theorem.

    `theorems` has the names of the results of each theorem: which of them are open is computed from the claims.
    """
    found = {kernel_report.source.theorem: kernel_report for kernel_report in reports}
    print("\n".join(report.text(found[name], theorems[name]) for name in theorems if name in found))
    print("".join(map(report.refusals, reports)), end="")
    rows = [
        report.row(found[name], results)
        if name in found
        else (name, None, None, f"0/{len(results)}", None, report.missing(None, name, results), None)
        for name, results in theorems.items()
    ]
    print_table("Kernel", report.COLUMNS, rows)


def latex(theorem: str, reports: Sequence[KernelReport]) -> str:
    """The formal statements of a theorem for its LaTeX file; empty if it has none."""
    found = {kernel_report.source.theorem: kernel_report for kernel_report in reports}
    return "".join(
        report.latex(source, found.get(theorem)) for source in read_all().values() if source.theorem == theorem
    )
