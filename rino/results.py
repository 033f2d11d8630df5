"""What the Python API returns: frozen, printable, and the same JSON as the command line writes (docs/json.md)."""

import copy
import html
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rino_base.messages import format_cell, format_numbers, table_text

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from mdp_theory.methods.objectives import Objective

Row = Sequence[object]
Rows = Sequence[Row]


class Result(ABC):
    """A headline, a table and JSON. `repr` is the headline, `print` adds the table, a notebook shows both."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """What was found, in one line."""

    @abstractmethod
    def table(self) -> tuple[Row, Rows]:
        """The names of the columns, and the rows."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`: the object that the command of the same name writes."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.headline}>"

    def __str__(self) -> str:
        columns, rows = self.table()
        return f"{self.headline}\n{table_text([str(column) for column in columns], rows)}"

    def _repr_html_(self) -> str:
        columns, rows = self.table()
        head = "".join(f"<th>{_escaped(name)}</th>" for name in columns)
        body = "".join("<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<p>{_escaped(self.headline)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, repr=False, eq=False)
class Recorded(Result):
    """A result whose JSON is all there is to it.

    Attributes:
        record: the JSON object, field by field as in docs/json.md.
    """

    record: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A copy of `record`."""
        return copy.deepcopy(dict(self.record))


@dataclass(frozen=True, repr=False)
class MethodChoice(Result):
    """A method of the catalogue with its dials set.

    Attributes:
        key: its name on the command line and on disk.
        title: its name in figures and tables.
        source: where it comes from, arXiv numbers first.
        objective: the loss as data.
        dials: what departs from the catalogue, by option name.
        description: the objective in full, with every constant that decides the loss.
    """

    key: str
    title: str
    source: str
    objective: "Objective"
    dials: Mapping[str, Any]
    description: str

    @property
    def headline(self) -> str:
        """Title, dials and source."""
        dials = ", ".join(f"{name} = {value}" for name, value in self.dials.items())
        return f"{self.title} ({self.key}{f'; {dials}' if dials else ''}): {self.source}"

    def table(self) -> tuple[Row, Rows]:
        """The dials."""
        return ("dial", "value"), list(self.dials.items())

    def to_json(self) -> dict[str, Any]:
        """Key, title, source, dials, and the objective as a run's `config.json` holds it."""
        from dataclasses import asdict

        record = {"key": self.key, "title": self.title, "source": self.source}
        return record | {"dials": dict(self.dials), "objective": asdict(self.objective)}

    def __str__(self) -> str:
        return self.description

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.description)}</pre>"


@dataclass(frozen=True, repr=False, eq=False)
class CheckResult(Recorded):
    """The claim held against one problem: assumptions, identities, c(p), Φ(p), variances; see `rino check`."""

    @property
    def verified(self) -> bool:
        """Whether every identity holds that the problem's assumptions promise."""
        return bool(self.record["verified"])

    @property
    def assumptions(self) -> dict[str, bool]:
        """Which assumptions of the claim the problem satisfies."""
        return {name: fact["holds"] for name, fact in self.record["assumptions"].items()}

    @property
    def methods(self) -> Mapping[str, Mapping[str, Any]]:
        """By catalogue key: c and Φ (a list over prompts), η, cosine and relative error to outcome-weighted SFT."""
        found: Mapping[str, Mapping[str, Any]] = self.record["methods"]
        return found

    @property
    def headline(self) -> str:
        """How many identities hold, and which assumptions do not."""
        checks = self.record["checks"]
        holding = [check["error"] for check in checks if check["holds"]]
        if len(holding) < len(checks):
            outcome = f"{len(checks) - len(holding)} of {len(checks)} identities FAIL"
        elif checks:
            outcome = f"all {len(checks)} identities hold, largest relative error {max(holding):.1e}"
        else:
            outcome = "the assumptions promise nothing"
        broken = [name for name, holds in self.assumptions.items() if not holds]
        return f"{self.record['problem']}: {outcome}{f'; broken: {_joined(broken)}' if broken else ''}"

    def table(self) -> tuple[Row, Rows]:
        """One row a method."""
        columns = ("method", "c(p)", "c(p) without 1/L", "η", "cosine to SFT", "relative error")
        rows = [
            (
                key,
                format_numbers(record["c"]),
                format_numbers(record["c_without_length"]),
                record["credit_structure_index"],
                record["cosine"],
                record["relative_error"],
            )
            for key, record in self.methods.items()
        ]
        return columns, rows


@dataclass(frozen=True, repr=False, eq=False)
class GradientResult(Result):
    """The exact expected gradient of a method on a problem, in the logits of a tabular policy.

    All arrays are float64; numbers are per unit of logit, and ascent is positive.

    Attributes:
        problem, method, policy, num_generations: what was computed.
        levels: for each depth d an array `[prompts, M**d, N]`: -∂E[loss | prompt]/∂logit of token a after prefix j.
        success_levels: ∇p in the same layout, p the probability of a reward of at least 1.
        p: `[prompts]`, the success probability.
        coefficient: `[prompts]`, the c for which c ∇p is nearest to the gradient: c(p) where `residual` is 0.
        residual: `[prompts]`, the norm of what c ∇p leaves, relative to the gradient's.
        cosine: `[prompts]`, between the gradient and ∇p.
    """

    problem: str
    method: str
    policy: str
    num_generations: int
    prompts: tuple[str, ...]
    levels: "tuple[Float[np.ndarray, 'prompts prefixes tokens'], ...]"
    success_levels: "tuple[Float[np.ndarray, 'prompts prefixes tokens'], ...]"
    p: "Float[np.ndarray, ' prompts']"
    coefficient: "Float[np.ndarray, ' prompts']"
    residual: "Float[np.ndarray, ' prompts']"
    cosine: "Float[np.ndarray, ' prompts']"

    @property
    def headline(self) -> str:
        """The largest part of the gradient that is off ∇p."""
        return (
            f"{self.method} on {self.problem}, G = {self.num_generations}: "
            f"c ∇p up to a relative residual of {self.residual.max():.1e}"
        )

    def table(self) -> tuple[Row, Rows]:
        """One row a prompt."""
        columns = ("prompt", "success p", "c", "cosine to ∇p", "relative residual")
        values = (self.p, self.coefficient, self.cosine, self.residual)
        return columns, list(zip(self.prompts, *(map(float, value) for value in values), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Every attribute, arrays as nested lists."""
        head = {name: getattr(self, name) for name in ("problem", "method", "policy", "num_generations")}
        by_prompt = {name: getattr(self, name).tolist() for name in ("p", "coefficient", "residual", "cosine")}
        levels = {name: [level.tolist() for level in getattr(self, name)] for name in ("levels", "success_levels")}
        return head | {"prompts": list(self.prompts)} | by_prompt | levels


@dataclass(frozen=True, repr=False, eq=False)
class AuditResult(Recorded):
    """What a loss really does; see `rino audit` and docs/audit.md."""

    @property
    def outcome_driven(self) -> bool:
        """On-policy: token weights are constant within a response and depend on its group's outcomes alone."""
        return bool(self.record["outcome_driven"])

    @property
    def outcome_driven_off_policy(self) -> bool:
        """The same away from the policy that sampled."""
        return bool(self.record["outcome_driven_off_policy"])

    @property
    def nearest(self) -> Mapping[str, Any]:
        """The nearest catalogued method: `method`, `residual`, `scale`, `dials`, `ties`."""
        found: Mapping[str, Any] = self.record["nearest"]
        return found

    @property
    def departures(self) -> tuple[str, ...]:
        """Names of all departures, on-policy ones first."""
        return tuple(self.record["departures"])

    @property
    def headline(self) -> str:
        """The verdict, and the nearest method."""
        on = "is outcome-driven SFT" if self.outcome_driven else "is not outcome-driven SFT"
        off = "still is" if self.outcome_driven_off_policy else "is not"
        signs = "".join(f"; SIGN ERROR: {name}" for name in self.record["sign_errors"])
        nearest = f"nearest: {self.nearest['method']}, residual {self.nearest['residual']:.1e}"
        return f"{self.record['target']} {on} on-policy, and off-policy {off}; {nearest}{signs}"

    def table(self) -> tuple[Row, Rows]:
        """One row a finding."""
        findings = self.record["findings"]
        return ("departure", "seen", "how"), [(item["name"], item["when"], item["detail"]) for item in findings]


@dataclass(frozen=True, repr=False, eq=False)
class ProofResult(Recorded):
    """Theorems, checked just now; see `rino prove`."""

    @property
    def verified(self) -> bool:
        """Whether every step and every witness came out as claimed."""
        return all(theorem["verified"] for theorem in self.record["theorems"])

    @property
    def headline(self) -> str:
        """How many theorems are verified; the statement where there is one theorem."""
        theorems = self.record["theorems"]
        count = sum(theorem["verified"] for theorem in theorems)
        told = f": {theorems[0]['id']}, {theorems[0]['title']}" if len(theorems) == 1 else ""
        return f"{count} of {len(theorems)} theorems verified{told}"

    def table(self) -> tuple[Row, Rows]:
        """One row a theorem; for one theorem, a row for each step and each witness."""
        theorems = self.record["theorems"]
        if len(theorems) == 1:
            rows = [("step", step["claim"], step["verified"]) for step in theorems[0]["steps"]]
            rows += [(f"without: {w['dropped']}", w["conclusion"], w["verified"]) for w in theorems[0]["witnesses"]]
            return ("part", "what", "verified"), rows
        columns = ("theorem", "title", "steps", "witnesses", "verified")
        return columns, [
            (item["id"], item["title"], len(item["steps"]), len(item["witnesses"]), item["verified"])
            for item in theorems
        ]


@dataclass(frozen=True, repr=False, eq=False)
class RunResult(Recorded):
    """A finished run: its last evaluation, and where its files are (docs/experiments.md says which).

    Attributes:
        directory: the run directory, for `rino.figures` or a rerun.
        title: of the method.
    """

    directory: Path
    title: str

    @property
    def headline(self) -> str:
        """Method, accuracy and directory."""
        return f"{self.title}: pass@1 {self.record['eval/pass@1']:.3f} on held-out prompts, in {self.directory}"

    def table(self) -> tuple[Row, Rows]:
        """One row a measure."""
        single = [(name, value) for name, value in self.record.items() if not isinstance(value, list)]
        return ("measure", "value"), [(name.removeprefix("eval/"), value) for name, value in single]


@dataclass(frozen=True, repr=False, eq=False)
class ComparisonResult(Recorded):
    """Methods against each other; the record is `comparison.json`.

    Attributes:
        directory: of all runs, for `rino.figures`.
    """

    directory: Path

    @property
    def headline(self) -> str:
        """What was compared with how much."""
        record = self.record
        return (
            f"{len(record['methods'])} methods × {len(record['seeds'])} seeds on {record['task']}, in {self.directory}"
        )

    def table(self) -> tuple[Row, Rows]:
        """One row a method: held-out results after the last step, and the paired difference from the first method."""
        columns = ("method", "learning rate", "pass@1", "95 % over seeds", "difference", "over prompts", "mean length")
        paired = {pair["method"]: pair for pair in self.record["paired"]}
        rows = []
        for row in self.record["methods"]:
            pair = paired.get(row["key"], {"difference": None, "interval_over_prompts": None})
            bounds = (
                format_numbers(row["pass@1_interval"]),
                pair["difference"],
                format_numbers(pair["interval_over_prompts"]),
            )
            rows.append((row["title"], row["learning_rate"], row["pass@1"], *bounds, row["mean_length"]))
        return columns, rows


@dataclass(frozen=True, repr=False, eq=False)
class FiguresResult(Recorded):
    """Figures, tables and the report, drawn from run files."""

    @property
    def pictures(self) -> dict[str, "Picture"]:
        """The figures by id, as PNG files."""
        png = {item["id"]: next(path for path in item["files"] if path.endswith(".png")) for item in self._figures}
        return {name: Picture(Path(path)) for name, path in png.items()}

    @property
    def report(self) -> Path | None:
        """The report as one self-contained HTML file; None where only some of the figures were asked for."""
        return next((Path(path) for path in self.record["report"] if path.endswith(".html")), None)

    @property
    def headline(self) -> str:
        """How much was drawn, and where the report is."""
        drawn = f"{len(self._figures)} figures, {len(self.record['tables'])} tables"
        return f"{drawn}; report: {self.report}" if self.report else drawn

    def table(self) -> tuple[Row, Rows]:
        """One row a figure, and the reason for each that there is not."""
        rows: list[Row] = [(item["id"], item["files"][0]) for item in self._figures]
        rows += [(name, f"skipped: {reason}") for name, reason in self.record["skipped"].items()]
        return ("figure", "file, or why there is none"), rows

    @property
    def _figures(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.record["figures"]
        return found


@dataclass(frozen=True)
class Picture:
    """A PNG file that a notebook shows.

    Attributes:
        path: of the file.
    """

    path: Path

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names)


def _escaped(value: object) -> str:
    return html.escape(format_cell(value))
