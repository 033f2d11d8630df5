"""Curves reach the service that is asked for; one that is not installed is named."""

import sys
from types import SimpleNamespace

import pytest

from llm_exps.tracking import tracker
from rino_base.messages import InputError


def test_numbers_reach_tensorboard_and_the_service(tmp_path, monkeypatch):
    calls = []
    fake = SimpleNamespace(
        init=lambda **options: calls.append(("init", options["project"])),
        log=lambda record, step: calls.append(("log", step, record)),
        finish=lambda: calls.append(("finish",)),
    )
    monkeypatch.setitem(sys.modules, "trackio", fake)
    with tracker(tmp_path, resume_at=0, report_to="trackio", config={}) as tracking:
        tracking.log(3, {"reward": 0.5, "prompt": "text", "nothing": None})
    assert calls == [("init", "rino"), ("log", 3, {"reward": 0.5}), ("finish",)]
    assert list((tmp_path / "tensorboard").iterdir())


def test_missing_service_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(InputError, match="--report-to wandb"),
        tracker(tmp_path, resume_at=0, report_to="wandb", config={}),
    ):
        pass


def test_samples_reach_the_service_as_a_table(tmp_path, monkeypatch):
    shown = []
    fake = SimpleNamespace(
        init=lambda **_: None,
        log=lambda record, step: shown.append((step, record["samples"])),
        finish=lambda: None,
        Table=lambda columns, data: [dict(zip(columns, row, strict=True)) for row in data],
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    sample = {"prompt": "1 + 1", "completion": "2", "reward": 1.0, "advantage": 0.5}
    with tracker(tmp_path, resume_at=0, report_to="wandb", config={}) as tracking:
        tracking.samples(4, [{**sample, "step": 4, "weights": [0.5], "tokens": ["2"]}])
    assert shown == [(4, [sample])]
