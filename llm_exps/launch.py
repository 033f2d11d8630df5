"""Many runs at once on engines that exist: processes of this machine, SLURM (submitit), or a Ray cluster.

A job is one `rino train` command, a process of its own that writes one run directory. A job that is lost, with its
worker or its host, is started again and goes on from its newest checkpoint, so that the finished run equals an
undisturbed one. Run directories have to be on a file system that every worker sees.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from rino_base.messages import CheckFailed, InputError, print_table
from rino_base.progress import progress_bar

Engine = Literal["local", "slurm", "ray"]

_ATTEMPTS = 3
_POLL = 1.0  # seconds between looks at the run directories
# A worker that is lost must not leave a run behind that holds the lock of its directory: on Linux a run dies with it.
_CHILD = """
import ctypes, runpy, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
sys.argv[0] = "rino"
runpy.run_module("rino", run_name="__main__")
"""


@dataclass(frozen=True)
class Job:
    """One run: the words after `rino`, its directory, its log, and the steps it will do."""

    words: tuple[str, ...]
    run: Path
    log: Path
    steps: int

    @property
    def done(self) -> int:
        """Steps in the log of the run."""
        file = self.run / "metrics.jsonl"
        return min(file.read_bytes().count(b"\n"), self.steps) if file.is_file() else 0


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Where jobs run.

    Attributes:
        engine: `local` processes, a `slurm` array, or tasks of a `ray` cluster.
        jobs: at most so many at once; 0 leaves it to SLURM or Ray, and means one on this machine.
        gpus: of each job, for SLURM and Ray. On this machine the visible GPUs are shared out, one a job.
        slurm: more parameters of the jobs, as submitit names them: `slurm_partition=gpu timeout_min=240`.
    """

    engine: Engine = "local"
    jobs: int = 0
    gpus: int = 0
    slurm: dict[str, str] = field(default_factory=dict)


class Handle(Protocol):
    """A submitted job."""

    def done(self) -> bool: ...
    def result(self) -> int: ...


Submit = Callable[[Job], Handle]


def launch(jobs: Sequence[Job], launcher: Launcher, *, description: str) -> None:
    """Run every job to its end, showing the progress of all.

    Raises:
        InputError: the engine is not installed or cannot be reached.
        CheckFailed: jobs failed; what the others did is kept, and so is what these did before.
    """
    engine: AbstractContextManager[Submit] = ENGINES[launcher.engine](launcher, jobs)
    with engine as submit, progress_bar() as bar:
        handles = [submit(job) for job in jobs]
        total = sum(job.steps for job in jobs)
        task = bar.add_task(description, total=total)
        seen: tuple[int, int] | None = None
        while True:
            now = sum(job.done for job in jobs), sum(handle.done() for handle in handles)
            if now != seen:  # a log file has a line for what happens, and none for waiting
                bar.update(task, completed=now[0], facts=f"{now[1]} of {len(jobs)} runs ended")
                seen = now
            if now[1] == len(jobs):
                break
            time.sleep(_POLL)
        codes = [_code(handle) for handle in handles]
    failed = [(job, code) for job, code in zip(jobs, codes, strict=True) if code]
    if failed:
        rows = [(str(job.run), f"{job.done}/{job.steps}", code, _last_words(job.log)) for job, code in failed]
        columns = ("run", "steps", "exit code", "last line of its log")
        print_table(f"{len(failed)} of {len(jobs)} runs failed", columns, rows)
        raise CheckFailed(
            f"{len(failed)} of {len(jobs)} runs failed, the first is {failed[0][0].run}",
            mend=f"see {failed[0][0].log}; the same command again runs what is not done",
        )


def work(job: Job, environment: dict[str, str] | None = None) -> int:
    """Run one job to its end in a process of its own; killed, it is started again. Returns its exit code."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    code = 0
    for _ in range(_ATTEMPTS):
        with job.log.open("ab") as log:
            code = subprocess.run(
                [sys.executable, "-c", _CHILD, *job.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | (environment or {}),
                check=False,
            ).returncode
        if code >= 0:  # it ended by itself; a negative code is the signal that killed it
            return code
    return code


@contextmanager
def _local(launcher: Launcher, jobs: Sequence[Job]) -> Iterator[Submit]:
    cards = _visible_gpus()
    free = list(range(max(launcher.jobs, 1)))

    def run(job: Job) -> int:
        place = free.pop()
        try:
            return work(job, {"CUDA_VISIBLE_DEVICES": cards[place % len(cards)]} if cards else None)
        finally:
            free.append(place)

    pool = ThreadPoolExecutor(max(launcher.jobs, 1))
    try:
        yield lambda job: pool.submit(run, job)
    finally:
        pool.shutdown(cancel_futures=True)


def _visible_gpus() -> list[str]:
    """The NVIDIA cards of this machine, without starting jax on them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [card for card in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if card]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU"))]


@dataclass
class _Work:
    """A job as submitit wants it: `checkpoint` says how to go on after the time is up or the node is taken."""

    job: Job

    def __call__(self) -> int:
        return work(self.job)

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@contextmanager
def _slurm(launcher: Launcher, jobs: Sequence[Job]) -> Iterator[Submit]:
    try:
        import submitit
    except ImportError:
        raise InputError("--launcher slurm needs submitit", mend="pip install -e '.[slurm]'") from None
    try:
        executor = submitit.AutoExecutor(folder=jobs[0].log.parent / "slurm", cluster="slurm")
    except RuntimeError as error:
        raise InputError(f"--launcher slurm: {error}", mend="run it where sbatch and srun are there") from None
    shape: dict[str, Any] = {"name": "rino", "nodes": 1, "tasks_per_node": 1}
    if launcher.gpus:
        shape["gpus_per_node"] = launcher.gpus
    if launcher.jobs:
        shape["slurm_array_parallelism"] = launcher.jobs
    numbers = {name: int(value) if value.isdecimal() else value for name, value in launcher.slurm.items()}
    try:
        executor.update_parameters(**shape | numbers)
    except (NameError, ValueError, TypeError) as error:
        raise InputError(f"--slurm: {str(error).splitlines()[0]}", mend="see submitit's AutoExecutor") from None
    with executor.batch():
        submitted = {job.run: executor.submit(_Work(job)) for job in jobs}
    yield lambda job: submitted[job.run]


@contextmanager
def _ray(launcher: Launcher, jobs: Sequence[Job]) -> Iterator[Submit]:
    try:
        import ray
    except ImportError:
        raise InputError("--launcher ray needs ray", mend="pip install -e '.[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        # RAY_ADDRESS names a cluster; without it Ray makes one of this machine.
        address = os.environ.get("RAY_ADDRESS")
        shape: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "address": address}
        if not address:
            shape |= {"num_cpus": launcher.jobs or None, "include_dashboard": False}
        ray.init(**shape)
    task = ray.remote(num_cpus=1, num_gpus=launcher.gpus, max_retries=_ATTEMPTS, max_calls=1)(work)
    try:
        yield lambda job: task.remote(job).future()
    finally:
        if ours:
            ray.shutdown()


ENGINES: dict[Engine, Callable[[Launcher, Sequence[Job]], AbstractContextManager[Submit]]] = {
    "local": _local,
    "slurm": _slurm,
    "ray": _ray,
}


def _code(handle: Handle) -> int:
    try:
        return handle.result()
    except Exception as error:  # whatever the engine raises for a job that it lost for good
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        return 1


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().split("\n") if log.is_file() else []
    return lines[-1][:120] if lines else ""
