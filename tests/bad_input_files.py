"""Damaged and absurd files for the table of bad inputs: made once, in one directory, where every row is tried."""

import json
import os
import struct
from pathlib import Path

from llm_exps.setup import EMBEDDED_MODEL

_PROBLEM = {
    "name": '"p"',
    "vocabulary": '["a", "b", "<eos>"]',
    "eos": '"<eos>"',
    "horizon": "2",
    "prompt": '[{ text = "q", rewards = { "a <eos>" = 1.0 } }]',
}


def _problem(**changes: str | None) -> str:
    lines = {**_PROBLEM, **changes}
    return "".join(f"{name} = {value}\n" for name, value in lines.items() if value is not None)


PROBLEMS = {
    "good.toml": _problem(),
    "empty.toml": "",
    "cut.toml": 'name = "p',
    "latin-1.toml": 'name = "é"'.encode("latin-1"),
    "nul.toml": b"name = \0",
    "nameless.toml": _problem(name=None),
    "number-for-a-name.toml": _problem(name="3"),
    "horizon-0.toml": _problem(horizon="0"),
    "horizon-1.5.toml": _problem(horizon="1.5"),
    "horizon-40.toml": _problem(horizon="40"),
    "horizon-true.toml": _problem(horizon="true"),
    "digits.toml": _problem(horizon="9" * 5000),
    "float-digits.toml": _problem(default_reward="9" * 400),
    "no-prompt.toml": _problem(prompt="[]"),
    "prompt-text.toml": _problem(prompt='"q"'),
    "twice.toml": _problem(prompt='[{ text = "q", rewards = {} }, { text = "q", rewards = {} }]'),
    "unknown-token.toml": _problem(prompt='[{ text = "q", rewards = { "z <eos>" = 1.0 } }]'),
    "unended.toml": _problem(prompt='[{ text = "q", rewards = { "a" = 1.0 } }]'),
    "nan.toml": _problem(prompt='[{ text = "q", rewards = { "a <eos>" = nan } }]'),
    "infinite.toml": _problem(prompt='[{ text = "q", rewards = { "a <eos>" = inf } }]'),
    "reward-text.toml": _problem(prompt='[{ text = "q", rewards = { "a <eos>" = "1" } }]'),
    "half.toml": _problem(prompt='[{ text = "q", probability = 0.5, rewards = { "a <eos>" = 1.0 } }]'),
    "negative.toml": _problem(
        prompt='[{ text = "q", probability = -1.0, rewards = {} }, { text = "r", probability = 2.0, rewards = {} }]'
    ),
    "eosless.toml": _problem(eos='"end"'),
    "one-token.toml": _problem(vocabulary='["<eos>"]'),
    "same-token.toml": _problem(vocabulary='["a", "a", "<eos>"]'),
    "spaced.toml": _problem(vocabulary='["a b", "<eos>"]'),
    "vocabulary-text.toml": _problem(vocabulary='"ab"'),
    "vocabulary-numbers.toml": _problem(vocabulary='[1, 2, "<eos>"]'),
    "stranger.toml": _problem(horizn="3"),
    "deep.toml": "x = " + "[" * 3000 + "]" * 3000,
    "wide.toml": _problem(vocabulary=json.dumps([f"t{i}" for i in range(3000)] + ["<eos>"]), horizon="6"),
}

TASKS = {
    "raises.py": "raise ZeroDivisionError('by zero')",
    "exits.py": "import sys; sys.exit(0)",
    "raises-later.py": "def task():\n    raise KeyError('x')",
    "exits-later.py": "def task():\n    raise SystemExit(3)",
    "wants-more.py": "def task(x):\n    return None",
    "taskless.py": "x = 1",
    "returns-3.py": "def task():\n    return 3",
    "cut.py": "def task(:",
    "latin-1.py": "# é\nx = 1".encode("latin-1"),
    "nul.py": b"x = '\0'",
    "empty.jsonl": "",
    "blank.jsonl": "\n\n\n",
    "cut.jsonl": '{"prompt": "a", "answer": "1"}\n{"prompt": "b", "ans',
    "list.jsonl": "[1, 2]\n",
    "answerless.jsonl": '{"prompt": "a"}\n{"prompt": "b"}\n',
    "latin-1.jsonl": '{"prompt": "é", "answer": "1"}\n'.encode("latin-1"),
    "one.jsonl": '{"prompt": "a", "answer": "1"}\n',
    "same.jsonl": '{"prompt": "a", "answer": "1"}\n{"prompt": "a", "answer": "1"}\n',
    "deep.jsonl": '{"prompt": ' + "[" * 200_000 + "\n",
    "number-prompt.jsonl": '{"prompt": 1, "answer": "1"}\n{"prompt": 2, "answer": "2"}\n',
    "nan.jsonl": '{"prompt": "a", "answer": NaN}\n{"prompt": "b", "answer": 1}\n',
    "digits.jsonl": '{"prompt": "a", "answer": ' + "9" * 5000 + '}\n{"prompt": "b", "answer": 1}\n',
    "long.jsonl": "".join(json.dumps({"prompt": f"1 {i} " * 60, "answer": "1"}) + "\n" for i in range(40)),
    "letters.jsonl": "".join(json.dumps({"prompt": f"what is {i}?", "answer": "1"}) + "\n" for i in range(40)),
    "problems.jsonl": '{"problem": "1 + 1?", "answer": "2"}\n',
    "half.jsonl": '{"prompt": "7 \\ud800", "answer": "1"}\n{"prompt": "8", "answer": "1"}\n',
    "no.parquet": "no parquet",
    "no.whl": "no wheel",
    "no.gguf": "no gguf",
    "fieldless.txt": "a prompt without fields",
    "brace.txt": "{nums",
    "stranger.txt": "{nums} {target} {colour}",
    "attribute.txt": "{nums.__class__} {target}",
    "latin-1.txt": "é {nums} {target}".encode("latin-1"),
}

LOSSES = {
    "losses.py": "def raises(logp, old_logp, ref_logp, rewards, mask, group):\n    raise ValueError('no')\n"
    "def exits(logp, old_logp, ref_logp, rewards, mask, group):\n    raise SystemExit(0)\n"
    "def few(logp):\n    return logp\n"
    "def text(logp, old_logp, ref_logp, rewards, mask, group):\n    return 'loss'\n"
    "def nothing(logp, old_logp, ref_logp, rewards, mask, group):\n    return None\n"
    "def vector(logp, old_logp, ref_logp, rewards, mask, group):\n    return logp.sum(axis=1)\n"
    "def nan(logp, old_logp, ref_logp, rewards, mask, group):\n    return logp.sum() * float('nan')\n"
    "def constant(logp, old_logp, ref_logp, rewards, mask, group):\n    return rewards.sum()\n"
    "number = 3\n",
}

CONFIGS = {
    "steps-0.toml": "steps = 0",
    "steps-1.5.toml": "steps = 1.5",
    "steps-text.toml": 'steps = "many"',
    "steps-list.toml": "steps = [1, 2]",
    "steps-true.toml": "steps = true",
    "steps-date.toml": "steps = 2020-01-01",
    "nan-rate.toml": "learning_rate = nan",
    "infinite-rate.yaml": "learning_rate: .inf",
    "stranger-option.toml": "stepps = 3",
    "twice-given.toml": "steps = 3\n[run]\nsteps = 4",
    "tables.toml": "[a.b]\nsteps = 3",
    "list.yaml": "- 1\n- 2",
    "text.yaml": "steps",
    "tag.yaml": "steps: !!python/object/apply:os.getcwd []",
    "tab.yaml": "a:\n\t- b",
    "bomb.yaml": "a: &a [x, x]\nb: &b [*a, *a]\nsteps: *b",
    "cut.json": '{"steps": ',
    "list.json": "[]",
    "seed.json": '{"seed": -3}',
    "options.ini": "steps = 3",
    "beta.json": '{"objective": {}, "versions": {}, "objective_options": 3}',
}

_EMBEDDED = json.loads((EMBEDDED_MODEL / "config.json").read_text())

MODELS: dict[str, object] = {
    "m-empty": "",
    "m-cut": '{"model_type": "qwen2", "hidd',
    "m-list": "[]",
    "m-null": "null",
    "m-latin-1": '{"model_type": "é"}'.encode("latin-1"),
    "m-deep": "[" * 200_000,
    "m-typeless": {"model_type": None},
    "m-gpt": {"model_type": "gpt2"},
    "m-size-text": {"hidden_size": "64"},
    "m-size-null": {"hidden_size": None},
    "m-size-negative": {"hidden_size": -64},
    "m-size-0": {"hidden_size": 0},
    "m-size-float": {"hidden_size": 64.5},
    "m-size-true": {"num_hidden_layers": True},
    "m-size-list": {"intermediate_size": [128]},
    "m-layers": {"num_hidden_layers": 10_000_000},
    "m-layers-0": {"num_hidden_layers": 0},
    "m-vocabulary": {"vocab_size": 10**12},
    "m-vocabulary-small": {"vocab_size": 2},
    "m-heads-0": {"num_attention_heads": 0},
    "m-heads-3": {"num_attention_heads": 3},
    "m-kv-heads": {"num_key_value_heads": -1},
    "m-positions": {"max_position_embeddings": 0},
    "m-theta": {"rope_theta": "many"},
    "m-theta-0": {"rope_theta": 0},
    "m-epsilon": {"rms_norm_eps": "small"},
    "m-epsilon-negative": {"rms_norm_eps": -1.0},
    "m-eos-text": {"eos_token_id": "end"},
    "m-eos-dict": {"eos_token_id": {"a": 1}},
    "m-eos-negative": {"eos_token_id": -5},
    "m-eos-beyond": {"eos_token_id": 10**9},
    "m-tie": {"tie_word_embeddings": "yes"},
    "m-act": {"hidden_act": "gelu"},
    "m-rope": {"rope_scaling": {"rope_type": "yarn", "factor": 4}},
    "m-rope-list": {"rope_scaling": [1]},
    "m-rope-text": {"rope_scaling": {"rope_type": "llama3", "factor": "x"}},
    "m-window": {"use_sliding_window": True},
    "m-quantised": {"quantization_config": {"bits": 4}},
}

_WEIGHTS = (EMBEDDED_MODEL / "model.safetensors").read_bytes()


def _tensors(header: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


WEIGHTS: dict[str, bytes] = {
    "w-empty": b"",
    "w-cut": _WEIGHTS[: len(_WEIGHTS) // 2],
    "w-header": _WEIGHTS[:20],
    "w-huge-header": _tensors(b"{}", 2**60),
    "w-text": b"no weights at all, but long enough to be read",
    "w-none": _tensors(b"{}"),
    "w-list": _tensors(b"[]"),
    "w-overlap": _tensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,10]}}', data=bytes(16)),
    "w-backwards": _tensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}', data=bytes(16)),
    "w-negative": _tensors(b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}', data=bytes(16)),
    "w-type": _tensors(b'{"a":{"dtype":"X99","shape":[4],"data_offsets":[0,16]}}', data=bytes(16)),
    "w-nan": _WEIGHTS[:-4] + struct.pack("<f", float("nan")),
}

_CONFIG = {"method": "grpo", "title": "GRPO", "seed": 0, "steps": 2, "task": "t", "model": "m"}
_ROW = '{"step": 1, "reward": 0.5}\n'

RUNS: dict[str, dict[str, str | bytes]] = {
    "r-config-empty": {"config.json": "", "metrics.jsonl": _ROW},
    "r-config-list": {"config.json": "[]", "metrics.jsonl": _ROW},
    "r-config-cut": {"config.json": '{"method": "gr', "metrics.jsonl": _ROW},
    "r-config-deep": {"config.json": "[" * 200_000, "metrics.jsonl": _ROW},
    "r-config-latin-1": {"config.json": '{"method": "é"}'.encode("latin-1"), "metrics.jsonl": _ROW},
    "r-methodless": {"config.json": '{"seed": 0}', "metrics.jsonl": _ROW},
    "r-seed-text": {"config.json": json.dumps({**_CONFIG, "seed": "x"}), "metrics.jsonl": _ROW},
    "r-method-list": {"config.json": json.dumps({**_CONFIG, "method": []}), "metrics.jsonl": _ROW},
    "r-middle": {"config.json": json.dumps(_CONFIG), "metrics.jsonl": _ROW + '{"step": 2, "rew\n' + _ROW},
    "r-row-list": {"config.json": json.dumps(_CONFIG), "metrics.jsonl": "[1]\n"},
    "r-stepless": {"config.json": json.dumps(_CONFIG), "metrics.jsonl": '{"reward": 1}\n'},
    "r-nan": {"config.json": json.dumps(_CONFIG), "metrics.jsonl": '{"step": 1, "reward": NaN}\n'},
    "r-digits": {"config.json": json.dumps(_CONFIG), "metrics.jsonl": '{"step": ' + "9" * 5000 + "}\n"},
    "r-log-latin-1": {"config.json": json.dumps(_CONFIG), "metrics.jsonl": b'{"step": 1, "x": "\xe9"}\n'},
    "r-finished-cut": {"config.json": json.dumps(_CONFIG), "finished.json": '{"steps": '},
    "r-finished-list": {"config.json": json.dumps(_CONFIG), "finished.json": "[]"},
    "r-finished-files": {"config.json": json.dumps(_CONFIG), "finished.json": '{"files": 3}'},
    "r-check-list": {"check/a.json": "[1]"},
    "r-check-cut": {"check/a.json": '{"methods": '},
    "r-prove-list": {"prove.json": "[]"},
    "r-comparison-cut": {"comparison.json": "{"},
}


def make_all(place: Path) -> None:
    """Write every file of the table into `place`."""
    for name, data in {**PROBLEMS, **TASKS, **LOSSES, **CONFIGS}.items():
        _write(place / name, data)
    for name, files in RUNS.items():
        for inner, data in files.items():
            _write(place / name / inner, data)
    for name, changes in MODELS.items():
        text = json.dumps({**_EMBEDDED, **changes}) if isinstance(changes, dict) else changes
        _model(place / name, {"config.json": text})
    for name, data in WEIGHTS.items():
        _model(place / name, {"model.safetensors": data})
    _model(place / "m-configless", {"config.json": None})
    _model(place / "m-weightless", {"model.safetensors": None})
    _model(place / "m-index", {"model.safetensors": None, "model.safetensors.index.json": '{"weight_map": [1]}'})
    _model(place / "m-index-cut", {"model.safetensors": None, "model.safetensors.index.json": "{"})
    _model(
        place / "m-index-out",
        {"model.safetensors": None, "model.safetensors.index.json": '{"weight_map": {"a": "../../etc/passwd"}}'},
    )
    _model(place / "m-tokenizerless", {"tokenizer.json": None})
    _model(place / "m-tokenizer-cut", {"tokenizer.json": "{"})
    _model(place / "m-tokenizer-list", {"tokenizer.json": "[]"})
    _model(place / "m-generation-cut", {"generation_config.json": "{"})
    _model(place / "m-generation-text", {"generation_config.json": '{"eos_token_id": "end"}'})
    (place / "directory.toml").mkdir()
    (place / "directory.json").mkdir()
    (place / "empty-directory").mkdir()
    _write(place / "full" / "note.txt", "something")
    _write(place / "file", "a file")


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else str(data).encode())


def _model(place: Path, changes: dict[str, object]) -> None:
    """The embedded model with some files changed, or left out where the change is None."""
    place.mkdir()
    for file in EMBEDDED_MODEL.iterdir():
        if file.is_file() and file.name not in changes:
            os.symlink(file, place / file.name)
    for name, data in changes.items():
        if data is not None:
            _write(place / name, data)
