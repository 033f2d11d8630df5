"""The run directory under damage: nothing partial is read as complete, nothing damaged is used in silence."""

import json
import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_exps.checkpoints import Checkpoints
from llm_exps.run_directory import RunDirectory
from rino import cli
from rino_base.files import append_line, complete_lines
from rino_base.lock import locked
from rino_base.messages import InputError


def state(value):
    return {"weights": jnp.full((64, 64), float(value)), "count": jnp.array(value)}


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints at steps 2 and 4, and lines written after the last."""
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.begin({"method": "grpo"}, provenance={})
    checkpoints = Checkpoints(run)
    for step in range(1, 6):
        run.append("metrics", {"step": step})
        run.append("samples", {"step": step - 1, "completion": "a"})
        if step % 2 == 0:
            checkpoints.save(step, state(step))
    checkpoints.close()
    return run


def resume(run):
    checkpoints = Checkpoints(run)
    try:
        return checkpoints.resume(lambda: state(0))
    finally:
        checkpoints.close()


def test_a_checkpoint_of_another_structure_is_refused_and_kept(run):
    checkpoints = Checkpoints(run)
    try:
        with pytest.raises(InputError, match=r"checkpoint 4 of .* is of another version of rino"):
            checkpoints.resume(lambda: {"weights": [jnp.zeros((64, 32))] * 2, "count": jnp.array(0)})
    finally:
        checkpoints.close()
    assert resume(run)[0] == 4


def arrays(run, step):
    """The largest file of a checkpoint: it holds the arrays."""
    files = [path for path in (run.checkpoints / str(step)).rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@given(text=st.text(alphabet=st.sampled_from('a\u2028\u2029\x85\x0b\x0c\x1c\r\n\t"\\')))
def test_every_text_survives_a_line(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("log") / "log.jsonl"
    append_line(file, {"text": text})
    append_line(file, {"text": "next"})
    assert [json.loads(line)["text"] for line in complete_lines(file)] == [text, "next"]


def test_resuming_cuts_every_log_to_the_checkpoint(run):
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "rew')
    step, found = resume(run)
    assert step == 4
    assert int(found["count"]) == 4
    assert [json.loads(line)["step"] for line in complete_lines(run.path / "metrics.jsonl")] == [1, 2, 3, 4]
    # A sample carries the step before its update: by steps alone the one of step 4 would stay and come twice.
    assert [json.loads(line)["step"] for line in complete_lines(run.path / "samples.jsonl")] == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "empty", "add"])
def test_damaged_checkpoint_is_named_and_the_previous_one_used(run, damage, capsys):
    file = arrays(run, 4)
    match damage:
        case "flip":
            flip(file)
        case "truncate":
            os.truncate(file, file.stat().st_size - 1)
        case "remove":
            file.unlink()
        case "empty":
            os.truncate(file, 0)
        case "add":
            file.with_name("more").touch()
    step, found = resume(run)
    assert step == 2
    np.testing.assert_array_equal(found["weights"], state(2)["weights"])
    warning = capsys.readouterr().err
    assert "checkpoint 4" in warning
    assert "going on from 2" in warning
    assert len(complete_lines(run.path / "metrics.jsonl")) == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": {"x": 1}, "logs": {}}'])
def test_checkpoint_with_a_damaged_seal_is_not_used(run, text):
    (run.checkpoints / "4.json").write_text(text)
    assert resume(run)[0] == 2


def test_checkpoint_without_a_seal_is_half_of_one(run, capsys):
    (run.checkpoints / "4.json").unlink()
    assert resume(run)[0] == 2
    assert not (run.checkpoints / "4").exists()
    assert capsys.readouterr().err == ""


def test_all_checkpoints_damaged_is_an_error_that_loses_nothing(run):
    for step in (2, 4):
        flip(arrays(run, step))
    before = (run.path / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"no checkpoint .* can be used: 4 is damaged .* and 2"):
        resume(run)
    assert (run.path / "metrics.jsonl").read_bytes() == before
    assert arrays(run, 2).exists()


@pytest.mark.parametrize("how", ["missing", "shorter", "changed"])
def test_lost_log_is_noticed(run, how):
    log = run.path / "metrics.jsonl"
    if how == "missing":
        log.unlink()
    elif how == "shorter":
        os.truncate(log, 20)
    else:
        flip_first = bytearray(log.read_bytes())
        flip_first[2] ^= 1
        log.write_bytes(flip_first)
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        resume(run)


def test_two_checkpoints_are_kept(run):
    checkpoints = Checkpoints(run)
    checkpoints.save(6, state(6))
    checkpoints.close()
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["4", "4.json", "6", "6.json"]


def test_what_a_kill_leaves_of_the_first_file_is_no_other_run(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / ".config.json.abc.tmp").write_text('{"meth')
    RunDirectory(path).begin({"method": "grpo"}, provenance={})
    assert [child.name for child in path.iterdir()] == ["config.json"]
    (path / "config.json").write_text("")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        RunDirectory(path).begin({"method": "grpo"}, provenance={})


@pytest.fixture
def finished(run):
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(bytes(100))
    run.finish({"steps": 5})
    return run


def test_finished_run_leaves_nothing_over(finished):
    assert not finished.checkpoints.exists()
    names = {path.relative_to(finished.path).as_posix() for path in finished.path.rglob("*") if path.is_file()}
    assert set(json.loads((finished.path / "finished.json").read_text())["files"]) | {"finished.json"} == names


def test_verify_accepts_what_is_whole(finished, tmp_path):
    assert cli.run(["verify", str(finished.path), "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["whole"]
    assert {row["file"] for row in found["files"]} >= {"config.json", "metrics.jsonl", "model/model.safetensors"}


@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl", "model/model.safetensors", "finished.json"])
@pytest.mark.parametrize("damage", ["flip", "empty", "remove"])
def test_verify_notices(finished, file, damage, capsys):
    path = finished.path / file
    if damage == "flip":
        # Inside a number of the manifest rather than in the spaces between: those mean nothing.
        data = path.read_bytes()
        place = data.index(b'"sha256": "') + 12 if file == "finished.json" else 0
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    elif damage == "empty":
        os.truncate(path, 0)
    else:
        path.unlink()
    gone = (file, damage) == ("finished.json", "remove")
    assert cli.run(["verify", str(finished.path)]) == (2 if gone else 1)
    if not gone and file != "finished.json":
        assert file in capsys.readouterr().out


def test_damaged_finished_run_is_not_reported_as_done(finished):
    (finished.model / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"finished and damaged: model/model\.safetensors is missing"):
        finished.begin({"method": "grpo"}, provenance={})


def test_verify_of_something_else_is_bad_input(tmp_path, run):
    assert cli.run(["verify", str(tmp_path / "nothing")]) == 2
    assert cli.run(["verify", str(run.path)]) == 2


HOLD = "import sys, time, pathlib; from rino_base.lock import locked\nwith locked(pathlib.Path(sys.argv[1])):\n"
HOLD += "    print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_second_process_is_refused_by_name(holder, tmp_path):
    with (
        pytest.raises(InputError, match=rf"in use by process {holder.pid} on .+ since \d{{4}}-"),
        locked(tmp_path / "run"),
    ):
        pass


def test_lock_of_a_dead_process_is_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()
    with locked(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_a_lock_file_removed_while_it_was_taken_is_made_anew(monkeypatch, tmp_path):
    open_file, removed = os.open, []

    def removed_after_it_was_opened(path, *arguments):
        handle = open_file(path, *arguments)
        if not removed:
            removed.append(path)
            path.unlink()
        return handle

    monkeypatch.setattr(os, "open", removed_after_it_was_opened)
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert removed


def test_a_lock_file_removed_while_it_was_looked_at_is_made_anew(monkeypatch, tmp_path):
    samestat, removed = os.path.samestat, []

    def removed_between(*stats):
        if not removed:
            removed.append((tmp_path / ".lock").unlink())
            raise FileNotFoundError  # what the look at a file that has just gone gives
        return samestat(*stats)

    monkeypatch.setattr(os.path, "samestat", removed_between)
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert removed


CONTEND = """
import pathlib, sys
from rino_base.lock import locked
from rino_base.messages import InputError
directory, held = pathlib.Path(sys.argv[1]), 0
while held < 100:  # refused any number of times: a holder may lose the processor while it holds
    try:
        with locked(directory):
            (directory / "mine").touch(exist_ok=False)
            (directory / "mine").unlink()
            held += 1
    except InputError:
        pass
"""


def test_never_two_at_once(tmp_path):
    command = [sys.executable, "-c", CONTEND, str(tmp_path / "run")]
    workers = [subprocess.Popen(command) for _ in range(3)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
