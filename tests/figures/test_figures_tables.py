"""Tables: numbers, intervals, what is best, what was published, escaping."""

from pathlib import Path

import pytest
from run_files import make_check, make_results, make_run

from figures.curves import MissingData
from figures.published import RESULTS
from figures.reading import read_results
from figures.runs import Results
from figures.statistics import t_interval
from figures.tables import Table, differences, exact, final_results, hyperparameters, overview, points, signed
from mdp_theory.methods.catalogue import METHODS


def test_final_results_are_means_with_intervals_in_per_cent(results: Results) -> None:
    table = final_results(results)[""]
    assert table.columns[:4] == ("method", "pass@1 (%)", "pass@8 (%)", "accuracy (strict) (%)")
    grpo = table.rows[0]
    expected = t_interval([100 * run.evaluations[-1]["eval/accuracy_strict"] for run in results.arms[0].runs])
    assert grpo[3] == f"{expected.mean:.1f} ± {expected.high - expected.mean:.1f}"
    assert "n = 3, 40 steps." in table.note


def test_the_best_is_bold_and_ties_are_both(results: Results) -> None:
    table = final_results(results)[""]
    values = {row[0]: float(row[1].split(" ± ")[0]) for row in table.rows}
    best = {table.rows[row][0] for row, column in table.bold if column == 1}
    assert best == {label for label, value in values.items() if value == max(values.values())}
    assert not any(table.columns[column] in ("length", "entropy", "reward") for _, column in table.bold)
    row, column = next(iter(table.bold))
    assert f"**{table.rows[row][column]}**" in table.to_markdown()
    assert r"\textbf{" in table.to_latex(label="x")


def test_two_seeds_have_no_interval(tmp_path: Path) -> None:
    table = final_results(read_results(make_results(tmp_path, seeds=2, finals={"grpo": 0.5, "f-isft-pm": 0.4})))[""]
    assert not any("±" in cell for row in table.rows for cell in row[1:])
    (row, *_) = differences(read_results(tmp_path))[""].rows
    assert (row[2], "[" in row[3], row[-1]) == ("2", False, "no")


def test_published_values_stand_beside_ours_where_they_are_known(tmp_path: Path) -> None:
    for method in ("grpo", "f-isft-pm"):
        make_run(tmp_path / method, method=method, task="gsm8k", model="Qwen/Qwen2.5-0.5B")
    table = final_results(read_results(tmp_path))[""]
    place = table.columns.index("published (%)")
    assert [row[place] for row in table.rows] == ["55.19", "–"]
    assert "2505.13697" in table.note
    assert not any(column == place for _, column in table.bold)


def test_published_values_belong_to_methods() -> None:
    assert {method for values in RESULTS.values() for method in values} <= set(METHODS)
    assert len(RESULTS) == 8


def test_several_models_are_columns(tmp_path: Path) -> None:
    make_run(tmp_path / "a", model="small")
    make_run(tmp_path / "b", model="large")
    make_run(tmp_path / "c", model="large", method="f-isft-pm")
    table = overview(read_results(tmp_path))[""]
    assert table.columns == ("method", "countdown-small, small (%)", "countdown-small, large (%)")
    assert [row[0] for row in table.rows] == ["GRPO", "F-ISFT±"]
    assert table.rows[1][1] == "–"


def test_differences_say_what_is_distinguished(results: Results) -> None:
    rows = {(row[0], row[1]): row for row in differences(results)[""].rows}
    assert rows["F-ISFT±", "accuracy (strict)"][-1] == "no"
    assert rows["F-ISFT⁻", "accuracy (strict)"][-1] == "yes"
    assert rows["F-ISFT⁻", "accuracy (strict)"][3].startswith("−3")
    assert float(rows["F-ISFT⁻", "accuracy (strict)"][4]) < 0.05


def test_hyperparameters_are_in_words_and_split_into_shared_and_differing(tmp_path: Path) -> None:
    make_run(tmp_path / "a", learning_rate=1e-4, odd_switch=1)
    make_run(tmp_path / "b", method="f-isft-pm", learning_rate=3e-4, odd_switch=2)
    tables = hyperparameters(read_results(tmp_path))
    assert ("clip range below", "0.2") in tables[""].rows
    assert tables["by-method"].columns == ("setting", "GRPO", "F-ISFT±")
    # What differs is told even where it has no words.
    assert tables["by-method"].rows == (("learning rate", "0.0001", "0.0003"), ("odd switch", "1", "2"))
    assert not any(row[0] in ("seed", "method", "versions, jax") for row in tables[""].rows)


def test_exact_results_show_what_is_not_parallel_as_a_dash(results: Results) -> None:
    table = exact(results)["tiny-words"]
    grpo = next(row for row in table.rows if row[0] == "GRPO")
    # The relative error of 2e-16 is rounding.
    assert grpo == ("GRPO", "–", "2.309", "0.5774", "0", "1", "0")
    assert "Success probabilities of the prompts: 0.25" in table.note


def test_tables_without_runs_say_so(tmp_path: Path) -> None:
    make_check(tmp_path / "check")
    for table in (final_results, differences, hyperparameters):
        with pytest.raises(MissingData, match="no training runs"):
            table(read_results(tmp_path))


def test_markdown_escapes_bars() -> None:
    assert "x\\|y" in Table("", ("x|y",), (("p & q",),)).to_markdown()


def test_signs() -> None:
    assert [signed(x) for x in (0.1234, -0.1, 0.0001, -0.0001)] == ["+0.123", "−0.100", "0.000", "0.000"]
    assert [points(x) for x in (0.1234, -0.1, 0.0001, -0.0001)] == ["+12.3", "−10.0", "0.0", "0.0"]
