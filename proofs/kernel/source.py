"""The Coq sources as text: which file claims which theorem, in what words, and what no proof may contain."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rino_base.messages import InputError

FOLDER = Path(__file__).parent

_FORBIDDEN = re.compile(
    r"\b(Admitted|[Aa]dmit|give_up|Abort|Axioms?|Parameters?|Conjectures?|Primitive|Unset\s+\w+\s+Checking|"
    r"bypass_check|Definitional\s+UIP|Declare\s+ML\s+Module|Module|Load|Cd|Drop|Add\s+(?:Rec\s+)?(?:LoadPath|ML\s+Path)|"
    r"Redirect|Extraction|Set\s+Printing|(?<!Local )(?<!Tactic )Notation|Infix)\b"
)
"""What would let a claim pass without a proof, let a source reach beyond itself, or let a statement be printed as
another. `Print Assumptions` finds the axioms that a theorem uses; this finds those that it does not use yet."""

_OF_A_THEOREM = re.compile(r"\b(Coercion|Canonical)\b")
"""What changes how a statement reads: `definitions.v` may, as a reader reads it; a theorem's file may not."""

_ASSUMED = re.compile(r"\b(Section|End|Variables?|Hypothes[ie]s|Context)\b")
"""Outside of a section, the last three are axioms."""

_REQUIRED = re.compile(r"(?:\bFrom\s+(\w+)\s+)?\bRequire\b(?:\s+(?:Import|Export)\b)?([^.]*)")
_LIBRARIES = ("mathcomp", "Coq", "Coquelicot")

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
    needs = [names for library, names in _REQUIRED.findall(code) if library == "Rino"]
    missing = re.search(r"\(\*\*\s*Open:(.*?)\*\)", text, re.DOTALL)
    return Source(
        path=path,
        theorem=theorem,
        needs=tuple(name for names in needs for name in names.split()),
        claims=tuple(_claims(text, code, f"t{int(number[1])}_")) if number else (),
        open=_one_line(missing[1]) if missing else "",
        forbidden=tuple(_forbidden(code, of_a_theorem=bool(number))),
        preamble=tuple(_one_line(words) for words in _PREAMBLE.findall(code)),
    )


def read_all(folder: Path = FOLDER) -> dict[str, Source]:
    """Every file of the development by module name, each after the files that it needs.

    Raises:
        InputError: Files need each other in a circle, or one that is not there; or two claim one theorem.
    """
    sources = {path.stem: read(path) for path in sorted(folder.glob("*.v"))}
    claimed = [source.theorem for source in sources.values() if source.theorem]
    if twice := {theorem for theorem in claimed if claimed.count(theorem) > 1}:
        raise InputError(
            f"{folder}: more than one file claims {', '.join(sorted(twice))}",
            mend="write one file for a theorem, tNN_subject.v",
        )
    ordered: dict[str, Source] = {}
    while len(ordered) < len(sources):
        ready = [name for name in sources if name not in ordered and set(sources[name].needs) <= set(ordered)]
        if not ready:
            left = {name: set(sources[name].needs) - set(ordered) for name in set(sources) - set(ordered)}
            words = "; ".join(f"{name}.v needs {', '.join(sorted(needs))}" for name, needs in sorted(left.items()))
            raise InputError(f"{folder}: {words}", mend="a file may need files of this folder, and not in a circle")
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


def _forbidden(code: str, *, of_a_theorem: bool) -> Iterator[str]:
    depth = 0
    found = [*_FORBIDDEN.finditer(code), *(_OF_A_THEOREM.finditer(code) if of_a_theorem else ())]
    for word in _ASSUMED.finditer(code):
        depth += {"Section": 1, "End": -1}.get(word[1], 0)
        if word[1] not in ("Section", "End") and depth < 1:
            found.append(word)
    found += [asked for asked in _REQUIRED.finditer(code) if asked[1] not in ("Rino", *_LIBRARIES)]
    for word in sorted(found, key=re.Match.start):
        yield f"line {code.count(chr(10), 0, word.start()) + 1}: {_one_line(word[0])}"


def _one_line(words: str) -> str:
    return " ".join(words.split())
