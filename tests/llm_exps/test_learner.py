"""The learner against a naive computation: full logits, autodiff of `mdp_theory.methods.objectives.loss`, one batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llm_exps import gradient as gradient_module
from llm_exps.config import customise
from llm_exps.evidence import Evidence, Prefixes, Rollout
from llm_exps.learner import Learner
from llm_exps.models import backward, lora
from llm_exps.models.decoder import Decoder, DecoderConfig
from llm_exps.options import ObjectiveOptions, OptimiserOptions
from llm_exps.probe import compare_gradients
from llm_exps.update import Weights, split
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import get
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.loss import loss

CONFIG = DecoderConfig.from_huggingface(
    {
        "model_type": "qwen2",
        "vocab_size": 31,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 32,
        "tie_word_embeddings": True,
        "eos_token_id": 1,
        "initializer_range": 0.3,
    }
)
# One length bin, so that one compilation serves.
PROMPT, TIME, GROUPS, SIZE = 5, 8, 3, 4


@pytest.fixture(scope="module")
def model():
    return nnx.split(Decoder(CONFIG, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def rollout():
    rng = np.random.default_rng(0)
    rows = GROUPS * SIZE
    lengths = rng.integers(1, TIME + 1, rows)
    mask = (np.arange(TIME) < lengths[:, None]).astype(np.float32)
    prompt = np.arange(PROMPT) >= rng.integers(0, 3, GROUPS).repeat(SIZE)[:, None]
    asked = rng.integers(2, 31, (GROUPS, PROMPT)).repeat(SIZE, axis=0)
    return Rollout(
        tokens=np.concatenate([asked, rng.integers(2, 31, (rows, TIME))], axis=1).astype(np.int32),
        valid=np.concatenate([prompt, mask > 0], axis=1),
        mask=mask,
        sampler_logp=np.zeros((rows, TIME), np.float32),
        reward=np.array([1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1], np.float32),
        group=np.arange(GROUPS, dtype=np.int32).repeat(SIZE),
    )


@pytest.fixture(scope="module")
def evidence(rollout):
    rng = np.random.default_rng(1)
    old, ref = (-rng.exponential(3.0, rollout.mask.shape).astype(np.float32) for _ in range(2))
    return Evidence(old, ref)


def learner(model, method, **options):
    chosen = OptimiserOptions(**{"learning_rate": 1e-3, **options})
    objective = customise(get(method), ObjectiveOptions(), TIME).objective
    return Learner(graph=model[0], objective=objective, options=chosen, temperature=0.7, chunk=8)


def gradient(subject, params, rollout, evidence):
    credit = subject._credit(rollout, evidence)
    return subject._gradient(Weights(params, None), rollout, evidence, credit, subject.objective)[0].params


def naive_logp(graph, params, rollout):
    decoder = nnx.merge(graph, params)
    logits = decoder.logits(decoder(rollout.tokens, segments=rollout.valid))[:, PROMPT - 1 : -1] / 0.7
    return jnp.take_along_axis(jax.nn.log_softmax(logits), rollout.tokens[:, PROMPT:, None], axis=-1)[..., 0]


@pytest.mark.parametrize("method", ["grpo-kl", "gspo", "cispo", "dapo", "dr-grpo", "f-isft-pm"])
def test_gradient_is_that_of_the_theorys_loss(model, rollout, evidence, method):
    graph, params = model
    subject = learner(model, method)
    logp = np.asarray(naive_logp(graph, params, rollout))
    # Close enough to the policy that clipping is active on some tokens and not on others.
    near = Evidence(logp + 0.1 * np.sin(np.arange(logp.size).reshape(logp.shape)).astype(np.float32), evidence.ref_logp)

    def whole(params):
        logp = naive_logp(graph, params, rollout)
        return loss(
            subject.objective, Batch(logp, near.old_logp, near.ref_logp, rollout.mask, rollout.reward, rollout.group)
        )

    result = compare_gradients(gradient(subject, params, rollout, near), jax.grad(whole)(params))
    assert result["equivalence/relative_error"] < 1e-5


@pytest.mark.parametrize(
    "aggregation", ["sequence-mean-token-mean", "token-mean", "sequence-mean-token-sum-norm", "sequence-mean-token-sum"]
)
def test_gradient_does_not_depend_on_the_micro_batch(model, rollout, evidence, aggregation):
    subject = learner(model, "grpo-kl")
    subject = dataclasses.replace(subject, objective=dataclasses.replace(subject.objective, aggregation=aggregation))
    whole = gradient(subject, model[1], rollout, evidence)
    for size in (1, 4):
        small = dataclasses.replace(subject, options=dataclasses.replace(subject.options, micro_batch_size=size))
        part = gradient(small, model[1], rollout, evidence)
        assert compare_gradients(part, whole)["equivalence/relative_error"] < 1e-5


def test_prompts_that_rows_share_are_computed_once(model, rollout, monkeypatch):
    """And only they: the gradient is that of whole rows, and where no rows share prompts, nothing is shared."""
    subject, seen = learner(model, "grpo"), []
    decoder = type(nnx.merge(*model))
    branch = decoder.branch
    monkeypatch.setattr(
        decoder, "branch", lambda self, prompts, *rest: seen.append(len(prompts)) or branch(self, prompts, *rest)
    )
    apart = rollout._replace(tokens=np.concatenate([np.arange(12)[:, None] + 2, rollout.tokens[:, 1:]], axis=1))
    for batch, prompts in ((rollout, [GROUPS]), (apart, [])):
        jax.clear_caches()
        seen.clear()
        credit = subject._credit(batch, Evidence(None, None))
        share = subject._gradient(Weights(model[1], None), batch, Evidence(None, None), credit, subject.objective)[0]
        assert sorted(set(seen)) == prompts
        arguments = subject.objective, Weights(model[1], None), batch, Evidence(None, None), credit
        whole, _ = gradient_module.gradient(subject.program, *arguments)
        assert compare_gradients(share.params, whole.params)["equivalence/relative_error"] < 1e-5


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("trainable", [nnx.Param, nnx.LoRAParam])
def test_layer_by_layer_the_gradient_is_that_of_one_program(rollout, remat, trainable):
    """With and without prompts in common; with adapters, nothing but them gets one."""
    decoder = Decoder(CONFIG, remat=remat, rngs=nnx.Rngs(0))
    if trainable is nnx.LoRAParam:
        lora.add(decoder, rank=2, alpha=4.0)
    graph, params = nnx.split(decoder)
    subject = dataclasses.replace(learner((graph, params), "grpo"), trainable=trainable)
    evidence = Evidence(None, None)
    credit = subject._credit(rollout, evidence)
    for prefixes in (None, Prefixes.of(rollout.prompt_numbers(), most=GROUPS)):
        arguments = subject.program, subject.objective, Weights(params, None), rollout, evidence, credit, prefixes
        parts, sums = gradient_module.gradient(*arguments)
        whole, expected = gradient_module.gradient.whole(*arguments)
        assert jax.tree.structure(parts) == jax.tree.structure(split(trainable, Weights(params, None))[0])
        assert compare_gradients(parts.params, whole.params)["equivalence/relative_error"] < 1e-5
        for name, value in sums.items():
            assert float(value) == pytest.approx(float(expected[name]), rel=1e-5, abs=1e-6), name


def test_numbers_of_prompts_come_in_bins():
    found = Prefixes.of(np.array([7, 7, 3, 3, 3, 9, 9, 7]), most=5)
    assert (found.first.tolist(), found.prompt.tolist()) == ([2, 0, 5, 5], [1, 1, 0, 0, 0, 2, 2, 1])
    assert Prefixes.of(np.array([0, 0, 1, 1, 2, 2]), most=3).first.tolist() == [0, 2, 4]
    assert Prefixes.of(np.array([0, 0, 1, 1, 2]), most=3) is None
    assert Prefixes.of(np.array([4]), most=1) is None


def test_probe_on_policy_and_after_inner_steps(model, rollout):
    _, params = model
    once = learner(model, "grpo")
    _, metrics = once.update(once.init(copy(params)), rollout, Evidence(None, None), probe=True)
    assert metrics["equivalence/cosine"] == pytest.approx(1, abs=1e-6)
    assert metrics["equivalence/relative_error"] < 1e-6
    parts = {name.split("/")[1] for name in metrics if name.startswith("equivalence/") and name.count("/") == 2}
    assert parts == {"embed_tokens", "layers.0", "layers.1", "norm"}
    assert metrics["equivalence/credit_structure_index"] < 1e-12  # float32 rounding, squared
    thrice = learner(model, "grpo", num_iterations=3, learning_rate=0.02)
    old = thrice.logprobs(params, rollout)
    _, later = thrice.update(thrice.init(copy(params)), rollout, Evidence(old, None), probe=True)
    assert later["equivalence/cosine"] < 0.99
    assert later["equivalence/credit_structure_index"] > 0.01
    assert later["clip_ratio/region_mean"] > 0


def test_gradients_are_compared_part_by_part(model):
    _, params = model
    doubled = jax.tree.map(lambda x: 2 * x, params)
    result = compare_gradients(doubled, params)
    assert result["equivalence/cosine"] == pytest.approx(1)
    assert result["equivalence/relative_error"] == pytest.approx(1)
    turned = jax.tree_util.tree_map_with_path(lambda path, x: -x if "layers" in str(path) else x, params)
    result = compare_gradients(turned, params)
    assert result["equivalence/layers.0/cosine"] == pytest.approx(-1)
    assert result["equivalence/embed_tokens/cosine"] == pytest.approx(1)
    assert abs(result["equivalence/cosine"]) < 1


def test_first_of_several_passes_equals_the_on_policy_shortcut(model, rollout):
    _, params = model
    subject = learner(model, "grpo")
    old = subject.logprobs(params, rollout)
    shortcut = gradient(subject, params, rollout, Evidence(None, None))
    explicit = gradient(subject, params, rollout, Evidence(old, None))
    assert compare_gradients(shortcut, explicit)["equivalence/relative_error"] < 1e-5


def test_methods_with_one_token_term_share_a_compilation(model, rollout):
    _, params = model

    def compiled():
        return gradient_module._loss_gradient._cache_size(), backward._backward._cache_size()

    gradient(learner(model, "f-isft-pm"), params, rollout, Evidence(None, None))
    before = compiled()
    assert min(before) > 0
    for method in ("f-isft-pos", "rloo", "maxrl"):
        gradient(learner(model, method, learning_rate=0.5), params, rollout, Evidence(None, None))
    assert compiled() == before


def test_warmup_rises_to_the_rate(model):
    subject = learner(model, "grpo", warmup_steps=4, num_iterations=2, learning_rate=1.0)
    assert [subject.learning_rate(step, update=update) for step in (0, 1, 2) for update in (0, 1)] == [
        0.25, 0.5, 0.75, 1.0, 1.0, 1.0,
    ]  # fmt: skip


def test_minibatches_update_once_each(model, rollout):
    _, params = model
    subject = learner(model, "grpo", num_minibatches=3, num_iterations=2)
    old = subject.logprobs(params, rollout)
    state, _ = subject.update(subject.init(copy(params)), rollout, Evidence(old, None), probe=False)
    counts = {int(leaf) for leaf in jax.tree.leaves(state.optimiser) if leaf.ndim == 0}
    assert counts == {6}


def test_gradient_that_is_not_finite_is_skipped_and_counted(model, rollout):
    _, params = model
    subject = learner(model, "reinforce")
    broken = rollout._replace(reward=np.where(np.arange(len(rollout.reward)) == 2, np.inf, rollout.reward))
    state, metrics = subject.update(subject.init(copy(params)), broken, Evidence(None, None), probe=False)
    assert int(state.skipped) == 1
    assert not np.isfinite(metrics["grad_norm"])
    assert all(
        (new == old).all() for new, old in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True)
    )
    moments = [leaf for leaf in jax.tree.leaves(state.optimiser) if leaf.ndim]
    assert all((leaf == 0).all() for leaf in moments)


def test_update_climbs_the_outcome(model, rollout):
    _, params = model
    subject = learner(model, "f-isft-pos", learning_rate=1e-2)
    before = subject.logprobs(params, rollout)
    state, _ = subject.update(subject.init(copy(params)), rollout, Evidence(None, None), probe=False)
    change = ((subject.logprobs(state.params, rollout) - before) * rollout.mask).sum(axis=1)
    assert change[rollout.reward == 1].mean() > 0


def test_memory_holds_no_logits_of_the_whole_batch():
    """The widths of Qwen2.5-0.5B with its real vocabulary; one layer, since the head is what is asked about."""
    config = dataclasses.replace(
        CONFIG,
        vocabulary_size=151_936,
        num_layers=1,
        hidden_size=896,
        intermediate_size=4864,
        num_heads=14,
        num_kv_heads=2,
        head_dim=64,
    )
    graph, params = nnx.split(Decoder.abstract(config))
    subject = dataclasses.replace(learner((graph, params), "grpo"), chunk=64)
    rows, time = 16, 128
    shapes = Rollout(
        tokens=jax.ShapeDtypeStruct((rows, 16 + time), jnp.int32),
        valid=jax.ShapeDtypeStruct((rows, 16 + time), jnp.bool_),
        mask=jax.ShapeDtypeStruct((rows, time), jnp.float32),
        sampler_logp=jax.ShapeDtypeStruct((rows, time), jnp.float32),
        reward=jax.ShapeDtypeStruct((rows,), jnp.float32),
        group=jax.ShapeDtypeStruct((rows,), jnp.int32),
    )
    credit = jax.eval_shape(lambda: subject_credit(subject, rows, time))
    arguments = subject.program, subject.objective, Weights(params, None), shapes, Evidence(None, None), credit, None
    whole = gradient_module.gradient.whole.lower(*arguments).compile().memory_analysis().temp_size_in_bytes
    parts = gradient_module.memory(*arguments)
    logits = rows * time * 151_936 * 4
    gradient_of_embedding = 151_936 * 896 * 4
    for scratch in (whole, parts.saved + parts.scratch):
        assert scratch < logits
        assert scratch < 3 * gradient_of_embedding


def subject_credit(subject, rows, time):
    ones = jnp.ones((rows, time))
    batch = Batch(ones, ones, ones, ones, jnp.ones(rows), jnp.zeros(rows, int))
    return assign_credit(subject.objective, batch)


def test_critic_learns_the_reward_and_leaves_the_trunk_alone(model, rollout):
    _, params = model
    subject = learner(model, "ppo", learning_rate=1e-12, critic_learning_rate=0.05)
    state = subject.init(copy(params))
    losses = []
    for _ in range(60):
        evidence = Evidence(None, None, subject.values(state, rollout))
        state, metrics = subject.update(state, rollout, evidence, probe=False)
        losses.append(metrics["value_loss"])
    assert losses[-1] < 0.5 * losses[0]
    assert all(jnp.allclose(a, b) for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True))


def copy(params):
    return jax.tree.map(jnp.copy, params)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 2.0])
def test_a_sampler_that_is_not_the_learner_is_corrected_up_to_the_threshold(model, rollout, threshold):
    """Each token's weight is multiplied by min(π/π_sampler, threshold), and by nothing where the threshold is 0."""
    _, params = model
    evidence = Evidence(None, None)
    plain, corrected = (learner(model, "grpo", rollout_is_threshold=value) for value in (0.0, threshold))
    logp = plain.logprobs(params, rollout)
    drift = np.random.default_rng(3).normal(size=logp.shape)
    drifted = rollout._replace(sampler_logp=(logp - drift) * rollout.mask)
    factor = np.minimum(np.exp(drift), threshold) if threshold else np.ones_like(drift)
    credit = plain._credit(rollout, evidence)
    expected = plain._gradient(
        Weights(params, None),
        rollout,
        evidence,
        credit._replace(advantage=credit.advantage * factor),
        plain.objective,
    )
    found = corrected._gradient(Weights(params, None), drifted, evidence, credit, plain.objective)
    for left, right in zip(jax.tree.leaves(found[0]), jax.tree.leaves(expected[0]), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    if threshold:
        assert float(found[1]["sampling/correction_mean"]) == pytest.approx((factor * rollout.mask).sum(), rel=1e-5)
