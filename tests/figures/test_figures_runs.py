"""Reading run files: what is understood, what is tolerated, what is refused and how that is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from run_files import STEPS, make_check, make_run

from figures.reading import read_results, read_run
from figures.runs import Results, group_runs
from rino_base.messages import InputError


def test_runs_become_arms_with_the_claim_first(results: Results) -> None:
    assert [arm.label for arm in results.arms] == ["GRPO", "F-ISFT±", "F-ISFT⁻", "F-ISFT⁺"]
    assert {arm.seeds for arm in results.arms} == {(0, 1, 2)}
    assert results.arms[0].task == "countdown-small"
    assert results.arms[0].model == "tiny"


def test_ablations_stay_apart_and_are_labelled_by_what_differs(results: Results) -> None:
    labels = [arm.label for arm in results.ablations]
    assert labels == [f"GRPO (passes over a batch: {passes})" for passes in (1, 2, 4)]
    assert len(results.all_arms) == 6
    assert not any("sweep" in run.path.parts for arm in results.all_arms for run in arm.runs)


def test_the_order_of_a_comparison_is_kept(tmp_path: Path) -> None:
    for method in ("grpo", "f-isft-pos"):
        make_run(tmp_path / "runs" / method / "seed-0", method=method)
    (tmp_path / "comparison.json").write_text(json.dumps({"methods": [{"key": "f-isft-pos"}, {"key": "grpo"}]}))
    assert [arm.method for arm in read_results(tmp_path).arms] == ["f-isft-pos", "grpo"]


def test_series_leave_out_missing_values(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    steps, values = run.series("reward")
    assert steps.tolist() == list(range(1, STEPS + 1))
    assert np.isfinite(values).all()
    assert run.series("kl")[0].size == 0  # null in every row
    assert run.series("equivalence/cosine")[0].tolist() == list(range(5, STEPS + 1, 5))
    assert run.series("eval/pass@1")[0].tolist() == [0, 10, 20, 30, 40]


def test_arms_use_the_steps_that_all_seeds_reached(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / f"seed-{seed}", seed=seed) for seed in (0, 1)]
    lines = (paths[1] / "metrics.jsonl").read_text().splitlines(keepends=True)
    (paths[1] / "metrics.jsonl").write_text("".join(lines[:7]))
    (arm,) = group_runs([read_run(path) for path in paths])
    steps, values = arm.matrix("reward")
    assert steps.tolist() == list(range(1, 8))
    assert values.shape == (2, 7)


def test_a_line_cut_short_by_a_kill_is_ignored(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "rew')
    assert read_run(path).last_step == STEPS


def test_a_step_written_twice_counts_once_and_the_later_row_wins(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "reward": 0.125}\n')
    steps, values = read_run(path).series("reward")
    assert steps.tolist() == list(range(1, STEPS + 1))
    assert values[-1] == 0.125


def test_nan_of_a_foreign_writer_is_a_missing_value(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "reward": NaN}\n')
    assert read_run(path).series("reward")[0][-1] == STEPS


def test_a_malformed_line_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    lines = (path / "eval.jsonl").read_text().splitlines(keepends=True)
    (path / "eval.jsonl").write_text(lines[0] + "{oops}\n" + lines[1])
    with pytest.raises(InputError, match=r"eval\.jsonl, line 2 is not JSON"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"reward": 1}\n', "line 1 has no whole number 'step'"),
        ("[1, 2]\n", "line 1 holds a list, not an object"),
    ],
)
def test_rows_that_are_no_rows(tmp_path: Path, text: str, message: str) -> None:
    path = make_run(tmp_path / "run")
    (path / "metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        read_run(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "holds a list, not an object"), ('{"method": "grpo"}', "lacks 'seed'")],
)
def test_broken_configurations(tmp_path: Path, text: str, message: str) -> None:
    path = make_run(tmp_path / "run")
    (path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_results(tmp_path)


def test_missing_and_empty_directories(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_results(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        read_results(tmp_path / "file")
    with pytest.raises(InputError, match="holds nothing to draw"):
        read_results(tmp_path)


def test_the_same_seed_twice_is_refused(tmp_path: Path) -> None:
    runs = [read_run(make_run(tmp_path / name)) for name in ("a", "b")]
    with pytest.raises(InputError, match="same experiment with the same seed 0"):
        group_runs(runs)


def test_versions_and_hardware_do_not_tell_repetitions_apart(tmp_path: Path) -> None:
    make_run(tmp_path / "a", seed=0, hardware="cpu")
    make_run(tmp_path / "b", seed=1, hardware="gpu", versions={"jax": "0.12"})
    assert [arm.seeds for arm in read_results(tmp_path).arms] == [(0, 1)]


def test_a_check_file_may_hold_several_reports(tmp_path: Path) -> None:
    reports = [json.loads(make_check(tmp_path / "single", name).read_text()) for name in ("one", "two")]
    (tmp_path / "check").mkdir()
    (tmp_path / "check" / "all.json").write_text(json.dumps(reports))
    assert list(read_results(tmp_path).checks) == ["one", "two"]


def test_a_check_without_methods_is_refused(tmp_path: Path) -> None:
    (tmp_path / "check").mkdir()
    (tmp_path / "check" / "words.json").write_text("{}")
    with pytest.raises(InputError, match=r"words\.json holds no report"):
        read_results(tmp_path)
