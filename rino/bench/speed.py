"""Sampling, GRPO steps and a loss, timed against the peers that are found and against what the machine allows.

Ours and a peer take turns, so that a machine whose speed drifts does so for all; ratios are taken turn by turn. A
peer is compared where it did the same work: its model gives the same log-probabilities within `BOUND`, and it drew the
same number of tokens. Turns that compile are not counted.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.huggingface import save
from rino.bench import limits
from rino.bench.scales import SCALES, Batch, Scale, build, lengths, prompts
from rino.bench.turns import PEERS, Peer, model_gap
from rino.bench.work import LEARNING_RATE, Step, Turn, sampling_turn
from rino_base.progress import track

BOUND = 1e-3
"""Nats by which a peer's log-probabilities may differ from ours, in float32."""

WORKS = ("equal", "ragged", "step")


def benchmarks(
    name: str,
    *,
    repeats: int,
    works: tuple[str, ...] = WORKS,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Rates of the machine, bytes a parameter, and by work: our turns, the least seconds, and every peer's turns.

    Args:
        name: a key of `SCALES`.
        repeats: counted turns of each.
        keep: called with what there is whenever a work is done, since all of them take long.
    """
    scale = SCALES[name]
    model = build(scale)
    rates = limits.measure_rates(scale.dtype)
    # A step changes its parameters in place, and the model is sampled from besides.
    step = Step(nnx.merge(*_copied(model)), scale)
    turns: dict[str, Turn] = {
        "equal": sampling_turn(model, scale.equal, ragged=False),
        "ragged": sampling_turn(model, scale.ragged, ragged=True),
        "step": step.turn,
    }
    sequences = np.random.default_rng(2).integers(2, 100, (4, 12))
    own = _log_probabilities(model, sequences).tolist()
    results: dict[str, Any] = {"rates": rates._asdict(), "bytes_per_parameter": {}, "works": {}}
    if "step" in works:
        results["bytes_per_parameter"] = step.bytes_per_parameter()
    with tempfile.TemporaryDirectory() as folder:
        order: dict[str, Any] | None = None
        # On an accelerator, or in bfloat16, the peers installed here would not do the same work.
        if jax.default_backend() == "cpu" and scale.dtype == "float32":
            save(model, folder)
            order = _order(scale, model.config, Path(folder), sequences)
        pairs = [(work, name) for work in works for name in (_peers_of(work) if order else ()) or (None,)]
        for work, rival in pairs:
            found = results["works"].setdefault(work, {"ours": [], "peers": {}})
            if rival is None or order is None:
                found["ours"] += _turns(turns[work], None, work, repeats)[0]
            else:
                # One peer at a time: three trainings side by side may need more memory than there is.
                with Peer(PEERS[rival], order) as peer:
                    ours, theirs = _turns(turns[work], peer, work, repeats)
                    found["peers"][rival] = _peer_summary(peer, theirs, ours, own)
                found["ours"] += ours
            found["limit"] = _limit(model.config, getattr(scale, work), work, rates, itemsize=model.dtype.itemsize)
            found |= _summary(found["ours"], found["limit"]["seconds"])
            keep(results)
    return results


def _copied(model: Decoder) -> tuple[nnx.GraphDef[Decoder], nnx.State]:
    graph, params = nnx.split(model)
    return graph, jax.tree.map(jnp.copy, params)


def _peers_of(work: str) -> tuple[str, ...]:
    return tuple(name for name, kind in PEERS.items() if work in kind.works)


Said = list[dict[str, float]]


def _turns(ours: Turn, peer: Peer | None, work: str, repeats: int) -> tuple[Said, Said]:
    """Our turns and the peer's, the uncounted first ones left out."""
    mine: Said = []
    theirs: Said = []
    beside = f", {peer.kind.module.removesuffix('_peer')}" if peer else ""
    for turn in track(range(-1, repeats), description=f"{work}{beside}"):
        said = ours()
        # What needs no compilation needs no uncounted turn either.
        answer = peer.turn(work) if peer and (turn >= 0 or peer.kind.warm) else None
        if turn >= 0:
            mine.append(said)
            theirs += [answer] if answer else []
    return mine, theirs


def _summary(turns: list[dict[str, float]], least: float) -> dict[str, Any]:
    seconds = [turn["seconds"] for turn in turns]
    parts = {
        name: float(np.median([turn[name] for turn in turns])) for name in ("sampling", "update") if name in turns[0]
    }
    return {
        "tokens": int(turns[0]["tokens"]),
        "tokens_per_s": turns[0]["tokens"] / float(np.median(seconds)),
        "share_of_limit": least / float(np.median(seconds)),
        "parts": parts,
    }


def _peer_summary(peer: Peer, turns: Said, ours: Said, own: list[list[float]]) -> dict[str, Any]:
    """The peer's times over ours; or why there are none."""
    if peer.problem:
        return {"problem": peer.problem}
    gap = model_gap(peer, own)
    found = {"version": peer.said["version"], "log_probability_gap": gap, "turns": turns}
    if not gap <= BOUND:
        return found | {"problem": f"its model is another: log-probabilities differ by {gap:.2g}"}
    amounts = {int(turn["tokens"]) for turn in (*turns, *ours)}
    if len(amounts) > 1:
        return found | {"problem": f"it did another amount of work: {sorted(amounts)} tokens"}
    ratios = [theirs["seconds"] / own_turn["seconds"] for theirs, own_turn in zip(turns, ours, strict=True)]
    return found | {
        "tokens_per_s": turns[0]["tokens"] / float(np.median([turn["seconds"] for turn in turns])),
        "ratio_median": float(np.median(ratios)),
        "ratio_range": [min(ratios), max(ratios)],
    }


def _limit(config: DecoderConfig, batch: Batch, work: str, rates: limits.Rates, *, itemsize: int) -> dict[str, float]:
    """Least seconds of a work, and of a step's parts."""
    drawn = lengths(batch, ragged=work == "ragged")
    sampling = limits.sampling_seconds(config, batch, drawn, rates, itemsize=itemsize)
    if work != "step":
        return sampling
    flops = limits.update_flops(config, batch, drawn)
    update = flops / rates.flops
    seconds = sampling["seconds"] + update
    return {"seconds": seconds, "sampling": sampling["seconds"], "update": update, "update_flops": flops}


def _log_probabilities(model: Decoder, sequences: np.ndarray) -> np.ndarray:
    logp = jax.nn.log_softmax(model.logits(model(jnp.asarray(sequences))))
    return np.asarray(jnp.take_along_axis(logp[:, :-1], jnp.asarray(sequences)[:, 1:, None], axis=2)[..., 0])


def _order(scale: Scale, config: DecoderConfig, folder: Path, sequences: np.ndarray) -> dict[str, Any]:
    return {
        "model": str(folder),
        "vocabulary": config.vocabulary_size,
        "learning_rate": LEARNING_RATE,
        "sequences": sequences.tolist(),
        "works": dict(_works(scale)),
    }


def _works(scale: Scale) -> Iterator[tuple[str, dict[str, Any]]]:
    for work in WORKS:
        batch: Batch = getattr(scale, work)
        yield (
            work,
            {
                "prompts": prompts(batch),
                "generations": batch.generations,
                "limits": lengths(batch, ragged=work == "ragged").tolist(),
            },
        )
