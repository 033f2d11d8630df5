"""Runs on the embedded model, through the real command line where it matters: equal reruns, resuming, every method."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import pytest
from equal_runs import what_must_be_equal

from llm_exps.config import RunConfig, resolve
from llm_exps.experiment import Experiment, train
from llm_exps.options import EvaluationOptions, OptimiserOptions, RunOptions, SamplingOptions
from llm_exps.prepare import prepare_run
from llm_exps.run_directory import RunDirectory
from mdp_theory.methods.catalogue import METHODS
from rino import cli
from rino_base.files import complete_lines
from rino_base.messages import CheckFailed, InputError

FLAGS = "--steps 6 --num-prompts 4 --num-generations 4 --eval-every 3 --eval-prompts 8 --eval-samples 4 --save-every 2"
FLAGS += " --max-completion-length 16"


def options(**changes):
    return RunOptions(
        **{
            "steps": 6,
            "num_prompts": 4,
            "save_every": 2,
            "probe_every": 2,
            # One length bin, and so one compilation a method.
            "sampling": SamplingOptions(num_generations=4, max_completion_length=16),
            "evaluation": EvaluationOptions(eval_every=3, eval_prompts=8, eval_samples=4),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def setup():
    return prepare_run("default", "countdown-small", options())[0]


def config(setup, method="grpo", **changes):
    resolved = resolve(options(**changes), parameters=100_000, context=setup.config.max_positions)
    return RunConfig(model="default", task="countdown-small", method=method, options=resolved)


def lines(path):
    return [json.loads(line) for line in complete_lines(path)]


@pytest.fixture(scope="module")
def finished(setup, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "grpo"
    train(config(setup), out, setup=setup)
    return out


def test_run_directory_holds_what_figures_need(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["method"] == "grpo"
    assert config["objective"]["aggregation"] == "sequence-mean-token-mean"
    assert {"versions", "hardware", "seed", "learning_rate", "model", "task"} <= set(config)
    metrics = lines(finished / "metrics.jsonl")
    assert [line["step"] for line in metrics] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines(finished / "eval.jsonl")] == [0, 3, 6]
    probed = [line for line in metrics if "equivalence/cosine" in line]
    assert len(probed) == 3
    assert all(line["equivalence/relative_error"] < 1e-5 or line["grad_norm"] == 0 for line in probed)
    sample = lines(finished / "samples.jsonl")[0]
    assert len(sample["tokens"]) == len(sample["weights"])
    assert RunDirectory(finished).finished
    assert not (finished / "checkpoints").exists()


def test_trained_model_is_an_ordinary_model_directory(finished):
    setup, _ = prepare_run(str(finished / "model"), "countdown-small", options())
    assert setup.stop_tokens


def test_rerun_is_equal_bit_for_bit(setup, finished, tmp_path):
    train(config(setup), tmp_path / "again", setup=setup)
    assert what_must_be_equal(tmp_path / "again") == what_must_be_equal(finished)


@pytest.mark.parametrize("wrong", [{"adam_beta2": 1.0}, {"learning_rate": 1e300}])
def test_parameters_that_are_not_finite_stop_the_run(setup, tmp_path, wrong):
    with pytest.raises(CheckFailed, match=r"step \d made parameters that are NaN or infinite") as error:
        train(config(setup, optimiser=OptimiserOptions(**wrong)), tmp_path / "run", setup=setup)
    assert error.value.exit_code == 1
    assert not (tmp_path / "run" / "model").exists()
    assert not RunDirectory(tmp_path / "run").finished


def test_other_options_in_the_same_directory_are_refused(setup, finished):
    with pytest.raises(InputError, match="learning_rate is"):
        train(config(setup, optimiser=OptimiserOptions(learning_rate=1e-5)), finished, setup=setup)


def test_killed_run_resumes_to_equal_bytes(finished, tmp_path):
    """SIGKILL at a moment that is not chosen; the run goes on from its newest whole checkpoint."""
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "rino", "train", "--out", str(out), "--probe-every", "2", *FLAGS.split()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics, deadline = out / "metrics.jsonl", time.monotonic() + 240
    while not metrics.exists() or metrics.read_text().count("\n") < 3:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not RunDirectory(out).finished
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    # The command line writes out the defaults of the device, which the fixture leaves open.
    but = ("config.json",)
    assert what_must_be_equal(out, but=but) == what_must_be_equal(finished, but=but)


def test_told_to_stop_leaves_a_checkpoint_after_the_step_under_way(setup, tmp_path):
    given = config(setup, save_every=0)
    timer = tmp_path / "run"

    def interrupt():
        while not (timer / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train(given, timer, setup=setup)
    assert list((timer / "checkpoints").iterdir())
    before = lines(timer / "metrics.jsonl")
    train(given, timer, setup=setup)
    assert lines(timer / "metrics.jsonl")[: len(before)] == before
    assert len(lines(timer / "metrics.jsonl")) == 6


def live_bytes():
    """Of all arrays; a shard is an array of its own, and lies where the whole does."""
    gc.collect()
    plain = (array for array in jax.live_arrays() if not jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key))
    return sum({array.unsafe_buffer_pointer(): array.nbytes for array in plain}.values())


@pytest.mark.parametrize(
    ("method", "changes", "copies"),
    [
        ("grpo", {}, 3),  # weights, two moments
        pytest.param("grpo", {"num_iterations": 2}, 3, marks=pytest.mark.slow),
        pytest.param("grpo-kl", {}, 4, marks=pytest.mark.slow),  # and the reference model
        ("grpo", {"refresh_every": 2}, 4),  # and the policy that samples
        ("raft", {"refresh_every": 0}, 4),
        pytest.param("grpo-kl", {"refresh_every": 0}, 4, marks=pytest.mark.slow),  # the reference model samples
    ],
)
def test_between_steps_there_is_one_copy_of_what_is_needed(tmp_path, method, changes, copies):
    others = live_bytes()
    own = options(steps=3, save_every=2, optimiser=OptimiserOptions(**changes))
    setup, _ = prepare_run("default", "countdown-small", own)
    live = []

    def count(step, seen):
        if step:
            live.append((live_bytes() - others) / (4 * setup.parameters))

    run = RunDirectory(tmp_path / "run")
    given = config(setup, method, steps=3, optimiser=own.optimiser)
    run.path.mkdir()
    run.begin(given.to_json(), provenance={})
    Experiment(given, setup, run).execute(count)
    assert len(live) == 3
    assert all(abs(seen - copies) < 0.02 for seen in live), live


@pytest.mark.parametrize("method", [key for key in METHODS if key != "grpo"])
def test_every_method_trains(setup, method, tmp_path):
    brief = config(
        setup,
        method,
        steps=2,
        probe_every=1,
        save_every=0,
        evaluation=EvaluationOptions(eval_every=0, eval_prompts=4, eval_samples=4),
    )
    train(brief, tmp_path / "run", setup=setup)
    metrics = lines(tmp_path / "run" / "metrics.jsonl")
    assert len(metrics) == 2
    assert metrics[-1]["skipped_updates"] == 0


def test_staleness_lets_the_ratio_leave_one(setup, tmp_path):
    stale = config(setup, optimiser=OptimiserOptions(refresh_every=3, learning_rate=3e-3), probe_every=1)
    train(stale, tmp_path / "stale", setup=setup)
    deviation = [line["ratio_deviation"] for line in lines(tmp_path / "stale" / "metrics.jsonl")]
    assert deviation[0] < 1e-5
    assert deviation[3] < 1e-5, "step 4 samples from the refreshed policy"
    assert min(deviation[1], deviation[2]) > 1e-3


def test_truncated_completions_can_be_left_out(setup, tmp_path):
    # One token is never enough to end, so nothing is left to learn from.
    sampling = SamplingOptions(num_generations=4, max_completion_length=1, mask_truncated_completions=True)
    train(config(setup, "f-isft-neg", sampling=sampling, steps=1), tmp_path / "run", setup=setup)
    (line,) = lines(tmp_path / "run" / "metrics.jsonl")
    assert line["completions/clipped_ratio"] == 1
    assert line["grad_norm"] == 0


def test_compare_through_the_command_line(tmp_path, capsys):
    out = tmp_path / "comparison"
    command = ["compare", "--methods", "grpo", "f-isft-pm", "--seeds", "0", "1", "--out", str(out), *FLAGS.split()]
    assert cli.run([*command, "--list"]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rino train")]
    assert len(listed) == 4
    assert cli.run([*command, "--json", str(tmp_path / "result.json")]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert [row["key"] for row in result["methods"]] == ["grpo", "f-isft-pm"]
    assert result["paired"][0]["baseline"] == "grpo"
    low, high = result["paired"][0]["interval_over_prompts"]
    assert low <= result["paired"][0]["difference"] <= high
    prompts = [
        [line["prompt"] for line in lines(out / "runs" / method / "seed-0" / "samples.jsonl")][:1]
        for method in ("grpo", "f-isft-pm")
    ]
    assert prompts[0] == prompts[1], "every method sees the same prompts"


def test_evaluate_and_generate(tmp_path, capsys):
    common = ["--num-generations", "2", "--json", str(tmp_path / "result.json")]
    assert cli.run(["evaluate", "--eval-prompts", "8", "--eval-samples", "2", "--num-prompts", "4", *common]) == 0
    assert 0 <= json.loads((tmp_path / "result.json").read_text())["eval/pass@1"] <= 1
    assert cli.run(["generate", "--num", "2", *common]) == 0
    assert len(json.loads((tmp_path / "result.json").read_text())) == 4


@pytest.mark.slow
def test_several_devices_give_the_metrics_of_one(tmp_path):
    command = [sys.executable, "-m", "rino", "train", "--num-minibatches", "1", *FLAGS.split()]
    for count in (1, 4):
        environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
        out = ["--out", str(tmp_path / str(count))]
        assert subprocess.run([*command, *out], env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
    for one, four in zip(*(lines(tmp_path / count / "metrics.jsonl") for count in ("1", "4")), strict=True):
        for name in ("reward", "grad_norm", "entropy", "completions/mean_length"):
            assert four[name] == pytest.approx(one[name], rel=1e-3), name


def test_the_samplers_log_probabilities_serve_as_the_old_ones_where_they_agree(setup, tmp_path):
    """Within the tolerance they save a forward pass and change next to nothing; else they are computed as ever."""

    def first_step(name, *, sampling=None, **optimiser):
        given = {
            "steps": 1,
            "probe_every": 0,
            "save_every": 0,
            "optimiser": OptimiserOptions(num_iterations=2, **optimiser),
        }
        given["evaluation"] = EvaluationOptions(eval_every=0, eval_prompts=4, eval_samples=4)
        one = config(setup, **given, **({"sampling": sampling} if sampling else {}))
        train(one, tmp_path / name, setup=setup)
        return lines(tmp_path / name / "metrics.jsonl")[0], json.loads((tmp_path / name / "config.json").read_text())

    gap, reused, tolerance = "sampling/old_logp_gap", "sampling/old_logp_reused", "old_logp_tolerance"
    anew, recorded = first_step("anew", old_logp_tolerance=0.0)
    assert gap not in anew
    assert tolerance not in recorded
    served, recorded = first_step("served")
    assert served[reused] == 1
    assert 0 < served[gap] <= 1e-4
    assert recorded[tolerance] == 1e-4
    assert served["grad_norm"] == pytest.approx(anew["grad_norm"], rel=1e-3)
    refused, _ = first_step("refused", old_logp_tolerance=1e-9)
    assert refused[reused] == 0
    assert {name: value for name, value in refused.items() if name not in (gap, reused)} == anew
    truncated = SamplingOptions(num_generations=4, max_completion_length=16, top_k=5)
    assert gap not in first_step("truncated", sampling=truncated)[0]
