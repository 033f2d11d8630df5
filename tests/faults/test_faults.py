"""Runs under faults come out as runs without: `pytest -m faults`, some twenty minutes on two quiet cores.

`RINO_FAULTS=N` sets the number of trials (12): N times three random kills of each of three configurations, 3 N kills at
file operations, 2 N damaged files of each kind, N / 3 of everything else.
"""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from conftest import CONFIGURATIONS
from fault_child import Fault

pytestmark = pytest.mark.faults

TRIALS = int(os.environ.get("RINO_FAULTS", "12"))
KILLS = 3
FEW = max(TRIALS // 3, 1)
FIRST = next(iter(CONFIGURATIONS))


def conclude(tally, fault, failures):
    for failure in failures:
        tally(fault, failure)
    wrong = [failure for failure in failures if failure is not None]
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_kills(name, lab, references, tally):
    """SIGKILL at moments spread over the whole run, its start and its end included; three in a row before the end."""
    reference, rng, failures = references(name), random.Random(name), []
    for trial in range(TRIALS):
        out = lab.scratch / f"kill-{CONFIGURATIONS[name].split()[1]}-{trial}"
        for _ in range(KILLS):
            process = lab.start(reference.words, out)
            process.join(rng.uniform(0, 1) * reference.seconds)
            process.kill()
            process.join()
        # A result that is wrong is the fault of all three.
        failures += [lab.failure(reference.words, out, reference.wanted)] * KILLS
        shutil.rmtree(out, ignore_errors=True)
    conclude(tally, f"SIGKILL at a random moment ({name})", failures)


def test_kills_at_every_file_operation(lab, references, tally):
    reference, failures = references(FIRST), []
    for number in spread(reference.operations, 3 * TRIALS):
        out = lab.scratch / f"operation-{number}"
        lab.finish(reference.words, out, Fault(kill_at=number))
        failure = lab.failure(reference.words, out, reference.wanted)
        failures.append(failure and f"operation {number} of {reference.operations}: {failure}")
        shutil.rmtree(out, ignore_errors=True)
    conclude(tally, f"SIGKILL at a file operation ({len(failures)} of {reference.operations})", failures)


def spread(total, most):
    """Numbers from 1 to `total`: all, or `most` of them at equal distances."""
    return range(1, total + 1) if total <= most else sorted({1 + i * (total - 1) // (most - 1) for i in range(most)})


def test_repeated_kills(lab, references, tally):
    reference, rng, failures = references(FIRST), random.Random(2), []
    for trial in range(FEW):
        out = lab.scratch / f"repeated-{trial}"
        for _ in range(4):
            lab.finish(reference.words, out, Fault(kill_at=rng.randint(1, reference.operations)))
        failures.append(lab.failure(reference.words, out, reference.wanted))
    conclude(tally, "four SIGKILLs in a row", failures)


@pytest.mark.parametrize(
    ("title", "signals"),
    [
        ("SIGTERM", [signal.SIGTERM]),
        ("Ctrl-C", [signal.SIGINT]),
        ("Ctrl-C twice", [signal.SIGINT, signal.SIGINT]),
    ],
)
def test_signals(title, signals, lab, references, tally):
    reference, rng, failures = references(FIRST), random.Random(title), []
    for trial in range(FEW):
        out = lab.scratch / f"{title.replace(' ', '-')}-{trial}"
        process = lab.start(reference.words, out)
        while process.is_alive() and not (out / "config.json").exists():
            time.sleep(0.01)
        process.join(rng.uniform(0, 0.6) * reference.seconds)
        for number in signals:
            if process.is_alive():
                os.kill(process.pid, number)
                process.join(0.05)
        process.join(120)
        text = process.log.read_text()
        # 0: it came too late; the signal itself: the handlers were not there yet.
        wrong = process.exitcode not in (0, 130, -signals[0]) or "Traceback" in text
        ended = f"ended with {process.exitcode}: {text[-200:]}" if wrong else None
        failures.append(ended or lab.failure(reference.words, out, reference.wanted))
    conclude(tally, title, failures)


def test_largest_file(lab, references, tally):
    """A limit on the size of files, as `ulimit -f` sets it: two lines, exit code 2, and the run goes on without it."""
    reference, failures = references(FIRST), []
    for size in (4_000 + more for more in spread(400_000, FEW)):  # its messages are in a file too
        out = lab.scratch / f"limit-{size}"
        code, text = lab.finish(reference.words, out, Fault(largest_file=size))
        failures.append(refused(code, text) or lab.failure(reference.words, out, reference.wanted))
    conclude(tally, "files that may not be larger (ulimit -f)", failures)


def test_full_disk(lab, references, tally):
    reference, failures = references(FIRST), []
    for size in spread(1_600, FEW):
        disk = lab.scratch / f"disk-{size}"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a small disk can be mounted by root alone")
        try:
            code, text = lab.finish(reference.words, disk / "run")
            failure = refused(code, text)
            subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
            failures.append(failure or lab.failure(reference.words, disk / "run", reference.wanted))
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    conclude(tally, "full disk", failures)


def refused(code, text):
    told = "error: " in text and "  try: " in text and "Traceback" not in text
    return None if code == 0 or (code == 2 and told) else f"ended with {code}: {text[-300:]}"


@pytest.fixture(scope="session")
def cut(lab, references):
    """A run killed late: two checkpoints, and lines after the last."""
    reference = references(FIRST)
    for number in range(reference.operations * 3 // 4, 0, -3):
        out = lab.scratch / f"cut-{number}"
        lab.finish(reference.words, out, Fault(kill_at=number))
        seals = list((out / "checkpoints").glob("*.json"))
        if len(seals) >= 2 and not (out / "finished.json").exists():
            return out
    raise AssertionError("no kill left two checkpoints")


@pytest.mark.parametrize("title", ["one flipped bit", "one truncated file", "one missing file"])
def test_damage(title, cut, lab, references, tally):
    """The run comes out equal, or it is refused and the damage named; never another result in silence."""
    reference, rng, failures = references(FIRST), random.Random(title), []
    names = [path.relative_to(cut) for path in cut.rglob("*") if path.is_file() and path.stat().st_size]
    for trial in range(2 * TRIALS):
        out, name = lab.scratch / f"{title.replace(' ', '-')}-{trial}", rng.choice(names)
        shutil.copytree(cut, out)
        data = bytearray((out / name).read_bytes())
        place = rng.randrange(len(data))
        if title == "one flipped bit":
            data[place] ^= 1 << rng.randrange(8)
            (out / name).write_bytes(data)
        elif title == "one truncated file":
            (out / name).write_bytes(data[:place])
        else:
            (out / name).unlink()
        failure = lab.failure(reference.words, out, told_apart(reference.wanted, out, name))
        if failure and "error: " in failure and "  try: " in failure and "Traceback" not in failure:
            failure = None  # refused, with its two lines
        failures.append(failure and f"{name}: {failure}")
        shutil.rmtree(out)
    conclude(tally, title, failures)


def told_apart(wanted, out, name):
    # A changed letter in the versions that config.json records decides nothing, and stays as it is.
    return (
        {**wanted, "config.json": (out / name).read_bytes()}
        if str(name) == "config.json" and (out / name).exists()
        else wanted
    )


def test_clock_that_jumps(lab, references, tally):
    reference, failures = references(FIRST), []
    for trial, jump in enumerate((3600.0, -86_400.0, 1e9)[:FEW]):
        out = lab.scratch / f"clock-{trial}"
        code, text = lab.finish(reference.words, out, Fault(jump=jump))
        ended = None if code == 0 else f"ended with {code}: {text[-200:]}"
        failures.append(ended or lab.failure(reference.words, out, reference.wanted))
    conclude(tally, "a clock that jumps", failures)


def test_two_processes_at_once(lab, references, tally):
    reference, failures = references(FIRST), []
    for trial in range(FEW):
        out = lab.scratch / f"two-{trial}"
        pair = [lab.start(reference.words, out) for _ in range(2)]
        for process in pair:
            process.join(300)
        codes = sorted(process.exitcode for process in pair)
        texts = [process.log.read_text() for process in pair]
        told = any("is in use by process" in text for text in texts) or codes == [0, 0]
        wrong = None if codes in ([0, 2], [0, 0]) and told else f"ended with {codes}: {[text[-100:] for text in texts]}"
        failures.append(wrong or lab.failure(reference.words, out, reference.wanted))
    conclude(tally, "two processes at once", failures)
