"""Runs as jobs: they give what runs in one process give, lost ones go on, and failures are named."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import chdir, suppress
from pathlib import Path

import pytest

from llm_exps import launch as launching
from llm_exps.launch import Job, Launcher, launch, work
from rino import cli
from rino_base.messages import CheckFailed, InputError

# The shapes of test_experiment.py, whose compiled programs these runs find.
SMALL = (
    *("--num-prompts", "4", "--num-generations", "4", "--max-completion-length", "16", "--save-every", "1"),
    *("--eval-prompts", "8", "--eval-samples", "4", "--probe-every", "0", "--methods", "grpo", "f-isft-pm"),
)
LOGS = ("metrics.jsonl", "eval.jsonl", "samples.jsonl", "model/model.safetensors")


def contents(out):
    """What all runs of a comparison hold, but for how long they took."""
    runs = sorted(path.parent for path in out.glob("**/config.json") if path.parent.name.startswith("seed-"))
    return {str(run.relative_to(out)): [(run / name).read_bytes() for name in LOGS] for run in runs}


def a_job(folder, name="job", steps=3):
    return Job((), folder / name, folder / "logs" / f"{name}.log", steps)


@pytest.fixture
def child(monkeypatch):
    """Let jobs run this program instead of rino."""
    return lambda program: monkeypatch.setattr(launching, "_CHILD", program)


def test_local_jobs_give_what_one_process_gives(tmp_path):
    command = ["compare", *SMALL, "--seeds", "0", "--steps", "1"]
    assert cli.run([*command, "--out", str(tmp_path / "here")]) == 0
    assert cli.run([*command, "--out", str(tmp_path / "jobs"), "--launcher", "local", "--jobs", "2"]) == 0
    there = contents(tmp_path / "jobs")
    assert len(there) == 2
    assert there == contents(tmp_path / "here")


def test_a_killed_job_is_started_again(tmp_path, child):
    child(
        "import os, pathlib, signal\n"
        "file = pathlib.Path('starts'); file.write_text(file.read_text() + 'x' if file.exists() else 'x')\n"
        "len(file.read_text()) < 3 and os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with chdir(tmp_path):
        assert work(a_job(tmp_path)) == 0
        assert Path("starts").read_text() == "xxx"


def test_a_job_that_is_killed_again_and_again_is_given_up(tmp_path, child):
    child("import os, signal; print('begun', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    job = a_job(tmp_path)
    assert work(job) == -signal.SIGKILL
    assert job.log.read_text().count("begun") == 3


def test_failed_runs_are_named_and_the_others_done(tmp_path, child, capsys):
    child("import sys; print('no such thing'); sys.exit(2 if 'wrong' in sys.argv else 0)")
    jobs = [a_job(tmp_path, "right"), Job(("wrong",), tmp_path / "bad", tmp_path / "logs" / "bad.log", 3)]
    with pytest.raises(CheckFailed, match="1 of 2 runs failed"):
        launch(jobs, Launcher(jobs=2), description="runs")
    printed = capsys.readouterr().out
    assert "no such thing" in printed
    assert "right" not in printed


def test_a_run_dies_with_its_worker(tmp_path):
    """Otherwise it would go on holding the lock of its directory, and the job started again would be refused."""
    beginning = launching._CHILD.partition("sys.argv")[0]
    pid = tmp_path / "pid"
    rest = f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    grandchild = f"{beginning}\n{rest}"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    worker = subprocess.Popen([sys.executable, "-c", parent])
    number = int(until(lambda: pid.exists() and pid.read_text()))
    worker.kill()
    worker.wait()
    until(lambda: not alive(number))


def until(condition, seconds=30):
    """What the condition says once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_cards_are_shared_out_one_a_job(tmp_path, monkeypatch, child):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    child("import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(0.5)")
    jobs = [a_job(tmp_path, str(number)) for number in range(2)]
    launch(jobs, Launcher(jobs=2), description="runs")
    assert {job.log.read_text().strip() for job in jobs} == {"4", "7"}


@pytest.mark.parametrize(("engine", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_is_named(tmp_path, monkeypatch, engine, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as caught:
        launch([a_job(tmp_path)], Launcher(engine=engine), description="runs")
    assert f".[{engine}]" in caught.value.mend


@pytest.mark.parametrize("word", ["partition", "=gpu", "partition="])
def test_a_malformed_slurm_parameter_is_named(word, capsys, tmp_path):
    command = ["compare", *SMALL, "--steps", "1", "--launcher", "slurm", "--slurm", word, "--out", str(tmp_path / "o")]
    assert cli.run(command) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


@pytest.mark.slow
def test_slurm_jobs_go_through_submitit(tmp_path, monkeypatch):
    """SLURM itself is not here: submitit's own executor of local processes takes its place."""
    submitit = pytest.importorskip("submitit")
    executor = submitit.AutoExecutor
    monkeypatch.setattr(submitit, "AutoExecutor", lambda folder, cluster: executor(folder=folder, cluster="local"))
    jobs = [
        Job(("list", "methods"), tmp_path / "a", tmp_path / "logs" / "a.log", 1),
        Job(("list", "nothing"), tmp_path / "b", tmp_path / "logs" / "b.log", 1),
    ]
    with pytest.raises(CheckFailed, match="1 of 2 runs failed"):
        launch(jobs, Launcher(engine="slurm", slurm={"timeout_min": "5"}), description="runs")
    assert "Williams 1992" in jobs[0].log.read_text()


@pytest.mark.slow
def test_a_sweep_on_ray_survives_a_lost_worker(tmp_path):
    """12 short runs on a local Ray cluster, one worker killed on the way: each equals one that nothing disturbed."""
    pytest.importorskip("ray")
    command = ["compare", *SMALL, "--seeds", *map(str, range(6)), "--steps", "3"]
    killed = []

    def kill_one():
        def a_worker():
            if not list((tmp_path / "ray").glob("runs/*/seed-*/metrics.jsonl")):
                return None
            for entry in Path("/proc").iterdir():
                with suppress(OSError):
                    if entry.name.isdecimal() and b"ray::work" in (entry / "cmdline").read_bytes():
                        return int(entry.name)
            return None

        killed.append(until(a_worker, seconds=900))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    assert cli.run([*command, "--out", str(tmp_path / "ray"), "--launcher", "ray", "--jobs", "2"]) == 0
    thread.join()
    assert killed
    assert cli.run([*command, "--out", str(tmp_path / "here")]) == 0
    assert len(contents(tmp_path / "ray")) == 12
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")
