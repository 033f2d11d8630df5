"""Verdicts follow from numbers: a real difference, none, too few seeds, a broken identity."""

import json
from pathlib import Path

import numpy as np
import pytest
from run_files import PROMPTS, make_check, make_proof, make_results, make_run, write_lines

from figures import verdicts
from figures.comparison import GREEDY, PASS, against_reference, compare
from figures.curves import MissingData
from figures.reading import read_results
from figures.runs import Arm


def arms(path: Path, success: dict[str, list[float]], *, prompts: int = 200) -> list[Arm]:
    """One run a method and seed whose only evaluation has exactly this greedy accuracy, right on the first prompts."""
    for method, rates in success.items():
        for seed, rate in enumerate(rates):
            run = make_run(path / method / f"seed-{seed}", method=method, seed=seed)
            correct = [int(i < round(rate * prompts)) for i in range(prompts)]
            row = {"step": 40, GREEDY: sum(correct) / prompts, "eval/greedy_correct": correct}
            write_lines(run / "eval.jsonl", [row])
    return list(read_results(path).arms)


def test_a_real_difference_is_distinguished(tmp_path: Path) -> None:
    arms(tmp_path, {"grpo": [0.50, 0.52, 0.51], "f-isft-pos": [0.40, 0.41, 0.42]})
    (verdict,) = verdicts.success(read_results(tmp_path))
    assert verdict.outcome == "distinguished"
    assert "F-ISFT⁺ is lower by 0.100" in verdict.text
    assert "(3 seeds, 200 prompts)" in verdict.text
    assert verdict.headline


def test_no_real_difference_is_not_called_equal(tmp_path: Path) -> None:
    arms(tmp_path, {"grpo": [0.50, 0.53, 0.47], "f-isft-pm": [0.48, 0.50, 0.53]})
    (verdict,) = verdicts.success(read_results(tmp_path))
    assert verdict.outcome == "not distinguished"
    assert "equal" not in verdict.text
    assert "not distinguished at 3 seeds, 200 prompts" in verdict.text
    # 0.0033 ± t(0.975, 2) · s/√3 with differences −0.02, −0.03, 0.06.
    half = 4.30265 * np.std([-0.02, -0.03, 0.06], ddof=1) / np.sqrt(3)
    assert f"differences up to {0.01 / 3 + half:.3f} remain possible" in verdict.text


def test_a_difference_between_seeds_that_few_prompts_carry_is_not_distinguished(tmp_path: Path) -> None:
    # Every seed agrees that about one prompt in ten differs: the seeds are sure, the prompts are not.
    arms(tmp_path, {"grpo": [0.45, 0.5, 0.5], "f-isft-pm": [0.6, 0.6, 0.6]}, prompts=20)
    found = read_results(tmp_path)
    (comparison,) = against_reference(found.arms, GREEDY)
    assert comparison.over_seeds.conclusive
    assert not comparison.over_prompts.excludes_zero
    assert comparison.doubt == "the prompts leave 0 possible"
    (verdict,) = verdicts.success(found)
    assert (verdict.outcome, comparison.doubt in verdict.text) == ("not distinguished", True)


@pytest.mark.parametrize("rates", [[0.2], [0.2, 0.21]])
def test_fewer_than_three_seeds_decide_nothing(tmp_path: Path, rates: list[float]) -> None:
    arms(tmp_path, {"grpo": [0.5, 0.5][: len(rates)], "f-isft-pos": rates})
    (verdict,) = verdicts.success(read_results(tmp_path))
    assert verdict.outcome == "not distinguished"
    assert f"{len(rates)} seed{'s' * (len(rates) > 1)} cannot tell, it takes 3" in verdict.text


def test_seeds_that_all_say_the_same_decide_nothing(tmp_path: Path) -> None:
    arms(tmp_path, {"grpo": [0.5, 0.5, 0.5], "f-isft-pos": [0.2, 0.2, 0.2]})
    (verdict,) = verdicts.success(read_results(tmp_path))
    assert verdict.outcome == "not distinguished"
    assert "the seeds do not differ" in verdict.text
    assert "[−0.300, −0.300]" not in verdict.text


def test_of_many_comparisons_a_lucky_one_is_not_distinguished(tmp_path: Path) -> None:
    # Alone this difference has p = 0.02; with two others beside it, 0.06.
    success = {"grpo": [0.5, 0.5, 0.5], "f-isft-pm": [0.40, 0.435, 0.385]}
    alone = arms(tmp_path / "alone", success)
    (single,) = against_reference(alone, GREEDY)
    assert single.adjusted == pytest.approx(single.over_seeds.p_value)
    assert 1 / 60 < single.adjusted < 0.05
    assert single.distinguished
    others = {"f-isft-pos": [0.5, 0.49, 0.52], "f-isft-neg": [0.48, 0.5, 0.53]}
    family = {c.arm.label: c for c in against_reference(arms(tmp_path / "family", success | others), GREEDY)}
    lucky = family["F-ISFT±"]
    assert (lucky.family, lucky.adjusted) == (3, pytest.approx(3 * single.adjusted))
    assert not lucky.distinguished
    assert "of 3 comparisons" in lucky.doubt


def test_one_seed_without_prompts_decides_nothing(tmp_path: Path) -> None:
    for method, rate in (("grpo", 0.9), ("f-isft-pos", 0.1)):
        run = make_run(tmp_path / method, method=method)
        write_lines(run / "eval.jsonl", [{"step": 40, GREEDY: rate}])
    (verdict,) = verdicts.success(read_results(tmp_path))
    assert verdict.outcome == "not distinguished"
    assert "remain possible" not in verdict.text


def test_seeds_are_paired(tmp_path: Path) -> None:
    # The seeds differ far more than the methods do; only pairing sees the difference.
    left, right = arms(tmp_path, {"grpo": [0.2, 0.5, 0.8], "f-isft-pm": [0.25, 0.56, 0.85]})
    comparison = compare(left, right, GREEDY)
    assert comparison.over_seeds.excludes_zero
    assert comparison.over_seeds.mean == pytest.approx(0.16 / 3)
    assert "p = " in verdicts.success(read_results(tmp_path))[0].text


def test_arms_without_a_common_seed_are_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path / "a", seed=0)
    make_run(tmp_path / "b", method="f-isft-pm", seed=1)
    with pytest.raises(MissingData, match="no two methods share a seed"):
        verdicts.success(read_results(tmp_path))


def test_pass_at_1_comes_by_prompt_from_the_counts(tmp_path: Path) -> None:
    left, right = read_results(make_results(tmp_path, seeds=2, finals={"grpo": 0.5, "f-isft-neg": 0.1})).arms
    comparison = compare(left, right, PASS)
    counts = [np.mean([run.evaluations[-1]["eval/correct_counts"] for run in arm.runs]) / 8 for arm in (left, right)]
    assert comparison.over_prompts.count == PROMPTS
    assert comparison.over_prompts.mean == pytest.approx(counts[1] - counts[0])


def test_proofs_count_steps_and_witnesses(tmp_path: Path) -> None:
    make_proof(tmp_path / "prove.json", broken=True)
    t3, t4 = verdicts.proofs(read_results(tmp_path))
    assert (t3.outcome, t4.outcome) == ("verified", "failed")
    assert t3.text == "T3 verified: 6/6 steps, 1/1 witnesses. Symbolic: group size G."
    assert "2/3 steps" in t4.text


def test_exact_gradients_within_rounding_are_equal(tmp_path: Path) -> None:
    make_check(tmp_path / "check", relative_error=2e-16)
    held, equal, different = verdicts.identities(read_results(tmp_path))
    assert held.outcome == "verified"
    assert equal.outcome == "equal"
    assert "GRPO has a relative error of 2.0e-16, and 3 more of 5 methods at most 2.0e-16 → equal" in equal.text
    assert different.text.endswith("relative error: PPO 0.2 → different.")


def test_exact_gradients_beyond_rounding_are_different(tmp_path: Path) -> None:
    make_check(tmp_path / "check", relative_error=1e-9)
    failed, different = verdicts.identities(read_results(tmp_path))
    assert failed.outcome == "failed"
    assert different.outcome == "different"
    assert "grpo 1e-09" in different.text.lower()


@pytest.mark.parametrize(("best", "outcome"), [(1.0, "equal"), (1.25, "different")])
def test_a_policy_that_beats_every_fixed_response_is_no_bandit(tmp_path: Path, best: float, outcome: str) -> None:
    path = make_check(tmp_path / "check")
    report = json.loads(path.read_text())
    report["bandit"]["closed_loop_value"] = [best]
    path.write_text(json.dumps(report))
    (verdict,) = verdicts.reductions(read_results(tmp_path))
    assert verdict.outcome == outcome
    assert ("worth up to 0.25 less" in verdict.text) == (outcome == "different")


def test_the_cost_of_uniform_credit_is_a_ratio(tmp_path: Path) -> None:
    make_check(tmp_path / "check")
    (verdict,) = verdicts.credit(read_results(tmp_path))
    assert "has 3 times the variance" in verdict.text
    assert verdict.text.endswith("with the bare reward 4 times.")


def test_the_end_of_equality_off_policy_is_located(tmp_path: Path) -> None:
    make_check(tmp_path / "check")
    grpo, isft = verdicts.off_policy(read_results(tmp_path))
    assert "ends at inner step 1 (relative error 0.05); at step 2 the relative error is 0.8, cosine 0.700" in grpo.text
    assert (isft.outcome, "at all 3 inner steps" in isft.text) == ("equal", True)


def test_rounding_is_zero() -> None:
    assert [verdicts.rounded(x) for x in (2.3e-15, -1e-16, 1.7e-7)] == ["0", "0", "1.7e−07"]


def test_directions_are_counted(tmp_path: Path) -> None:
    make_check(tmp_path / "check")
    (verdict,) = verdicts.directions(read_results(tmp_path))
    assert (
        "gradient of 4 of 5 methods is c(p) ∇p on every prompt; with their own aggregation, that of 3" in verdict.text
    )


@pytest.mark.parametrize(
    ("error", "dtype", "outcome"),
    [(1e-6, "float32", "equal"), (1e-3, "float32", "different"), (1e-3, "bfloat16", "equal")],
)
def test_the_probe_is_judged_by_the_precision_of_training(
    tmp_path: Path, error: float, dtype: str, outcome: str
) -> None:
    run = make_run(tmp_path / "run", dtype=dtype)
    rows = [{"step": 1, "equivalence/relative_error": error, "equivalence/cosine": 1.0}]
    write_lines(run / "metrics.jsonl", rows)
    (verdict,) = verdicts.probes(read_results(tmp_path))
    assert verdict.outcome == outcome


def test_length_changes_have_intervals_from_three_seeds_on(tmp_path: Path) -> None:
    for seed, length in enumerate((10.0, 10.2, 10.4)):
        make_run(tmp_path / str(seed), seed=seed, length=length)
        (verdict,) = verdicts.lengths(read_results(tmp_path))
        assert verdict.outcome == ("changed" if seed == 2 else "measured")
    assert verdict.text.startswith("countdown-small, tiny: GRPO: mean response length on held-out prompts from 10.2")
    assert "(3 seeds) → rose by +4.0" in verdict.text


def test_what_rises_alike_on_every_seed_has_not_changed(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / str(seed), seed=seed, length=10.0)
    (verdict,) = verdicts.lengths(read_results(tmp_path))
    assert verdict.outcome == "not distinguished"


def test_unequal_token_weights_are_seen(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    row = {"step": 0, "prompt": "p", "completion": "c", "tokens": ["a", "b"], "reward": 1.0}
    (run / "samples.jsonl").write_text(json.dumps(row | {"weights": [0.5, 0.4]}) + "\n")
    (verdict,) = verdicts.weights(read_results(tmp_path))
    assert verdict.outcome == "different"
    assert "differ in weight in 1 sampled response" in verdict.text
