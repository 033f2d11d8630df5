"""Several processes of one run: what they agree on, and whole runs on them against one process."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from llm_exps import hosts
from rino_base.messages import InputError

ROOT = Path(__file__).parents[2]
SMALL = (
    *("--num-prompts", "4", "--num-generations", "4", "--max-completion-length", "24", "--eval-prompts", "8"),
    *("--eval-samples", "2", "--eval-every", "2", "--probe-every", "2", "--save-every", "1", "--method", "grpo-kl"),
)
# Losses and gradients are sums in float32 in another order; samples must not differ at all.
BOUND = 2e-4


def start(out, *flags, processes, devices=1, steps=3):
    """The processes of one run of `rino train`."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "rino", "train", *SMALL, "--steps", str(steps), "--out", str(out), *flags]
    shared = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    if processes > 1:
        shared |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes)}
    return [
        subprocess.Popen(
            command,
            env=shared | {"JAX_PROCESS_ID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(processes)
    ]


def finish(processes):
    said = [process.communicate(timeout=900) for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [output for output, _ in said]


def lines(out, log):
    return [json.loads(line) for line in (out / f"{log}.jsonl").read_text().split("\n") if line]


def assert_same_run(out, other):
    for ours, theirs in zip(lines(out, "samples"), lines(other, "samples"), strict=True):
        assert ours["tokens"] == theirs["tokens"]
    for log in ("metrics", "eval"):
        for ours, theirs in zip(lines(out, log), lines(other, log), strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in ours.items():
                if isinstance(value, float):
                    assert value == pytest.approx(theirs[name], rel=BOUND, abs=BOUND), name
                else:
                    assert value == theirs[name], name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    finish(start(out, processes=1))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "devices", "mesh"), [(2, 2, "fsdp=4"), (4, 1, "data=2,tensor=2"), (1, 8, "fsdp=4,tensor=2")]
)
def test_a_run_on_several_processes_is_the_run_on_one(alone, tmp_path, processes, devices, mesh):
    out = tmp_path / "run"
    said = finish(start(out, "--mesh", mesh, processes=processes, devices=devices))
    assert "run directory" in said[0]
    # The transport of the CPU prints for itself.
    assert not [line for output in said[1:] for line in output.splitlines() if not line.startswith("[Gloo]")]
    assert_same_run(out, alone)
    assert not (out / "checkpoints").exists()


@pytest.mark.slow
def test_a_lost_process_ends_the_run_which_resumes_on_another_mesh(alone, tmp_path):
    out = tmp_path / "run"
    running = start(out, "--mesh", "fsdp=4", processes=2, devices=2, steps=3)
    end = time.monotonic() + 600
    while not list(out.glob("checkpoints/*.json")):
        assert time.monotonic() < end
        assert all(process.poll() is None for process in running), [p.communicate() for p in running]
        time.sleep(0.05)
    running[1].kill()
    _, errors = running[0].communicate(timeout=300)
    assert running[0].returncode != 0
    assert "Traceback" not in errors
    assert "the run goes on from its newest checkpoint" in errors
    finish(start(out, "--mesh", "tensor=2", processes=1, devices=2))
    assert_same_run(out, alone)


def test_alone_everybody_agrees():
    assert hosts.is_first()
    assert not hosts.several()
    assert hosts.agree(3) == 3
    assert hosts.anywhere(True)
    assert hosts.on_first(lambda: "done") == "done"
    with pytest.raises(InputError, match="no"), hosts.together():
        hosts.on_first(lambda: (_ for _ in ()).throw(InputError("no", mend="yes")))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [0, 1, 7, 12])
def test_shares_are_disjoint_and_whole(monkeypatch, count, rows):
    shares = []
    for index in range(count):
        monkeypatch.setattr(hosts.jax, "process_count", lambda: count)
        monkeypatch.setattr(hosts.jax, "process_index", lambda index=index: index)
        shares += range(rows)[hosts.rows_of_this(rows)]
    assert shares == list(range(rows))


def test_gathered_rows_keep_their_order():
    np.testing.assert_array_equal(hosts.gather_rows([1.0, 2.5], 2), [1.0, 2.5])
