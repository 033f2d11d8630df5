"""The algebra of objectives against autodiff, against plain numpy, and against what a careless batch can hold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.loss import loss, surrogate
from mdp_theory.methods.objectives import KL, Advantage, Clip, Objective, Overlong
from mdp_theory.methods.weights import credit_structure_index, passes_clip, token_weights
from mdp_theory.precision import in_float64

ROWS, WIDTH = 8, 5
MIXED = (0.0, 1.0, 0.1, 0.0, 1.0, 0.1, 0.25, 1.0)
LEVELS = (0.0, 0.1, 0.1, 1.0, 0.25, -1.0)


def random_batch(seed, *, drift=0.3, rewards=MIXED, junk=None):
    """Two groups of four, interleaved; ragged lengths; half of the rows start with a prompt column."""
    rng = np.random.default_rng(seed)
    logp = -rng.exponential(1.0, (ROWS, WIDTH)) - 0.01
    length = rng.integers(1, WIDTH, ROWS)
    start = rng.integers(0, 2, ROWS)
    column = np.arange(WIDTH)
    mask = ((column >= start[:, None]) & (column < (start + length)[:, None])).astype(float)
    old = logp + drift * rng.standard_normal((ROWS, WIDTH))
    ref = logp + 0.3 * rng.standard_normal((ROWS, WIDTH))
    value = rng.standard_normal((ROWS, WIDTH))
    if junk is not None:
        logp, old, ref, value = (np.where(mask > 0, x, junk) for x in (logp, old, ref, value))
    reward = np.asarray(rewards, float) if rewards else rng.choice(LEVELS, ROWS)
    group = np.array([7, -3] * (ROWS // 2))
    return Batch(*(jnp.asarray(x) for x in (logp, old, ref, mask, reward, group, value)))


def ready(objective):
    """The objective with the limit on length that it asks for."""
    if objective.needs_limit:
        return dataclasses.replace(objective, max_completion_length=WIDTH)
    return objective


def autodiff_weights(objective, batch):
    return -jax.grad(lambda logp: loss(objective, batch._replace(logp=logp)))(batch.logp)


@in_float64
def both_weights(objective, seed, **options):
    batch = random_batch(seed, **options)
    return token_weights(objective, batch), autodiff_weights(objective, batch)


def assert_close(actual, expected, tolerance=1e-12):
    scale = max(np.abs(expected).max(), 1e-30)
    np.testing.assert_allclose(actual, expected, atol=tolerance * scale, rtol=0)


@pytest.mark.parametrize("key", METHODS)
@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_closed_form_weights_agree_with_autodiff(key, drift):
    closed, automatic = both_weights(ready(METHODS[key].objective), 3, drift=drift)
    assert np.abs(automatic).max() > 0
    assert_close(closed, automatic)


widths = st.floats(1e-3, 0.6)
advantages = st.builds(
    Advantage,
    outcome=st.sampled_from(["reward", "correct", "above-mean"]),
    positive=st.floats(0.0, 2.0),
    negative=st.floats(0.0, 2.0),
    threshold=st.sampled_from([0.05, 1.0]),
    baseline=st.sampled_from(["none", "group-mean", "leave-one-out"]),
    scale=st.sampled_from(["none", "group-std", "batch-std", "group-mean"]),
    ddof=st.sampled_from([0, 1]),
    eps=st.sampled_from([0.0, 1e-4, 0.1]),
    estimator=st.sampled_from(["outcome", "outcome", "gae"]),
    discount=st.floats(0.5, 1.0),
    gae_lambda=st.floats(0.0, 1.0),
)
kls = st.none() | st.builds(
    KL,
    beta=st.floats(0.0, 1.0),
    estimator=st.sampled_from(["k1", "k2", "k3"]),
    placement=st.sampled_from(["loss", "reward"]),
    sign=st.sampled_from([1, -1]),
)


@st.composite
def objectives(draw):
    term = draw(st.sampled_from(["log-likelihood", "ratio", "clipped-ratio", "truncated-weight"]))
    clip = None
    if term in ("clipped-ratio", "truncated-weight"):
        dual = draw(st.none() | st.floats(1.1, 3.0)) if term == "clipped-ratio" else None
        clip = Clip(low=draw(st.none() | widths), high=draw(st.none() | widths), dual=dual)
    return Objective(
        advantage=draw(advantages),
        surrogate=term,
        importance_sampling_level=draw(st.sampled_from(["token", "sequence", "sequence-token", "sequence-product"])),
        clip=clip,
        aggregation=draw(
            st.sampled_from(
                [
                    "sequence-mean-token-mean",
                    "token-mean",
                    "sequence-mean-token-sum-norm",
                    "sequence-mean-token-sum",
                ]
            )
        ),
        max_completion_length=WIDTH,
        kl=draw(kls),
        keep=draw(st.sampled_from(["all", "mixed-groups", "correct"])),
    )


@given(objectives(), st.integers(0, 50))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_closed_form_weights_agree_with_autodiff_for_any_objective(objective, seed):
    closed, automatic = both_weights(objective, seed, rewards=None)
    assert_close(closed, automatic, 1e-11)


@in_float64
def micro_batch_loss_and_weights(objective, order, size):
    batch = random_batch(5)
    credit = assign_credit(objective, batch)

    def part(logp, rows):
        return surrogate(
            objective,
            credit._replace(advantage=credit.advantage[rows], scale=credit.scale[rows]),
            logp=logp[rows],
            old_logp=batch.old_logp[rows],
            ref_logp=batch.ref_logp[rows],
            mask=batch.mask[rows],
        )

    parts = [jnp.asarray(order[i : i + size]) for i in range(0, ROWS, size)]
    values, gradients = zip(*(jax.value_and_grad(part)(batch.logp, rows) for rows in parts), strict=True)
    return sum(values), -sum(gradients), loss(objective, batch), token_weights(objective, batch)


@pytest.mark.parametrize("key", METHODS)
def test_micro_batches_add_up_to_the_batch(key):
    # The order splits groups across micro-batches, and the last micro-batch is short.
    order = np.array([5, 0, 3, 7, 1, 2, 6, 4])
    value, weights, whole, expected = micro_batch_loss_and_weights(ready(METHODS[key].objective), order, 3)
    assert value == pytest.approx(float(whole), rel=1e-12, abs=1e-14)
    assert_close(weights, expected)


@in_float64
def loss_and_weights(objective, junk):
    batch = random_batch(11, junk=junk)
    return loss(objective, batch), token_weights(objective, batch), autodiff_weights(objective, batch)


@pytest.mark.parametrize("key", [*METHODS, "kl-in-reward", "k2"])
def test_padding_may_hold_anything(key):
    extra = {
        "kl-in-reward": Objective(
            advantage=Advantage(baseline="group-mean"), surrogate="ratio", kl=KL(beta=0.1, placement="reward")
        ),
        "k2": Objective(advantage=Advantage(), surrogate="ratio", kl=KL(beta=0.1, estimator="k2")),
    }
    objective = extra[key] if key in extra else ready(METHODS[key].objective)
    clean = loss_and_weights(objective, 0.0)
    for junk in (np.inf, np.nan):
        for got, expected in zip(loss_and_weights(objective, junk), clean, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_of_equal_reward_carry_no_signal(dtype):
    """Rewards such as 0.1 do not average to themselves in binary; five of them must still be worth nothing."""
    sizes = np.tile(np.arange(1, 9), 5)
    group = np.repeat(np.arange(len(sizes)), sizes)
    reward = np.repeat(np.repeat([0.1, 1 / 3, 0.7, 1e-8, -0.1], 8), sizes).astype(dtype)
    rules = [
        Advantage(baseline=baseline, scale=scale, ddof=ddof)
        for baseline in ("group-mean", "leave-one-out")
        for scale in ("none", "group-std", "group-mean")
        for ddof in ((0, 1) if scale == "group-std" else (0,))
    ]
    rules += [Advantage(outcome="above-mean", positive=1 - alpha, negative=alpha) for alpha in (0.0, 0.5, 1.0)]
    with jax.enable_x64(dtype is np.float64):
        for rule in rules:
            assert not advantages_of(rule, reward, group).any(), rule
        whole_batch = Advantage(baseline="group-mean", scale="batch-std")
        assert not advantages_of(whole_batch, np.full(5, 0.1, dtype), np.zeros(5, int)).any()


def advantages_of(rule, reward, group):
    rows = jnp.full((len(reward), 1), -1.0, reward.dtype)
    batch = Batch(rows, rows, rows, jnp.ones_like(rows), jnp.asarray(reward), jnp.asarray(group))
    return np.asarray(assign_credit(Objective(advantage=rule, surrogate="ratio"), batch).advantage[:, 0])


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("eps", [0.0, 1e-6, 0.3])
def test_standard_deviations_follow_ddof_and_eps(ddof, eps):
    reward, group = np.array([0.0, 1.0, 0.1, 0.5, 2.0]), np.array([4, 4, 4, 9, 9])
    expected = np.zeros(5)
    for label in (4, 9):
        mine = group == label
        expected[mine] = (reward[mine] - reward[mine].mean()) / (reward[mine].std(ddof=ddof) + eps)
    rule = Advantage(baseline="group-mean", scale="group-std", ddof=ddof, eps=eps)
    np.testing.assert_allclose(in_float64(advantages_of)(rule, reward, group), expected, rtol=1e-13)

    centred = reward - np.array([reward[group == label].mean() for label in group])
    rule = dataclasses.replace(rule, scale="batch-std")
    np.testing.assert_allclose(
        in_float64(advantages_of)(rule, reward, group), centred / (reward.std(ddof=ddof) + eps), rtol=1e-13
    )


def test_a_group_of_one_has_no_leave_one_out_signal():
    assert in_float64(advantages_of)(Advantage(baseline="leave-one-out"), np.array([1.0]), np.array([0])) == [0.0]


@pytest.mark.parametrize("size", [4, 8])
def test_binary_advantages_are_the_closed_form(size):
    rule = Advantage(baseline="group-mean", scale="group-std")
    for correct in range(1, size):
        reward = np.arange(size) < correct
        p = correct / size
        expected = np.where(reward, np.sqrt((1 - p) / p), -np.sqrt(p / (1 - p)))
        got = in_float64(advantages_of)(rule, reward.astype(float), np.zeros(size, int))
        np.testing.assert_allclose(got, expected, rtol=1e-13)


def reference_gae(reward, value, discount, trace):
    """1506.02438 eq. 16, one response, as a double sum."""
    following = np.append(value[1:], 0.0)
    error = np.append(np.zeros(len(value) - 1), reward) + discount * following - value
    return [sum((discount * trace) ** k * error[t + k] for k in range(len(value) - t)) for t in range(len(value))]


@in_float64
def gae_advantage(discount, trace):
    batch = random_batch(2)
    rule = Advantage(estimator="gae", discount=discount, gae_lambda=trace)
    return assign_credit(Objective(advantage=rule, surrogate="ratio"), batch).advantage, batch


@pytest.mark.parametrize(("discount", "trace"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.5), (0.8, 0.0)])
def test_generalised_advantages_agree_with_the_double_sum(discount, trace):
    advantage, batch = gae_advantage(discount, trace)
    for row in range(ROWS):
        seen = np.asarray(batch.mask[row]) > 0
        expected = reference_gae(batch.reward[row], batch.value[row][seen], discount, trace)
        np.testing.assert_allclose(advantage[row][seen], expected, rtol=1e-12, atol=1e-14)


def test_a_perfect_critic_leaves_no_advantage():
    with jax.enable_x64(True):
        batch = random_batch(2)
        batch = batch._replace(value=jnp.broadcast_to(batch.reward[:, None], batch.mask.shape))
        rule = Advantage(estimator="gae")
        advantage = np.where(batch.mask > 0, assign_credit(Objective(advantage=rule, surrogate="ratio"), batch)[0], 0)
    np.testing.assert_allclose(advantage, 0, atol=1e-15)


def test_kl_estimators_have_the_means_they_claim():
    """Summed over a whole vocabulary, with the sampled token's probability: k1 and k3 are the KL itself, k2 is not."""
    rng = np.random.default_rng(0)
    policy, reference = rng.dirichlet(np.ones(9)), rng.dirichlet(np.ones(9))
    exact = (policy * np.log(policy / reference)).sum()
    mean = {
        name: float((policy * np.asarray(in_float64(kl_estimate)(name, np.log(policy), np.log(reference)))).sum())
        for name in ("k1", "k2", "k3")
    }
    assert mean["k1"] == pytest.approx(exact, rel=1e-13)
    assert mean["k3"] == pytest.approx(exact, rel=1e-13)
    assert mean["k2"] != pytest.approx(exact, rel=1e-2)


def test_kl_estimators_have_the_gradients_they_claim():
    """On-policy weights of a KL in the loss, averaged: k1 gives 0, k2 the reverse KL, k3 the forward KL."""
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        logits, reference = (jnp.asarray(rng.standard_normal(7)) for _ in range(2))
        log_p, log_r = jax.nn.log_softmax(logits), jax.nn.log_softmax(reference)

        def expected_gradient(estimator):
            slope = jax.grad(lambda x: kl_estimate(estimator, x, log_r).sum())(log_p)
            score = jax.jacobian(jax.nn.log_softmax)(logits)
            return (jnp.exp(log_p) * slope) @ score

        def reverse(x):
            return (jax.nn.softmax(x) * (jax.nn.log_softmax(x) - log_r)).sum()

        def forward(x):
            return (jnp.exp(log_r) * (log_r - jax.nn.log_softmax(x))).sum()

        np.testing.assert_allclose(expected_gradient("k1"), 0, atol=1e-15)
        np.testing.assert_allclose(expected_gradient("k2"), jax.grad(reverse)(logits), rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(expected_gradient("k3"), jax.grad(forward)(logits), rtol=1e-11, atol=1e-14)


@in_float64
def clip_table(clip, surrogate_name, ratios):
    """Which of the ratios pass, for a positive and for a negative advantage."""
    objective = Objective(
        advantage=Advantage(), surrogate=surrogate_name, clip=clip, aggregation="sequence-mean-token-sum"
    )
    logp = jnp.log(jnp.asarray(ratios))[None, :].repeat(2, axis=0)
    batch = Batch(logp, jnp.zeros_like(logp), logp, jnp.ones_like(logp), jnp.asarray([1.0, -1.0]), jnp.asarray([0, 0]))
    credit = assign_credit(objective, batch)
    passes = passes_clip(objective, credit, logp=logp, old_logp=batch.old_logp, mask=batch.mask)
    return passes, token_weights(objective, batch) * 2


def test_clipping_is_pessimistic_and_dual_clipping_bounds_it():
    ratios = np.array([0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 2.9, 3.1])
    passes, weights = clip_table(Clip(dual=3.0), "clipped-ratio", ratios)
    np.testing.assert_array_equal(passes[0], ratios < 1.2)
    np.testing.assert_array_equal(passes[1], (ratios > 0.8) & (ratios < 3.0))
    np.testing.assert_allclose(weights, np.where(passes, ratios * np.array([[1.0], [-1.0]]), 0.0), rtol=1e-14)


def test_a_truncated_weight_is_bounded_and_never_stopped():
    ratios = np.array([0.5, 1.0, 1.19, 1.21, 3.1])
    passes, weights = clip_table(Clip(low=None, high=0.2), "truncated-weight", ratios)
    np.testing.assert_array_equal(passes, np.broadcast_to(ratios < 1.2, (2, 5)))
    np.testing.assert_allclose(weights, np.minimum(ratios, 1.2) * np.array([[1.0], [-1.0]]), rtol=1e-14)


@in_float64
def test_a_geometric_mean_stops_single_tokens_on_the_side_that_pays():
    """GMPO by its definition: Π (min(ρA, clip(ρ)A) / A)^(1/L) · A, and its slope token by token."""
    delta = np.array([0.9, -0.9, 0.1, -0.1])
    held = {1.0: np.array([0.4, -0.9, 0.1, -0.1]), -1.0: np.array([0.9, -0.4, 0.1, -0.1])}
    objective = dataclasses.replace(METHODS["gmpo"].objective, advantage=Advantage())
    logp = jnp.asarray(np.tile(delta, (2, 1)))
    zero = jnp.zeros_like(logp)
    batch = Batch(logp, zero, zero, jnp.ones_like(logp), jnp.asarray([1.0, -1.0]), jnp.asarray([0, 0]))
    means = {sign: float(np.exp(held[sign].mean())) for sign in held}
    assert float(loss(objective, batch)) == pytest.approx(-(means[1.0] - means[-1.0]) / 2, rel=1e-14)
    expected = [sign * means[sign] / 4 / 2 * (held[sign] == delta) for sign in (1.0, -1.0)]
    np.testing.assert_allclose(token_weights(objective, batch), expected, rtol=1e-13)
    credit = assign_credit(objective, batch)
    passes = passes_clip(objective, credit, logp=logp, old_logp=zero, mask=batch.mask)
    np.testing.assert_array_equal(passes, [held[sign] == delta for sign in (1.0, -1.0)])


@in_float64
@pytest.mark.parametrize("key", ["dppo-tv", "dppo-kl"])
def test_a_trust_region_masks_what_moved_too_far_the_way_it_is_pushed(key):
    objective = dataclasses.replace(ready(METHODS[key].objective), advantage=Advantage())
    old, new = np.array([0.5, 0.5, 0.01, 0.9]), np.array([0.75, 0.55, 0.12, 0.6])
    if key == "dppo-tv":
        far = np.abs(new - old) > 0.15
    else:
        far = old * np.log(old / new) + (1 - old) * np.log((1 - old) / (1 - new)) > 0.05
    logp, old_logp = (jnp.log(jnp.asarray(np.tile(p, (2, 1)))) for p in (new, old))
    batch = Batch(logp, old_logp, logp, jnp.ones_like(logp), jnp.asarray([1.0, -1.0]), jnp.asarray([0, 0]))
    passes = np.stack([~(far & (new > old)), ~(far & (new < old))])
    assert passes.sum() not in (0, passes.size)
    signs = np.array([[1.0], [-1.0]])
    np.testing.assert_allclose(token_weights(objective, batch) * 2 * WIDTH, passes * signs * new / old, rtol=1e-13)
    credit = assign_credit(objective, batch)
    np.testing.assert_array_equal(passes_clip(objective, credit, logp=logp, old_logp=old_logp, mask=batch.mask), passes)


@in_float64
def test_overlong_responses_lose_in_proportion():
    """Eq. 13 of 2503.14476, with L_max = 8 and L_cache = 4."""
    objective = dataclasses.replace(
        METHODS["dapo-overlong"].objective,
        advantage=Advantage(overlong=Overlong(share=0.5, penalty=0.5)),
        max_completion_length=8,
        keep="all",
    )
    mask = (np.arange(10) < np.arange(1, 11)[:, None]).astype(float)
    zero = jnp.zeros((10, 10))
    batch = Batch(zero, zero, zero, jnp.asarray(mask), jnp.ones(10), jnp.zeros(10, int))
    found = assign_credit(objective, batch).advantage[:, 0]
    np.testing.assert_allclose(found, 1 - 0.5 * np.array([0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]), rtol=1e-14)
    with pytest.raises(ValueError, match="overlong responses needs max_completion_length"):
        assign_credit(METHODS["dapo-overlong"].objective, batch)


@in_float64
def index(weights, mask):
    return credit_structure_index(jnp.asarray(weights), jnp.asarray(mask))


def test_credit_structure_index():
    mask = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    assert index([[2.0, 2.0, np.nan], [-1.0, -1.0, -1.0]], mask) == 0
    assert index(np.zeros((2, 3)), mask) == 0
    assert index([[1.0, -1.0, 5.0], [0.0, 0.0, 0.0]], mask) == 1
    assert index([[3.0, 1.0, 5.0], [0.0, 0.0, 0.0]], mask) == pytest.approx(2 / 10)


def test_incomplete_objectives_are_refused():
    with pytest.raises(ValueError, match="needs a clip"):
        Objective(advantage=Advantage())
    with pytest.raises(ValueError, match="takes no clip"):
        Objective(advantage=Advantage(), surrogate="ratio", clip=Clip())
    with pytest.raises(ValueError, match="dual"):
        Objective(advantage=Advantage(), surrogate="truncated-weight", clip=Clip(dual=3.0))
    with pytest.raises(ValueError, match="trust region goes with"):
        dataclasses.replace(METHODS["dppo-tv"].objective, importance_sampling_level="sequence")
    with pytest.raises(ValueError, match="of a sequence"):
        dataclasses.replace(METHODS["gmpo"].objective, importance_sampling_level="token")
    batch = random_batch(0)
    with pytest.raises(ValueError, match="max_completion_length"):
        loss(METHODS["dr-grpo"].objective, batch)
    with pytest.raises(ValueError, match="critic"):
        loss(METHODS["ppo"].objective, batch._replace(value=None))


def test_dropped_responses_count_in_no_denominator():
    """Groups of equal reward leave no trace in DAPO: the loss of the rest is the same without them."""

    @in_float64
    def weights(rewards, rows):
        batch = random_batch(4, rewards=rewards)
        batch = Batch(*(x[jnp.asarray(rows)] for x in batch))
        return token_weights(METHODS["dapo"].objective, batch)

    rewards = [1, 0.1, 0, 0.1, 1, 0.1, 0, 0.1]  # the odd rows, one group, all earn 0.1
    whole = weights(rewards, range(ROWS))
    assert not whole[1::2].any()
    assert_close(whole[0::2], weights(rewards, range(0, ROWS, 2)))
