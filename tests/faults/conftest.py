"""`pytest -m faults`: what was tried and what survived, as a table at the end."""

import multiprocessing
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import fault_child
import pytest
from equal_runs import what_must_be_equal
from fault_child import Fault

_TINY = "--steps 4 --num-prompts 2 --num-generations 2 --eval-every 2 --eval-prompts 4 --eval-samples 2 --save-every 1"
_TINY += " --max-completion-length 12 --probe-every 2"
CONFIGURATIONS = {
    "grpo": f"--method grpo {_TINY}",
    "ppo, two passes": f"--method ppo {_TINY} --num-minibatches 2 --num-iterations 2",
    "grpo-kl, stale, exports": f"--method grpo-kl {_TINY} --refresh-every 2 --export-every 2",
}
NONE = Fault()
TALLY = pytest.StashKey[dict]()


@dataclass
class Tally:
    """How often a fault was tried, and why it was not survived."""

    tried: int = 0
    failures: tuple[str, ...] = ()


@pytest.fixture(scope="session")
def tally(request):
    """Counts a trial: `tally(fault, None)` where it was survived, else with the reason."""
    table = request.config.stash.setdefault(TALLY, defaultdict(Tally))

    def count(fault, failure):
        entry = table[fault]
        entry.tried += 1
        entry.failures += () if failure is None else (failure,)

    return count


def pytest_terminal_summary(terminalreporter, config):
    table = config.stash.get(TALLY, {})
    if not table:
        return
    terminalreporter.section("faults")
    terminalreporter.line(f"{'fault':60} {'tried':>6} {'survived':>9}")
    for name, entry in table.items():
        terminalreporter.line(f"{name:60} {entry.tried:6} {entry.tried - len(entry.failures):9}")
        for failure in entry.failures[:5]:
            terminalreporter.line(f"    {failure[:300]}")
    tried = sum(entry.tried for entry in table.values())
    terminalreporter.line(f"{'all':60} {tried:6} {tried - sum(len(entry.failures) for entry in table.values()):9}")


@dataclass(frozen=True)
class Lab:
    """Starts processes with faults, and says whether a run came out as one that had none."""

    context: object
    scratch: Path

    def start(self, words, out, fault=NONE):
        log = self.scratch / f"{out.name}.{time.monotonic_ns()}.log"
        process = self.context.Process(
            target=fault_child.run, args=(["train", *words.split(), "--out", str(out)], str(out), str(log), fault)
        )
        process.start()
        process.log = log
        return process

    def finish(self, words, out, fault=NONE, timeout=300):
        """Run to the end: exit code and what was printed."""
        process = self.start(words, out, fault)
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            return "hung", process.log.read_text()
        return process.exitcode, process.log.read_text()

    def failure(self, words, out, wanted):
        """Resume what is in `out`, and say how it differs from the run that had no fault; None if it does not."""
        code, text = self.finish(words, out)
        if code != 0:
            return f"resuming ended with {code}: {text[-800:]}"
        found = what_must_be_equal(out)
        different = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        left_over = [str(path) for path in out.rglob("*") if path.name.startswith(".") or path.name == "checkpoints"]
        if different or left_over or "Traceback" in text:
            return f"differs in {different}, left over {left_over}: {text[-100:]}"
        return None


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("faults")
    # The server of the processes takes the environment of this moment; compiled programs are shared by all.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "true"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(scratch / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(fault_child.PRELOAD)
    return Lab(context, scratch)


@dataclass(frozen=True)
class Reference:
    """A run without faults: what it left, how long it took, how many file operations it made."""

    words: str
    wanted: dict
    seconds: float
    operations: int


@pytest.fixture(scope="session")
def references(lab):
    """By configuration; made when asked for."""
    made = {}

    def get(name):
        if name not in made:
            words, out = CONFIGURATIONS[name], lab.scratch / f"reference-{len(made)}"
            code, text = lab.finish(words, out)  # compiles
            assert code == 0, text
            counter, again = lab.scratch / "operations", lab.scratch / f"again-{len(made)}"
            start = time.monotonic()
            code, text = lab.finish(words, again, Fault(count_to=str(counter)))
            seconds = time.monotonic() - start
            assert code == 0, text
            assert what_must_be_equal(again) == what_must_be_equal(out)
            made[name] = Reference(words, what_must_be_equal(out), seconds, int(counter.read_text()))
        return made[name]

    return get
