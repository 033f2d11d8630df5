"""Tables: numbers, intervals, escaping."""

from pathlib import Path

import pytest
from run_files import make_check, make_run

from figures.curves import MissingData
from figures.runs import Results, read_results
from figures.statistics import t_interval
from figures.tables import Table, differences, exact, final_results, hyperparameters, latex, overview, signed


def test_final_results_are_means_with_intervals(results: Results) -> None:
    table = final_results(results)[""]
    assert table.columns[:6] == ("method", "seeds", "step", "pass@1", "pass@8", "accuracy (strict)")
    grpo = table.rows[0]
    assert grpo[:3] == ("GRPO", "0, 1, 2", "40")
    expected = t_interval([run.evaluations[-1]["eval/accuracy_strict"] for run in results.arms[0].runs])
    assert grpo[5] == f"{expected.mean:.3f} ± {expected.high - expected.mean:.3f}"


def test_several_models_are_columns(tmp_path: Path) -> None:
    make_run(tmp_path / "a", model="small")
    make_run(tmp_path / "b", model="large")
    make_run(tmp_path / "c", model="large", method="f-isft-pm")
    table = overview(read_results(tmp_path))[""]
    assert table.columns == ("method", "countdown-small, small", "countdown-small, large")
    assert [row[0] for row in table.rows] == ["GRPO", "F-ISFT±"]
    assert table.rows[1][1] == "–"


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    (row,) = final_results(read_results(tmp_path))[""].rows
    assert not any("±" in cell for cell in row)


def test_differences_say_what_is_distinguished(results: Results) -> None:
    rows = {(row[0], row[1]): row for row in differences(results)[""].rows}
    assert rows["F-ISFT±", "accuracy (strict)"][-1] == "no"
    assert rows["F-ISFT⁻", "accuracy (strict)"][-1] == "yes"
    assert rows["F-ISFT⁻", "accuracy (strict)"][3].startswith("−0.")


def test_hyperparameters_are_split_into_shared_and_differing(tmp_path: Path) -> None:
    make_run(tmp_path / "a", learning_rate=1e-4)
    make_run(tmp_path / "b", method="f-isft-pm", learning_rate=3e-4)
    tables = hyperparameters(read_results(tmp_path))
    assert ("objective.clip.low", "0.2") in tables[""].rows
    assert tables["by-method"].columns == ("setting", "GRPO", "F-ISFT±")
    assert tables["by-method"].rows == (("learning_rate", "0.0001", "0.0003"),)
    assert not any(row[0] in ("seed", "method", "versions.jax") for row in tables[""].rows)


def test_exact_results_show_what_is_not_parallel_as_a_dash(results: Results) -> None:
    table = exact(results)["tiny-words"]
    grpo = next(row for row in table.rows if row[0] == "GRPO")
    assert grpo == ("GRPO", "–", "2.309", "0.5774", "0", "1", "2e−16")
    assert "Success probabilities of the prompts: 0.25" in table.note


def test_tables_without_runs_say_so(tmp_path: Path) -> None:
    make_check(tmp_path / "check")
    for table in (final_results, differences, hyperparameters):
        with pytest.raises(MissingData, match="no training runs"):
            table(read_results(tmp_path))


def test_markdown_and_latex_escape_their_signs() -> None:
    table = Table("50 % of a_b", ("x|y", "F-ISFT⁺"), (("p & q", "−1 ± 2"),), "Note.")
    assert "x\\|y" in table.to_markdown()
    text = table.to_latex()
    assert r"\caption{50 \% of a\_b. Note.}" in text
    assert r"p \& q & $-$1 $\pm$ 2 \\" in text
    assert r"x|y & F-ISFT$^+$ \\" in text


def test_latex_escapes_a_backslash_once() -> None:
    assert latex("\\{") == r"\textbackslash{}\{"


def test_signs() -> None:
    assert [signed(x) for x in (0.1234, -0.1, 0.0001, -0.0001)] == ["+0.123", "−0.100", "0.000", "0.000"]
