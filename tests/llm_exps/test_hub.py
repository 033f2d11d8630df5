"""Models by name: the revision that is asked for, the commit that was had, one snapshot for all; heads and ends."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import HFValidationError
from references import make
from safetensors.numpy import load_file, save_file

from llm_exps.config import RunConfig
from llm_exps.models.hub import commit_of, resolve
from llm_exps.models.huggingface import load, stop_tokens
from llm_exps.options import RunOptions
from llm_exps.prepare import prepare_run
from llm_exps.setup import EMBEDDED_MODEL, prepare
from rino_base.messages import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub whose branch moves with every request: each call gets a snapshot of another commit."""
    asked = []

    def snapshot_download(name, *, revision=None, allow_patterns):
        asked.append((name, revision))
        place = tmp_path / "snapshots" / (f"{len(asked) - 1:x}" + COMMIT[1:])
        shutil.copytree(EMBEDDED_MODEL, place)
        return str(place)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_run_takes_one_snapshot_and_records_its_commit(hub, tmp_path):
    options = RunOptions(steps=1, num_prompts=2, probe_every=0, revision="v1")
    setup, resolved = prepare_run("owner/model", "countdown-small", options)
    assert hub == [("owner/model", "v1")]
    config = RunConfig(model="owner/model", task="countdown-small", method="reinforce", options=resolved)
    assert config.to_json()["revision"] == "v1"
    assert setup.record == {"model_commit": COMMIT}


def test_a_directory_has_no_revision_and_no_commit():
    assert resolve(EMBEDDED_MODEL) == EMBEDDED_MODEL
    assert commit_of(EMBEDDED_MODEL) is None
    with pytest.raises(InputError, match="has no revision 'main'"):
        prepare("default", "countdown-small", RunOptions(revision="main"))


def test_a_name_that_no_hub_has_is_refused(monkeypatch):
    def refuse(*arguments, **named):
        raise HFValidationError("Repo id must use alphanumeric chars")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match="neither a directory here nor a model on the hub"):
        resolve("a b/..")


def with_head(tmp_path, change):
    """A model whose configuration ties the head, and whose weights have one as well."""
    place = make.write("qwen2-tied", tmp_path / "model")
    weights = load_file(place / "model.safetensors")
    weights["lm_head.weight"] = change(weights["model.embed_tokens.weight"].copy())
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place


def test_a_tied_head_may_be_written_twice(tmp_path):
    model, _ = load(with_head(tmp_path, lambda head: head))
    assert model.config.tie_embeddings


@pytest.mark.parametrize(
    "change", [lambda head: head + (np.arange(head.size) == 3).reshape(head.shape), lambda h: h[:-1]]
)
def test_a_tied_configuration_with_another_head_is_refused(tmp_path, change):
    with pytest.raises(InputError, match=r"lm_head\.weight that differs from its embedding"):
        load(with_head(tmp_path, change))


def test_a_model_without_an_end_warns(tmp_path, capsys):
    place = make.write("qwen2-tied", tmp_path / "model")
    config = json.loads((place / "config.json").read_text()) | {"eos_token_id": None}
    (place / "config.json").write_text(json.dumps(config))
    assert stop_tokens(place) == ()
    assert "names no token that ends a response" in capsys.readouterr().err
