"""`rino figures` end to end: files, reasons, the report, and that it needs no jax."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_files import make_check, make_proof, make_results, make_run

from figures.command import figures
from figures.looks import known_looks
from figures.panels import draw_panels
from figures.reading import read_results
from figures.registry import PLOTS, TABLES
from figures.render import file_name
from figures.runs import Results
from figures.style import Style, paper_style, save
from figures.training import ACCURACY, against_step


@pytest.fixture(scope="module")
def drawn(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Everything drawn once."""
    out = tmp_path_factory.mktemp("drawn")
    assert figures(directory, out=out, formats=("png",), json=out / "summary.json") == 0
    return out, json.loads((out / "summary.json").read_text())


def test_everything_is_drawn(drawn: tuple[Path, dict]) -> None:
    out, summary = drawn
    factorial = "no two methods were trained with two averagings of the loss on the same three seeds"
    assert summary["skipped"] == {"overview": "one task and one model", "length-factorial": factorial}
    assert {item["id"] for item in summary["figures"]} == {plot.id for plot in PLOTS} - {"length-factorial"}
    assert {item["id"] for item in summary["tables"]} == {entry.id for entry in TABLES} - {"overview"}
    for item in summary["figures"]:
        assert [Path(file).suffix for file in item["files"]] == [".png", ".csv"]
        assert item["caption"]
        assert Path(item["files"][0]).stat().st_size > 5000
    assert (out / "tables" / "final-results.tex").read_text().startswith(r"\begin{table}")


def test_the_report_shows_every_figure_and_states_verdicts(drawn: tuple[Path, dict]) -> None:
    out, summary = drawn
    text = (out / "report.md").read_text()
    shown = set(re.findall(r"\]\((figures/[^)]+\.png)\)", text))
    assert shown == {f"figures/{path.name}" for path in (out / "figures").glob("*.png")}
    assert "**Verified.** 2 of 2 theorems, every step and witness." in text
    for verdict in summary["verdicts"]:
        if verdict["figure"] != "proofs":
            assert verdict["text"] in text
    assert "| overview | one task and one model |" in text


def test_the_html_report_needs_no_other_file(drawn: tuple[Path, dict]) -> None:
    out, summary = drawn
    page = (out / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == len(summary["figures"])
    # Links lead to a part of the page, or to the same picture beside it.
    assert not re.search(r'src="(?!data:)|href="(?!data:|#part-|figures/[\w-]+\.png")', page)
    assert 'id="browser"' in page
    assert "<details>" in page


def test_drawing_again_gives_the_same_bytes(results: Results, tmp_path: Path) -> None:
    rows, style = against_step(results, ACCURACY)[""], Style(known=known_looks(results))
    with paper_style():
        first, second = (save(draw_panels(rows, style), tmp_path / name, ("png", "pdf", "svg")) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_missing_inputs_are_skipped_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_check(tmp_path / "check")
    assert figures(tmp_path, formats=("svg",), json=tmp_path / "summary.json") == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    theory = {"mdp-and-bandit", "effective-objective", "inner-steps", "departures"}
    theory |= {"credit-variance", "critic", "staleness"}
    theory |= {"noise", "rollouts", "rates", "optimisers"}
    theory |= {"learned-critic", "fitted-critic", "critic-map", "reward-levels"}
    assert {item["id"] for item in summary["figures"]} == theory
    assert summary["skipped"]["accuracy"] == "no training runs"
    assert summary["skipped"]["proofs"] == "no prove.json"
    assert "skipped: no training runs" in capsys.readouterr().out
    assert (tmp_path / "figures" / "effective-objective.svg").exists()
    assert "| accuracy | no training runs |" in (tmp_path / "report.md").read_text()


def test_a_single_run_directory_is_enough(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", probe=False)
    (run / "samples.jsonl").unlink()
    assert figures(run, formats=("png",), json=tmp_path / "summary.json") == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "accuracy" in {item["id"] for item in summary["figures"]}
    assert summary["skipped"]["probe"].startswith("no run records equivalence/cosine")
    assert summary["skipped"]["differences"] == "no two arms share a seed and an evaluation step"
    assert not any(item["figure"] == "accuracy" for item in summary["verdicts"])


def test_proofs_alone_make_a_report(tmp_path: Path) -> None:
    make_proof(tmp_path / "prove.json", broken=True)
    assert figures(tmp_path, formats=("png",)) == 0
    assert "**Failed.** 1 of 2 theorems; not T4." in (tmp_path / "report.md").read_text()


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=50)
    figures(tmp_path, formats=("png",))
    assert "**Not finished:** GRPO seed 0 (40 of 50 steps)" in (tmp_path / "report.md").read_text()


def test_models_are_panels_and_tasks_are_files(tmp_path: Path) -> None:
    make_run(tmp_path / "a", model="small")
    make_run(tmp_path / "b", model="large")
    make_run(tmp_path / "c", task="data/gsm8k.jsonl")
    found = against_step(read_results(tmp_path), ACCURACY)
    assert list(found) == ["countdown-small", "gsm8k.jsonl"]
    assert [[panel.title for panel in row] for row in found["countdown-small"].rows] == [
        ["countdown-small · small", "countdown-small · large"]
    ] * len(ACCURACY)
    assert file_name("accuracy", "gsm8k.jsonl") == "accuracy-gsm8k-jsonl"


def test_the_documentation_lists_every_figure_and_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
    assert [entry.id for entry in (*PLOTS, *TABLES) if f"`{entry.id}`" not in text] == []


def test_the_documentation_lists_every_field_of_the_result(drawn: tuple[Path, dict]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    section = text.split("## `rino figures`")[1].split("\n## ")[0]
    assert [field for field in drawn[1] if f"`{field}`" not in section] == []
    assert {verdict["outcome"] for verdict in drawn[1]["verdicts"]} <= set(re.findall(r"`([a-z ]+)`", section))


def test_no_jax_is_imported() -> None:
    code = "import sys, figures.drawing; print('jax' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]


def test_nothing_that_a_file_says_is_interpreted(tmp_path: Path) -> None:
    attack = (
        "<script>alert(1)</script><img src=x onerror=alert(1)> ![p](figures/secret.png) [red]a[/red] | b\n</details>"
    )
    make_results(tmp_path, seeds=2, finals={"grpo": 0.5, "f-isft-pm": 0.4})
    for path in tmp_path.rglob("config.json"):
        config = json.loads(path.read_text())
        path.write_text(
            json.dumps(config | {"title": config["method"] + attack, "model": attack, "task": attack, attack: attack})
        )
    check = make_check(tmp_path)
    check.write_text(json.dumps({**json.loads(check.read_text()), "problem": attack}))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "secret.png").write_bytes(b"secret")
    assert figures(tmp_path, formats=("png",)) == 0
    page = (tmp_path / "report.html").read_text()
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page
    tags = set(re.findall(r"<\s*([A-Za-z!/][^\s>]*)", page))
    assert not {tag for tag in tags if tag.lower().startswith(("iframe", "object", "embed"))}
    # The block of samples, which is data, and our own.
    assert re.findall(r"<script[^>]*>", page) == [
        '<script type="application/json" id="samples">',
        "<script>",
    ]
    assert not re.search(r'<a href="(?!#part-|figures/[\w-]+\.png")', page)
    assert len(re.findall(r"<img", page)) == len(re.findall(r'<img src="data:image/png;base64,', page)) > 0
    assert base64.b64encode(b"secret").decode() not in page
    assert page.count("<details>") == page.count("</details>")
    assert not re.search(r"<(script|img)", (tmp_path / "report.md").read_text())
