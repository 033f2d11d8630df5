"""Sampling, updates and losses, timed against the peers that are installed.

Ours and the peer take turns, so that a machine whose speed drifts does so for both; ratios are taken pair by pair. The
first turn of each compiles or warms up and is not counted. Without a peer (or on an accelerator, where the peers
installed here have no part) the figures stand alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llm_exps.config import customise
from llm_exps.learner import Evidence, Learner, Rollout
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.huggingface import load
from llm_exps.options import ObjectiveOptions, OptimiserOptions
from llm_exps.sampling import Sampling, generate, row_keys
from llm_exps.setup import EMBEDDED_MODEL
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import get
from mdp_theory.methods.loss import loss
from rino_base.progress import track

Task = Callable[[], Any]


@dataclass(frozen=True)
class Scale:
    """Sizes of the work. `model` None is the embedded model; else the published sizes, with random weights."""

    model: dict[str, int] | None
    prompts: int
    generations: int
    prompt_tokens: int
    new_tokens: int
    micro_batch: int
    dtype: str
    remat: bool


SCALES = {
    "small": Scale(None, 32, 8, 8, 48, 0, "float32", False),
    "qwen2.5-0.5b": Scale(
        {"hidden": 896, "mlp": 4864, "layers": 24, "heads": 14, "kv_heads": 2}, 16, 8, 128, 512, 16, "bfloat16", True
    ),
    "qwen2.5-1.5b": Scale(
        {"hidden": 1536, "mlp": 8960, "layers": 28, "heads": 12, "kv_heads": 2}, 16, 8, 128, 512, 16, "bfloat16", True
    ),
}


def benchmarks(scale: str, *, repeats: int) -> dict[str, dict[str, Any]]:
    """By name of the work: tokens a second, the seconds of every counted turn, the peer and its times over ours.

    Args:
        scale: a key of `SCALES`.
        repeats: counted turns of each.
    """
    sizes = SCALES[scale]
    model = _model(sizes)
    sampled = sizes.prompts * sizes.generations * sizes.new_tokens
    pairs = {
        "sampling": (_sampling(model, sizes), _peer_sampling(sizes), sampled),
        "update": (_update(model, sizes), None, sampled),
        "loss": (_loss(), _peer_loss(), 64 * 512),
    }
    return {
        name: _time(ours, peer, tokens=tokens, repeats=repeats)
        for name, (ours, peer, tokens) in track(pairs.items(), description="benchmarks")
    }


def device() -> tuple[str, int | None]:
    """What the work ran on, and the most memory that it took there, in bytes, where the device tells."""
    found = jax.devices()[0]
    return found.device_kind, (found.memory_stats() or {}).get("peak_bytes_in_use")


def _time(ours: Task, peer: tuple[str, Task] | None, *, tokens: int, repeats: int) -> dict[str, Any]:
    """Seconds of each turn, ours and the peer's alternating."""
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(repeats + 1):
        for side, task in (("ours", ours), ("peer", peer[1] if peer else None)):
            if task is not None:
                start = time.perf_counter()
                jax.block_until_ready(task())
                if turn:
                    seconds[side].append(time.perf_counter() - start)
    result: dict[str, Any] = {
        "tokens": tokens,
        "seconds": seconds["ours"],
        "tokens_per_s": tokens / float(np.median(seconds["ours"])),
        "peer": peer[0] if peer else None,
    }
    if peer:
        ratios = np.divide(seconds["peer"], seconds["ours"])
        result |= {
            "peer_seconds": seconds["peer"],
            "ratio_median": float(np.median(ratios)),
            "ratio_range": f"{ratios.min():.2f} … {ratios.max():.2f}",
        }
    return result


def _model(sizes: Scale) -> Decoder:
    if sizes.model is None:
        return load(EMBEDDED_MODEL)[0]
    shape = sizes.model
    config = DecoderConfig.from_huggingface(
        {
            "model_type": "qwen2",
            "vocab_size": 151_936,
            "hidden_size": shape["hidden"],
            "intermediate_size": shape["mlp"],
            "num_hidden_layers": shape["layers"],
            "num_attention_heads": shape["heads"],
            "num_key_value_heads": shape["kv_heads"],
            "rope_theta": 1e6,
            "max_position_embeddings": 32_768,
            "tie_word_embeddings": True,
        }
    )
    return Decoder(config, dtype=jnp.dtype(sizes.dtype), remat=sizes.remat, rngs=nnx.Rngs(0))


def _prompts(sizes: Scale) -> list[list[int]]:
    return np.random.default_rng(0).integers(2, 100, (sizes.prompts, sizes.prompt_tokens)).tolist()


def _sampling(model: Decoder, sizes: Scale) -> Task:
    # No stop token: every turn draws the same number of tokens, and so does the peer.
    sampling = Sampling(max_new_tokens=sizes.new_tokens, num_generations=sizes.generations)
    keys = row_keys(jax.random.key(0), jnp.arange(sizes.prompts * sizes.generations))
    return lambda: generate(model, _prompts(sizes), keys, sampling).tokens


def _peer_sampling(sizes: Scale) -> tuple[str, Task] | None:
    try:
        import torch
        import transformers
    except ImportError:
        return None
    if sizes.model is not None:
        return None
    peer = transformers.AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL).eval()
    prompts = torch.tensor(_prompts(sizes))

    def run() -> Any:
        with torch.no_grad():
            return peer.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=True,
                num_return_sequences=sizes.generations,
                min_new_tokens=sizes.new_tokens,
                max_new_tokens=sizes.new_tokens,
                pad_token_id=0,
            ).numpy()

    return f"transformers {transformers.__version__}", run


def _update(model: Decoder, sizes: Scale) -> Task:
    graph, params = nnx.split(model)
    objective = customise(get("grpo"), ObjectiveOptions(), sizes.new_tokens).objective
    options = OptimiserOptions(learning_rate=1e-6, micro_batch_size=sizes.micro_batch)
    learner = Learner(graph=graph, objective=objective, options=options, temperature=1.0, chunk=1024)
    rows, length = sizes.prompts * sizes.generations, sizes.prompt_tokens + sizes.new_tokens
    rng = np.random.default_rng(0)
    rollout = Rollout(
        tokens=rng.integers(2, 100, (rows, length)).astype(np.int32),
        valid=np.ones((rows, length), bool),
        mask=np.ones((rows, sizes.new_tokens), np.float32),
        sampler_logp=np.zeros((rows, sizes.new_tokens), np.float32),
        reward=rng.integers(0, 2, rows).astype(np.float32),
        group=np.repeat(np.arange(sizes.prompts, dtype=np.int32), sizes.generations),
    )
    # The update donates its state; the model is timed by others too.
    state = [learner.init(jax.tree.map(jnp.copy, params))]

    def run() -> Any:
        state[0], _ = learner.update(state[0], rollout, Evidence(None, None), probe=False)
        return state[0].params

    return run


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    logp = -rng.exponential(size=(64, 512)).astype(np.float32)
    return {
        "logp": logp,
        "old_logp": logp + 0.1 * rng.normal(size=logp.shape).astype(np.float32),
        "advantage": rng.normal(size=64).astype(np.float32),
    }


def _loss() -> Task:
    arrays = _arrays()
    objective = get("grpo").objective
    batch = Batch(
        logp=jnp.asarray(arrays["logp"]),
        old_logp=jnp.asarray(arrays["old_logp"]),
        ref_logp=jnp.asarray(arrays["old_logp"]),
        mask=jnp.ones((64, 512)),
        reward=jnp.asarray(arrays["advantage"]),
        group=jnp.arange(64) // 8,
    )
    run = jax.jit(jax.value_and_grad(lambda logp: loss(objective, batch._replace(logp=logp))))
    return lambda: run(batch.logp)


def _peer_loss() -> tuple[str, Task] | None:
    try:
        import polgrad
        import torch
    except ImportError:
        return None
    arrays = {name: torch.tensor(value) for name, value in _arrays().items()}
    config = polgrad.PolicyLossConfig(
        ratio=polgrad.RatioKind.TOKEN,
        surrogate=polgrad.SurrogateKind.PG_CLIP,
        clip=polgrad.ClipConfig(eps_low=0.2, eps_high=0.2),
        aggregation=polgrad.Aggregation.SEQ_MEAN_TOKEN_MEAN,
    )
    group, normalise = torch.arange(64) // 8, polgrad.GroupNormConfig(center=True, scale="std")

    def run() -> Any:
        logp = arrays["logp"].clone().requires_grad_()
        advantages = polgrad.grpo_advantages(arrays["advantage"], group, normalise)
        result = polgrad.policy_loss(
            config,
            logprobs=logp,
            old_logprobs=arrays["old_logp"],
            advantages=advantages,
            response_mask=torch.ones(64, 512, dtype=torch.bool),
        )
        result.loss.backward()
        return logp.grad.numpy()  # type: ignore[union-attr]

    return f"polgrad {polgrad.__version__}", run
