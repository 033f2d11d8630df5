"""The golden files as tables: what `rino conformance` prints, and docs/frameworks.md."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mdp_theory.audit.frameworks.batches import FRAMEWORKS
from mdp_theory.conformance.record import golden
from rino_base.messages import format_cell

_DIFFERENCES_FILE = Path(__file__).parent / "differences.toml"

EXACT = 1e-6

COLUMNS = (
    "loss",
    "outcome-driven",
    "off-policy",
    "credit pool",
    "aggregation",
    "deviation",
    "KL",
    "micro-batches change it",
    "equation",
    "residual",
)

Record = Mapping[str, Any]


def row(framework: str, record: Record) -> tuple[object, ...]:
    """One loss as a row of COLUMNS."""
    name = f"{framework}:{record['name']}"
    if record["problem"]:
        return (name, *(None for _ in COLUMNS[1:-2]), record["problem"], None)
    near = record["claimed"] or record["nearest"]
    aggregation = record["aggregation"]
    return (
        name,
        record["outcome_driven"],
        record["outcome_driven_off_policy"],
        record["credit_pool"],
        "not recovered" if aggregation is None else aggregation,
        deviation(record),
        kl(record),
        record["micro_batches"]["change"],
        equation(record),
        near["residual"],
    )


def deviation(record: Record) -> str | None:
    """The standard deviation's ddof and ε, or the shape of an advantage that has none."""
    if record["advantage"] is None:
        shape = record["advantage_shape"]
        return shape["kind"] if shape else "in the powers" if record.get("numerator") else "not recovered"
    if record["ddof"] is None:
        return None
    form = record["advantage_eps_form"]
    eps = f"ε {record['advantage_eps']:.3g}" + ("" if form in (None, "added") else f" ({form})")
    return f"ddof {record['ddof']}, {eps}"


def kl(record: Record) -> str | None:
    """The KL term: estimator, coefficient, place."""
    found = record["kl"]
    if record.get("kl_to_old"):
        old = record["kl_to_old"]
        return f"{old['estimator']} to the old policy, β {abs(old['beta']):g}, in the loss"
    if found is None:
        return "of no known form" if "kl" in record["departures"] else None
    sign = "" if found["beta"] >= 0 else ", MAXIMISED"
    over = f", by {found['aggregation']}" if found["aggregation"] else ""
    return f"{found['estimator']}, β {abs(found['beta']):g}, in the {found['placement']}{over}{sign}"


def equation(record: Record) -> str:
    """The method that the loss is, or how far it is from the one whose name it bears."""
    near, claimed = record["nearest"], record["claimed"]
    if claimed is not None and claimed["residual"] < EXACT:
        return f"{claimed['method']}{dials(claimed)}"
    if near["residual"] < EXACT:
        bears = f", not {record['method']}" if record["method"] else ""
        return f"{near['method']}{dials(near)}{bears}"
    found = claimed or near
    outside = f"; {record['method']} is outside" if record["method"] and claimed is None else ""
    return f"none{powers(record)}; {found['method']} is at {found['residual']:.2g}{outside}"


def powers(record: Record) -> str:
    """What the fit says of a loss that is no method: its numerator, and what multiplies it to which power."""
    if record.get("numerator") is None:
        return ""
    steps = {"discount": "t", "discount from the end": "(|o| - t)"}
    factors = [
        f"{format_cell(x)}^{steps[name]}" if name in steps else f"({name})^{format_cell(x)}"
        for name, x in record["exponents"].items()
    ]
    return ": " + " × ".join([f"({record['numerator']})", *factors])


def dials(near: Record) -> str:
    """What is set on the method and what it is multiplied by, in brackets."""
    told = [f"{name} {format_cell(value)}" for name, value in near["dials"].items()]
    told += [f"times {near['scale']:.4g}"] if abs(near["scale"] - 1) > 1e-3 else []
    return f" ({', '.join(told)})" if told else ""


def differences() -> list[dict[str, str]]:
    """What was found to differ: `title`, `text`, and the `command` that shows it."""
    found: list[dict[str, str]] = tomllib.loads(_DIFFERENCES_FILE.read_text(encoding="utf-8"))["difference"]
    return found


def page() -> str:
    """docs/frameworks.md."""
    parts = [_HEAD]
    for framework in FRAMEWORKS:
        parts += _framework(framework)
    parts += [_DIFFERENCES]
    for difference in differences():
        parts += [f"### {difference['title']}", "", difference["text"], "", "```text", difference["command"], "```", ""]
    return "\n".join(parts).rstrip() + "\n"


def _framework(framework: str) -> Iterator[str]:
    found = golden(framework)
    if found is None:
        yield from (f"## {framework}", "", "Not recorded.", "")
        return
    yield from (f"## {framework} {found['version']}", "")
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * len(COLUMNS)
    for record in found["losses"]:
        yield "| " + " | ".join(_cell(value) for value in row(framework, record)) + " |"
    yield ""
    noted = [record for record in found["losses"] if record["note"]]
    for record in noted:
        yield f"- `{framework}:{record['name']}`: {record['note']}."
    yield from [""] * bool(noted)
    default = next((record for record in found["losses"] if record["name"] == "default"), None)
    if default is not None:
        yield from (_optimises(framework, default), "")
    if found["peers"]:
        yield "The catalogue's spellings, run against the package:"
        yield ""
        yield "| method | settings | holds | with | random batches |"
        yield "|---|---|---|---|---|"
        for record in found["peers"]:
            yield "| " + " | ".join(_cell(value) for value in peer_row(record)) + " |"
        yield ""


def peer_row(record: Record) -> tuple[object, ...]:
    """A spelling of the catalogue: method, settings, whether it holds, with which dials, and on random batches."""
    settings = " ".join(f"{name}={_setting(value)}" for name, value in record["settings"].items())
    if record["problem"]:
        return (record["method"], f"`{settings}`", False, record["problem"], None)
    near = record["claimed"]
    return (record["method"], f"`{settings}`", holds(record), dials(near).strip(" ()"), record["random_residual"])


def _setting(value: object) -> object:
    """A table as the catalogue spells it."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value


def holds(record: Record) -> bool:
    """Whether a spelling gives its method's weights, up to the dials that are told, on every batch tried."""
    if record["problem"] or record["claimed"] is None or record["random_residual"] is None:
        return False
    return bool(record["claimed"]["residual"] < EXACT and record["random_residual"] < EXACT)


def _optimises(framework: str, record: Record) -> str:
    found = record.get("optimises")
    start = f"What `{framework}:default` optimises"
    if found is None:
        return f"{start} has no c(p): its weights are no function of the outcomes of the prompt's own group."
    pairs = [
        f"c({p:g}) = {c:g}, Φ({p:g}) = {phi:g}" for p, c, phi in zip(found["p"], found["c"], found["phi"], strict=True)
    ]
    return (
        f"{start}, with binary rewards and groups of {found['num_generations']}: {'; '.join(pairs)}; {found['length']}."
    )


def _cell(value: object) -> str:
    return format_cell(value).replace("|", "\\|")


_HEAD = """# The losses people really run

Generated from recorded audits by `python -m mdp_theory.conformance.page`; do not edit. A row is one loss of the
installed package, called as it stands: generation and the model are replaced by the probes of [rino audit](audit.md),
nothing else. `rino conformance` prints the same from the packages that are installed, `rino conformance NAME --install`
makes an environment for one, and `rino conformance NAME --record` writes the file that this page is made of.

`equation` is the catalogued method whose token weights the loss has, with what is set on it; `residual` the relative
distance between the two (1e-8 is float32, 1e-16 float64). A difference between an equation and a default is no mistake:
it is what a reader of the one has to know about the other. `off-policy` asks the same away from the old policy. A
dash in `micro-batches change it` means that the package leaves accumulation to its caller.
"""

_DIFFERENCES = """## Differences found

Each with the command that shows it. The words are about what the code does at the version above, not about what it
should do.
"""


if __name__ == "__main__":
    print(page(), end="")
