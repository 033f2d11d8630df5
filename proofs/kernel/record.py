"""The closed statements that Coq accepted when a person last read them: what a claim says cannot change in silence.

A proof of less is a proof too: with a hypothesis more, a statement may hold for no reason. So `rino prove --kernel`
refuses a claim whose statement is not the one in `statements.txt`. `python -m proofs.kernel.accept` writes that file
anew, as Debian's Coq 8.16 prints statements; its difference is what there is to read.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

NAME = "statements.txt"


def read(folder: Path) -> dict[str, str]:
    """By name of a claim, its statement as Coq prints it. Nothing if there is no such file."""
    path = folder / NAME
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n") if path.exists() else []
    parts = (block.partition(" :\n") for block in blocks)
    return {name: statement for name, _, statement in parts}


def write(folder: Path, statements: Mapping[str, str]) -> None:
    """Write them, by name."""
    text = "\n\n".join(f"{name} :\n{statement}" for name, statement in sorted(statements.items()))
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def differs(name: str, statement: str, recorded: Mapping[str, str]) -> str:
    """Why a claim is not the one on record; empty if it is. Line breaks do not count."""
    if name not in recorded:
        return f"{NAME} does not have it"
    same = recorded[name].split() == statement.split()
    return "" if same else f"it does not state what {NAME} has: {' '.join(recorded[name].split())}"


def missing(prefix: str, names: Iterable[str], recorded: Mapping[str, str]) -> str:
    """The claims of a theorem ("t4_") that are on record and no longer in its file; empty if all are there."""
    lost = sorted(name for name in recorded if name.startswith(prefix) and name not in set(names))
    return f"{NAME} has {', '.join(lost)}, which the file does not prove" if lost else ""
