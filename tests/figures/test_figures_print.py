"""Every figure at the widths of print: as wide as asked, no type below 7 points, nothing cut off, numbers beside it."""

import csv
import json
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from run_files import make_results

from figures.command import figures
from figures.entries import Plot
from figures.looks import known_looks
from figures.registry import PLOTS
from figures.runs import Results
from figures.style import SMALLEST, Style, paper_style, plain_powers
from rino_base.messages import InputError


def texts(figure: Figure) -> list[Text]:
    """All that is written in a figure and seen."""
    found = figure.findobj(Text)
    hidden = {id(text) for ax in figure.axes if not ax.get_visible() for text in ax.findobj(Text)}
    return [text for text in found if text.get_visible() and text.get_text().strip() and id(text) not in hidden]


def check(plot: Plot, results: Results, width: float) -> None:
    style = Style(known=known_looks(results), width=width, titles=False)
    with paper_style():
        for data in plot.prepare(results).values():
            figure = plot.draw(data, style)
            plain_powers(figure)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            assert figure.get_figwidth() == pytest.approx(width)
            for text in texts(figure):
                assert text.get_fontsize() >= SMALLEST, text
                assert "$" not in text.get_text(), text
            # Of all that is drawn, in inches.
            drawn = figure.get_tightbbox(canvas.get_renderer())
            assert drawn.x0 >= -0.02, drawn
            assert drawn.x1 <= width + 0.02, drawn
            assert drawn.y0 >= -0.02, drawn
            assert drawn.y1 <= figure.get_figheight() + 0.02, drawn


DRAWN = tuple(plot for plot in PLOTS if plot.id != "length-factorial")
"""What the results of these tests have the files for."""


@pytest.mark.parametrize("plot", DRAWN, ids=lambda plot: plot.id)
def test_a_figure_can_be_read_in_a_column(plot: Plot, results: Results) -> None:
    check(plot, results, 3.3)


@pytest.mark.slow
@pytest.mark.parametrize("width", [5.5, 6.8])
@pytest.mark.parametrize("plot", DRAWN, ids=lambda plot: plot.id)
def test_a_figure_can_be_read_at_other_widths(plot: Plot, results: Results, width: float) -> None:
    check(plot, results, width)


def test_one_figure_in_every_format_with_its_numbers(directory: Path, results: Results, tmp_path: Path) -> None:
    options = {"width": 5.5, "font": "DejaVu Serif", "no_title": True, "only": ("accuracy",)}
    assert figures(directory, out=tmp_path, formats=("pdf", "svg"), json=tmp_path / "a.json", **options) == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"accuracy.{form}" for form in ("pdf", "svg", "csv")
    }
    assert not (tmp_path / "report.html").exists()
    assert json.loads((tmp_path / "a.json").read_text())["report"] == []
    svg = (tmp_path / "figures" / "accuracy.svg").read_text()
    assert 'width="396pt"' in svg
    assert "DejaVu Serif" in svg
    rows = list(csv.DictReader((tmp_path / "figures" / "accuracy.csv").open()))
    arm = results.arms[0]
    steps, values = arm.matrix("eval/pass@1")
    found = [row for row in rows if row["series"] == arm.label and row["y axis"].startswith("held-out pass@1")]
    assert [float(row["x"]) for row in found] == steps.tolist()
    assert [float(row["y"]) for row in found] == pytest.approx(values.mean(axis=0).tolist(), rel=1e-15)
    seeds = [
        row for row in rows if row["series"] == f"{arm.label}: seed 2" and row["y axis"].startswith("held-out pass@1")
    ]
    assert [float(row["y"]) for row in seeds] == values[1].tolist()
    forest = [row for row in rows if row["kind"] == "interval"]
    assert len(forest) == 6
    assert all(float(row["low"]) < float(row["high"]) for row in forest)


def test_several_directories_are_drawn_together(tmp_path: Path) -> None:
    for model in ("small", "large"):
        for path in make_results(tmp_path / "runs" / model, seeds=1, finals={"grpo": 0.5, "f-isft-pm": 0.4}).rglob(
            "config.json"
        ):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"model": model}))
        (tmp_path / "runs" / model / "comparison.json").write_text(
            '{"methods": [{"key": "f-isft-pm"}, {"key": "grpo"}]}'
        )
    # The directory above both, and both by name, give the same picture.
    together, named = tmp_path / "a", tmp_path / "b"
    only = {"formats": ("png",), "only": ("accuracy", "overview")}
    assert figures(tmp_path / "runs", out=together, **only) == 0
    assert figures(tmp_path / "runs" / "large", tmp_path / "runs" / "small", out=named, **only) == 0
    for name in ("figures/accuracy.png", "tables/overview.md"):
        assert (together / name).read_bytes() == (named / name).read_bytes()
    table = (together / "tables" / "overview.md").read_text()
    assert "large (%) | countdown-small, small (%)" in table
    # The order of the comparisons holds.
    assert table.index("F-ISFT±") < table.index("GRPO")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 0.5}, "--width 0.5"),
        ({"font": "No Such Font"}, "no font 'No Such Font'"),
        ({"only": ("acuracy",)}, "no figure or table 'acuracy'"),
    ],
)
def test_what_no_page_can_have_is_refused(directory: Path, tmp_path: Path, options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        figures(directory, out=tmp_path, **options)


def test_several_directories_need_a_place(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no place for the figures"):
        figures(directory, tmp_path)
