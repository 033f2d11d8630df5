"""The Coq sources as text: which file claims which theorem, in what words, and what no proof may contain."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent

_FORBIDDEN = re.compile(
    r"\b(Admitted|admit|give_up|Abort|Axioms?|Parameters?|Conjectures?|Unset\s+\w+\s+Checking|bypass_check|"
    r"Declare\s+(?:ML\s+Module|Module)|Load|Add\s+LoadPath|Redirect)\b"
)
"""What would let a claim pass without a proof, or let a source reach beyond itself. `Print Assumptions` finds the
axioms that a theorem uses; this finds those that it does not use yet."""

_PREAMBLE = re.compile(r"^(?:From\s+\w+\s+Require|Import|Local\s+Open\s+Scope)\b.*?\.(?=\s)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """One formal theorem: its name in Coq, the words in front of it, and its statement as the source has it."""

    name: str
    words: str
    text: str

    @property
    def counterexample(self) -> bool:
        """Whether it says that a theorem fails once an assumption is dropped."""
        return "_without_" in self.name


@dataclass(frozen=True)
class Source:
    """One file of the development.

    Attributes:
        path: where it is.
        theorem: "T5", or "" for a file of definitions and lemmas.
        needs: the other files of the development that it requires, by module name.
        claims: its theorems, in order.
        open: what of the theorem is not proved here, in words; empty if nothing is known to be missing.
        forbidden: commands that no proof may contain, with their lines.
        preamble: what it imports and opens, in its own words, so that its statements can be printed as it writes them.
    """

    path: Path
    theorem: str
    needs: tuple[str, ...]
    claims: tuple[Claim, ...]
    open: str
    forbidden: tuple[str, ...]
    preamble: tuple[str, ...]

    @property
    def module(self) -> str:
        return self.path.stem


def read(path: Path) -> Source:
    """Read one file."""
    text = path.read_text(encoding="utf-8")
    code = without_comments(text)
    number = re.match(r"t(\d+)_", path.stem)
    theorem = f"T{int(number[1])}" if number else ""
    needs = re.findall(r"From\s+Rino\s+Require\s+(?:Import|Export)?\s*([\w\s]+)\.", code)
    missing = re.search(r"\(\*\*\s*Open:(.*?)\*\)", text, re.DOTALL)
    return Source(
        path=path,
        theorem=theorem,
        needs=tuple(name for names in needs for name in names.split()),
        claims=tuple(_claims(text, code, f"t{int(number[1])}_")) if number else (),
        open=_one_line(missing[1]) if missing else "",
        forbidden=tuple(_forbidden(code)),
        preamble=tuple(_one_line(words) for words in _PREAMBLE.findall(code)),
    )


def read_all(folder: Path = FOLDER) -> dict[str, Source]:
    """Every file of the development by module name, each after the files that it needs.

    Raises:
        ValueError: Files need each other in a circle, or one that is not there.
    """
    sources = {path.stem: read(path) for path in sorted(folder.glob("*.v"))}
    ordered: dict[str, Source] = {}
    while len(ordered) < len(sources):
        ready = [name for name in sources if name not in ordered and set(sources[name].needs) <= set(ordered)]
        if not ready:
            raise ValueError(
                f"{folder}: no order in which {', '.join(sorted(set(sources) - set(ordered)))} can be compiled"
            )
        ordered |= {name: sources[name] for name in ready}
    return ordered


def needed(modules: list[str], sources: dict[str, Source]) -> list[str]:
    """These modules and all that they stand on, each after what it needs."""
    wanted = set(modules)
    for name in reversed(sources):
        if name in wanted:
            wanted |= set(sources[name].needs)
    return [name for name in sources if name in wanted]


def without_comments(text: str) -> str:
    """The text with its comments (which nest in Coq) and strings blanked; lines keep their numbers."""
    out, depth, at, quoted = [], 0, 0, False
    while at < len(text):
        pair = text[at : at + 2]
        if not quoted and pair in ("(*", "*)") and (pair == "(*" or depth):
            depth += 1 if pair == "(*" else -1
            at, blank = at + 2, "  "
        else:
            quoted ^= text[at] == '"'
            blank = text[at] if not (depth or quoted or text[at] == '"') or text[at] == "\n" else " "
            at += 1
        out.append(blank)
    return "".join(out)


def _claims(text: str, code: str, prefix: str) -> Iterator[Claim]:
    for found in re.finditer(rf"\b(?:Theorem|Lemma|Corollary|Fact)\s+({prefix}\w+)(.*?)\bProof\b", code, re.DOTALL):
        words = re.search(r"\(\*\*((?:(?!\(\*).)*?)\*\)\s*$", text[: found.start()], re.DOTALL)
        statement = text[found.start() : found.end() - len("Proof")].strip()
        yield Claim(found[1], _one_line(words[1]) if words else "", statement)


def _forbidden(code: str) -> Iterator[str]:
    for found in _FORBIDDEN.finditer(code):
        yield f"line {code.count(chr(10), 0, found.start()) + 1}: {_one_line(found[0])}"


def _one_line(words: str) -> str:
    return " ".join(words.split())
