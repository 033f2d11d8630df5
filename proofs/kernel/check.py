"""Have Coq check the theorems: compile with `coqc`, check what it wrote with `coqchk`, and list what each assumes."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path

from proofs.kernel import record
from proofs.kernel.source import FOLDER, Claim, Source, needed, read_all
from rino_base.messages import InputError

PACKAGES = ("coq", "libcoq-mathcomp", "libcoq-coquelicot", "libcoq-mathcomp-analysis")
"""Debian's names; `coqchk` comes with the first."""

TIME_LIMIT = 200
"""Seconds of processor time for one file, so that a busy machine refuses nothing that a quiet one accepts."""

ALLOWED_AXIOMS = {
    "ClassicalDedekindReals.sig_forall_dec": "the real numbers of Coq's library",
    "ClassicalDedekindReals.sig_not_dec": "the real numbers of Coq's library",
    "FunctionalExtensionality.functional_extensionality_dep": "functions with equal values are equal",
    "functional_extensionality_dep": "functions with equal values are equal",
    "Classical_Prop.classic": "excluded middle",
    "classic": "excluded middle",
    "Epsilon.epsilon_statement": "choice (Coquelicot)",
    "boolp.propositional_extensionality": "equivalent propositions are equal (MathComp)",
    "boolp.functional_extensionality_dep": "functions with equal values are equal (MathComp)",
    "boolp.constructive_indefinite_description": "choice (MathComp)",
}
"""The axioms of classical mathematics that Coq's real numbers and MathComp bring along. Anything else is refused."""


@dataclass(frozen=True)
class Verdict:
    """What Coq says of one claim, and whether that is what is on record (`record.py`).

    Attributes:
        claim: the claim.
        statement: its closed statement, as Coq prints it; empty if Coq refused the file.
        axioms: what its proof assumes, as Coq lists it.
        refused: why it does not count as proved; empty if it does.
    """

    claim: Claim
    statement: str
    axioms: tuple[str, ...]
    refused: str = ""


@dataclass(frozen=True)
class KernelReport:
    """One theorem: its verdicts, and why the file as a whole is refused (empty if it is not)."""

    source: Source
    verdicts: tuple[Verdict, ...]
    refused: str
    seconds: float

    @property
    def verified(self) -> bool:
        return not self.refused and bool(self.verdicts) and not any(verdict.refused for verdict in self.verdicts)


def find_coq() -> Path:
    """The folder of `coqc` and `coqchk`; raise InputError where they or the libraries are not installed."""
    coqc = shutil.which("coqc")
    mend = f"apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if coqc is None or shutil.which("coqchk") is None:
        raise InputError("the kernel's proofs need Coq, and there is no coqc on this machine", mend=mend)
    where = subprocess.run([coqc, "-where"], capture_output=True, text=True, check=True).stdout.strip()
    for library in ("mathcomp/algebra", "mathcomp/analysis", "Coquelicot"):
        if not (Path(where) / "user-contrib" / library).is_dir():
            raise InputError(f"the kernel's proofs need Coq's library {library}, which {where} lacks", mend=mend)
    return Path(coqc).parent


def check(
    theorems: Sequence[str] | None = None,
    *,
    folder: Path = FOLDER,
    build: Path | None = None,
    on_record: bool = True,
    done: Callable[[str], None] = lambda module: None,
) -> list[KernelReport]:
    """Compile and check these theorems ("T5"; without them all) and everything that they stand on.

    What Coq writes goes into the folder `build`, by default a temporary one. Without `on_record` statements may be
    others than those on record. `done` is called with the name of each compiled file.

    Raises:
        InputError: Coq is not installed, or files are missing.
    """
    coq = find_coq()
    sources = read_all(folder)
    recorded = record.read(folder) if on_record else None
    claimed = [
        name for name in sources if sources[name].theorem and (not theorems or sources[name].theorem in theorems)
    ]
    with nullcontext(build) if build else tempfile.TemporaryDirectory(prefix="rino-kernel-") as place:
        build = Path(place)
        order = needed(claimed, sources)
        outcomes = _compile_all(coq, build, {name: sources[name] for name in order}, done)
        compiled = [name for name in order if not outcomes[name].refused]
        refused = {name: outcomes[name].refused for name in order} | _check_again(coq, build, compiled)
    reports = []
    for name in claimed:
        culprits = [need for need in needed([name], sources) if refused[need] and need != name]
        reason = f"stands on {culprits[0]}.v: {refused[culprits[0]]}" if culprits else refused[name]
        reports.append(_report(sources[name], outcomes[name], reason, recorded))
    return reports


def _report(source: Source, outcome: "_Outcome", reason: str, recorded: Mapping[str, str] | None) -> KernelReport:
    """What came of a file, beside what is on record (without a record, no claim has to be there)."""
    verdicts = () if reason else outcome.verdicts
    if recorded is not None:
        names = [claim.name for claim in source.claims]
        reason = reason or record.missing(f"{source.theorem.lower()}_", names, recorded)
        verdicts = tuple(
            replace(one, refused=one.refused or record.differs(one.claim.name, one.statement, recorded))
            for one in verdicts
        )
    return KernelReport(source, verdicts, reason, outcome.seconds)


@dataclass(frozen=True)
class _Outcome:
    """What became of one file: why it is refused (empty if it is not), what Coq says of its claims, and the time."""

    refused: str
    verdicts: tuple[Verdict, ...]
    seconds: float


def _compile_all(
    coq: Path, build: Path, sources: Mapping[str, Source], done: Callable[[str], None]
) -> dict[str, _Outcome]:
    """Compile files, each after those that it needs, as many at a time as there are processors."""
    order = TopologicalSorter({name: source.needs for name, source in sources.items()})
    order.prepare()
    outcomes: dict[str, _Outcome] = {}
    running: dict[Future[_Outcome], str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while order.is_active():
            for name in order.get_ready():
                stands = all(need in outcomes and not outcomes[need].refused for need in sources[name].needs)
                running[pool.submit(_outcome, coq, build, sources[name], stands=stands)] = name
            for finished in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(finished)
                outcomes[name] = finished.result()
                order.done(name)
                done(name)
    return outcomes


def _outcome(coq: Path, build: Path, source: Source, *, stands: bool) -> _Outcome:
    if not stands:
        return _Outcome("stands on a file that is refused", (), 0.0)
    start = time.perf_counter()
    shutil.copy(source.path, build)
    reason = _compile(coq, build, source)
    verdicts = _verdicts(coq, build, source) if source.claims and not reason else ()
    return _Outcome(reason, verdicts, time.perf_counter() - start)


def _compile(coq: Path, build: Path, source: Source) -> str:
    """Compile one file; why it is refused, or nothing."""
    if source.forbidden:
        return f"{source.path.name}, {source.forbidden[0]}: no proof may contain this"
    compiled = _run([coq / "coqc", "-q", "-w", "none", "-Q", ".", "Rino", source.path.name], build)
    return _one_message(compiled.stdout + compiled.stderr, build) if compiled.returncode else ""


def _check_again(coq: Path, build: Path, names: Sequence[str]) -> dict[str, str]:
    """Have coqchk check compiled files; for those that it refuses, why. All at once, and one by one to find which."""
    if not names:
        return {}
    # -norec: the files of this development are checked again, the installed libraries are taken as they are.
    asked = [word for name in names for word in ("-norec", f"Rino.{name}")]
    checked = _run([coq / "coqchk", "-silent", "-o", *asked, "-Q", ".", "Rino"], build)
    printed = checked.stdout + checked.stderr
    own = re.findall(r"^\s+(Rino\.\S+)", printed, re.MULTILINE)
    if not checked.returncode and not own:
        return {}
    if len(names) > 1:
        return {name: reason for one in names for name, reason in _check_again(coq, build, [one]).items()}
    return {names[0]: f"coqchk finds what nothing proves: {', '.join(own)}" if own else _one_message(printed, build)}


def _verdicts(coq: Path, build: Path, source: Source) -> tuple[Verdict, ...]:
    """Ask Coq for the statement of each claim of a compiled file, and for what its proof assumes."""

    def ask(answer: str, command: str) -> list[str]:
        return [f'Redirect "{claim.name}.{answer}" {command}{source.module}.{claim.name}.' for claim in source.claims]

    lines = [
        f"From Rino Require {source.module}.",
        *ask("axioms", "Print Assumptions "),  # Before anything is imported: names in full.
        *source.preamble,
        f"From Rino Require Import {source.module}.",
        "Unset Printing Implicit Defensive. Set Printing Width 110.",
        *ask("statement", "Check @"),
    ]
    query = build / f"query_{source.module}.v"
    query.write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = _run([coq / "coqc", "-q", "-w", "none", "-Q", ".", "Rino", query.name], build)
    if asked.returncode:
        reason = _one_message(asked.stdout + asked.stderr, build)
        return tuple(Verdict(claim, "", (), reason) for claim in source.claims)
    return tuple(_verdict(build, claim) for claim in source.claims)


def _verdict(build: Path, claim: Claim) -> Verdict:
    statement = (build / f"{claim.name}.statement.out").read_text(encoding="utf-8")
    axioms = assumptions((build / f"{claim.name}.axioms.out").read_text(encoding="utf-8"))
    unlisted = [axiom for axiom in axioms if axiom not in ALLOWED_AXIOMS]
    refused = f"assumes {', '.join(unlisted)}, which is none of the standard axioms" if unlisted else ""
    return Verdict(claim, _dedent(statement.partition("\n     : ")[2]), axioms, refused)


def assumptions(printed: str) -> tuple[str, ...]:
    """The names that `Print Assumptions` printed; a line that names no axiom (a disabled guard, say) stands whole."""
    if printed.strip() == "Closed under the global context":
        return ()
    lines = [line for line in printed.splitlines() if line and not line.startswith(" ") and line != "Axioms:"]
    return tuple(line.split(" :")[0].strip() for line in lines)


def _run(command: Sequence[object], folder: Path) -> subprocess.CompletedProcess[str]:
    limited = ["sh", "-c", f'ulimit -t {TIME_LIMIT}; exec "$@"', "sh", *map(str, command)]
    ended = subprocess.run(limited, cwd=folder, capture_output=True, text=True)
    if ended.returncode < 0:
        words = f"no answer within {TIME_LIMIT} s of processor time, or killed"
        return subprocess.CompletedProcess(ended.args, ended.returncode, "", words)
    return ended


def _one_message(output: str, build: Path) -> str:
    return " ".join(output.replace(f"{build}/", "").split())


def _dedent(statement: str) -> str:
    """What Coq printed after the colon, which stands seven columns in."""
    return "\n".join(line.removeprefix(" " * 7) for line in statement.rstrip().splitlines())
