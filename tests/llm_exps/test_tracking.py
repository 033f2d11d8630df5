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
