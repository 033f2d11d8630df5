"""`rino bench`: what counts as the same work, what a limit counts, and rows for peers that cannot take part."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llm_exps.logprobs import token_logprobs
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from rino.bench import limits, turns
from rino.bench.limits import Rates
from rino.bench.scales import SCALES, Batch, lengths, prompts
from rino.bench.speed import BOUND, _peer_summary, _turns
from rino.bench.turns import Kind, Peer
from rino.bench.work import draw
from rino_base.marked_tables import filled

ROOT = Path(__file__).resolve().parents[1]
CONFIG = DecoderConfig(
    architecture="qwen2",
    vocabulary_size=320,
    hidden_size=64,
    intermediate_size=192,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    tie_embeddings=True,
)


def test_operations_of_an_update_are_those_that_xla_counts():
    """Matrix products and attention, forward and backward; norms and softmax, which XLA counts as well, are few."""
    batch = Batch(2, 2, prompt_tokens=12, new_tokens=16)
    graph, state = nnx.split(Decoder(CONFIG, rngs=nnx.Rngs(0)))

    def loss(state: nnx.State, prompts: jax.Array, tokens: jax.Array) -> jax.Array:
        model = nnx.merge(graph, state)
        ones, prompt = jnp.ones_like(prompts, bool), jnp.array([0, 0, 1, 1])
        x = model.through_layers(model.branch(prompts, ones, prompt, tokens, jnp.ones_like(tokens, bool)))
        hidden = model.predictors(x, prompt, prompts.shape)
        return token_logprobs(model, hidden, tokens)[0].sum()

    prompts, tokens = jnp.zeros((2, 12), jnp.int32), jnp.zeros((4, 16), jnp.int32)
    counted = jax.jit(jax.grad(loss)).lower(state, prompts, tokens).compile().cost_analysis()["flops"]
    # The program computes the attention of pairs that the mask hides, too.
    assert limits.update_flops(CONFIG, batch, np.full(4, 16)) == pytest.approx(counted, rel=0.1)


def test_a_decoding_step_takes_the_longer_of_arithmetic_and_reading():
    batch, drawn = Batch(1, 2, prompt_tokens=3, new_tokens=4), np.array([2, 4])
    weights = limits.layer_parameters(CONFIG) + CONFIG.hidden_size * CONFIG.vocabulary_size
    cached = 2 * 3 * 2 * 16 * 4  # keys and values of three layers, two heads of 16 numbers of 4 bytes
    reading = limits.sampling_seconds(CONFIG, batch, drawn, Rates(1e30, 1.0), itemsize=4)
    # Two rows with 4 tokens of context, then one with 5 and with 6.
    assert reading["seconds"] == pytest.approx(3 * 4 * weights + cached * (2 * 4 + 5 + 6))
    assert reading["read_bound_seconds"] == pytest.approx(reading["seconds"])
    arithmetic = limits.sampling_seconds(CONFIG, batch, drawn, Rates(1.0, 1e30), itemsize=4)
    layers, pair = limits.layer_parameters(CONFIG), 4 * 3 * 4 * 16
    prefill = 2 * layers * 3 + pair * 6 + 2 * (weights - layers)
    assert arithmetic["seconds"] == pytest.approx(prefill + 4 * 2 * weights + pair * (2 * 4 + 5 + 6))
    assert arithmetic["read_bound_seconds"] == 0


@pytest.mark.parametrize("name", SCALES)
def test_ragged_lengths_have_a_mean_of_an_eighth_of_the_limit_and_some_at_it(name):
    batch = SCALES[name].ragged
    drawn = lengths(batch, ragged=True)
    rows = batch.prompts * batch.generations
    assert len(drawn) == rows
    assert (drawn == batch.new_tokens).sum() >= rows // 32
    short = drawn[drawn < batch.new_tokens]
    assert short.min() >= 1
    # A mean of n draws from a geometric distribution has about its mean over √n as standard deviation.
    assert abs(short.mean() - batch.new_tokens / 8) < 4 * batch.new_tokens / 8 / np.sqrt(rows)
    assert min(map(min, prompts(batch))) >= 2


def test_every_row_is_drawn_to_its_length():
    batch = Batch(2, 4, prompt_tokens=3, new_tokens=24)
    model = Decoder(CONFIG, rngs=nnx.Rngs(0))
    assert draw(model, batch, 1, ragged=True).mask.sum(axis=1).tolist() == lengths(batch, ragged=True).tolist()


OURS = [{"seconds": 1.0, "tokens": 8}, {"seconds": 2.0, "tokens": 8}]
THEIRS = [{"seconds": 3.0, "tokens": 8}, {"seconds": 4.0, "tokens": 8}]


def summary(*, gap: float = 0.0, theirs: list[dict[str, Any]] = THEIRS, problem: str | None = None) -> dict[str, Any]:
    peer: Any = SimpleNamespace(problem=problem, said={"version": "peer 1", "logp": [[-1.0, -2.0 - gap]]})
    return _peer_summary(peer, theirs, OURS, [[-1.0, -2.0]])


def test_a_peer_is_compared_turn_by_turn_where_it_did_the_same_work():
    found = summary(gap=BOUND / 2)
    assert (found["ratio_median"], found["ratio_range"]) == (2.5, [2.0, 3.0])
    assert "another" in summary(gap=2 * BOUND)["problem"]
    assert "another" in summary(gap=float("nan"))["problem"]
    assert "[7, 8] tokens" in summary(theirs=[THEIRS[0], THEIRS[1] | {"tokens": 7}])["problem"]
    assert summary(problem="gone") == {"problem": "gone"}


@pytest.mark.parametrize("warm", [0, 1])
def test_turns_that_compile_are_not_counted(warm: int):
    asked: list[str] = []
    peer: Any = SimpleNamespace(
        kind=Kind("some_peer", "some", ("equal",), warm),
        turn=lambda work: asked.append(work) or {"seconds": float(len(asked)), "tokens": 8},
    )
    made: list[int] = []
    ours, theirs = _turns(lambda: made.append(1) or {"seconds": float(len(made)), "tokens": 8}, peer, "equal", 2)
    assert [turn["seconds"] for turn in ours] == [2.0, 3.0]
    assert [turn["seconds"] for turn in theirs] == [1.0 + warm, 2.0 + warm]
    assert _turns(lambda: {"seconds": 1.0, "tokens": 8}, None, "equal", 2)[1] == [], "nobody to compare with"


def test_a_peer_that_is_absent_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RINO_FRAMEWORKS", str(tmp_path))
    if importlib.util.find_spec("trl") is not None:
        pytest.skip("TRL is installed in this environment")
    with Peer(turns.PEERS["TRL"], {}) as peer:
        assert peer.turn("step") is None
        assert "rino conformance trl --install" in str(peer.problem)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("caller.say(**asked['nothing'])", "its interface is another than expected: KeyError: 'nothing'"),
        ("raise SystemExit(3)", "its process ended: exit code 3"),
    ],
)
def test_a_peer_that_has_changed_says_so_and_ends_nothing(monkeypatch, tmp_path, body, said):
    """A module of a peer that fails, started as peers are."""
    text = "from rino.bench.peers.answering import answer\n\n\ndef main(caller, asked):\n    "
    (tmp_path / "changed.py").write_text(f"{text}{body}\n\n\nanswer(main)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(turns, "_python", lambda framework: Path(sys.executable))
    monkeypatch.setattr(turns, "_MODULES", "")
    with Peer(Kind("changed", "changed", ("step",), 0), {"model": "none"}) as peer:
        assert str(peer.problem).startswith(said)
        assert peer.turn("step") is None


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("speed_tables", ROOT / "results" / "speed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_page_are_made_from_the_files(tables):
    text = tables.PAGE.read_text(encoding="utf-8")
    assert filled(text, "speed", tables.TABLES) == text, "run: python results/speed.py --write"


def test_goals_are_judged_by_what_was_measured(tables, monkeypatch, tmp_path):
    """Ratios on both sides of the goals, a peer that is absent, and a card that was measured."""
    peers = {"transformers": {"version": "t", "tokens_per_s": 1.0, "ratio_median": 4.0, "ratio_range": [3.9, 4.1]}}
    work = {"tokens_per_s": 4.0, "share_of_limit": 0.5, "peers": peers}
    step = work | {"peers": {"TRL": {"problem": "gone"}}, "limit": {"update_flops": 989.4e12}, "parts": {"update": 1.5}}
    found = {
        "scale": "s",
        "repeats": 2,
        "rates": {"flops": 1e9, "bytes": 1e9},
        "works": {"equal": work, "ragged": work, "step": step},
        "start_seconds": {"first": 9.0, "second": 4.0},
        "bytes_per_parameter": dict.fromkeys(
            ("between_steps", "gradient_held", "optimiser_held", "optimiser_with_scratch"), 16.0
        ),
        "hardware": {"device": "NVIDIA H200"},
        "versions": {"jax": "0"},
    }
    for name in ("speed.json", "speed-gpu-qwen2.5-0.5b.json"):
        (tmp_path / name).write_text(json.dumps(found))
    monkeypatch.setattr(tables, "HERE", tmp_path)
    monkeypatch.setattr(tables, "CPU", tmp_path / "speed.json")
    rows = [line.split(" | ") for line in tables.goals().splitlines()[2:]]
    verdicts = {(row[0].lstrip("| "), row[1]): row[3].rstrip(" |") for row in rows}
    assert verdicts["sampling, equal lengths", "≥ 3 × transformers"] == "reached"
    assert verdicts["sampling, ragged lengths", "≥ 6 × transformers"] == "not reached: 75% of the limit"
    assert verdicts["GRPO step", "≥ 2.6 × TRL"] == ""
    assert verdicts["start to first step, second start", "< 5 s"] == "reached"
    assert verdicts["update, Qwen2.5-0.5B shape, bfloat16, 1,024 tokens", "≥ 50% MFU"] == "reached"
    assert verdicts["update, Qwen2.5-1.5B shape, bfloat16, 1,024 tokens", "≥ 50% MFU"] == ""
    assert "gone" in tables.goals()
    assert "gone" in tables.measured()
