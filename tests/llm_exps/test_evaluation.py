"""pass@k and intervals against enumeration and known answers."""

import itertools

import jax
import numpy as np
import pytest

from llm_exps.comparison import distinguished, over_prompts, over_seeds
from llm_exps.evaluation import _chunks, evaluate, pass_at_k
from llm_exps.rollout import Completions, step_key
from llm_exps.tasks.task import Problems, Table, Task, lift


@pytest.mark.parametrize("correct", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(correct, k):
    outcomes = [index < correct for index in range(5)]
    draws = list(itertools.combinations(outcomes, k))
    expected = sum(any(draw) for draw in draws) / len(draws)
    assert pass_at_k(np.array([correct]), 5, k) == pytest.approx(expected)


@pytest.mark.parametrize("interval", [over_seeds, over_prompts])
def test_interval_covers_the_mean_about_as_often_as_it_says(interval):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        # Over prompts the models are held fixed: only the prompts vary. Over seeds only the seeds vary.
        prompts = rng.normal(size=(1, 60)) if interval is over_prompts else np.zeros((1, 60))
        seeds = rng.normal(size=(4, 1)) if interval is over_seeds else np.zeros((4, 1))
        low, high = interval(prompts + seeds)
        covered += low <= 0 <= high
    assert 180 <= covered <= 199


def test_one_seed_or_seeds_without_spread_have_no_interval_over_seeds():
    assert over_seeds(np.zeros((1, 5))) is None
    assert over_seeds(np.full((4, 5), 0.1)) is None


def test_distinguished_needs_both_intervals_to_exclude_zero_and_three_seeds():
    clear, unclear = [0.1, 0.3], [-0.1, 0.3]
    pair = {"seeds": 3, "interval_over_seeds": clear, "interval_over_prompts": clear}
    assert distinguished(pair)
    assert not distinguished(pair | {"seeds": 2})
    assert not distinguished(pair | {"interval_over_seeds": None})
    assert not distinguished(pair | {"interval_over_seeds": unclear})
    assert not distinguished(pair | {"interval_over_prompts": unclear})


class Counting:
    """Stands in for an actor: answers with a number that the key decides, and notes how much it was asked for."""

    def __init__(self):
        self.most, self.keys = 0, []

    def complete(self, params, prompts, key, *, copies=1, greedy=False, at_once):
        rows = len(prompts) * copies
        assert key.shape == (rows,)
        self.most = max(self.most, rows)
        if not greedy:
            self.keys += [jax.random.key_data(key)]
        key = key[0]
        draws = np.asarray(jax.random.randint(key, (rows,), 0, 4))
        lengths = 1 + draws
        mask = (np.arange(5) < lengths[:, None]).astype(np.float32)
        blank = np.zeros((rows, 5), np.float32)
        return Completions(
            blank, blank, mask, blank, blank + 0.5, draws < 3, ["0" if greedy else str(d) for d in draws]
        )


@pytest.mark.parametrize("rows", [3, 8, 1000])
def test_any_number_of_samples_is_drawn_in_blocks(rows):
    table = Table({"prompt": ["a", "b", "c"], "answer": ["0", "0", "9"]})
    grade = lift(lambda completion, *, answer, **_: float(completion == answer))
    task = Task(
        name="digits",
        train=Table({"prompt": ["x"], "answer": ["0"]}),
        evaluation=table,
        template="{prompt}",
        strict=grade,
        flexible=grade,
        deviations={"same": grade},
    )
    actor = Counting()
    result = evaluate(actor, None, task, task.evaluation_problems(), samples=256, seed=0, rows=rows)
    assert actor.most <= 4 * max(rows, 3)
    assert result["eval/accuracy_same"] == result["eval/accuracy_strict"] == pytest.approx(2 / 3)
    counts = result["eval/correct_counts"]
    assert counts[2] == 0
    # A quarter of 256, within five standard deviations; and not the same block again and again.
    assert all(29 <= count <= 99 for count in counts[:2])
    assert result["eval/pass@256"] == pytest.approx(2 / 3)
    assert result["eval/entropy"] == pytest.approx(0.5)
    assert result["eval/mean_length"] == pytest.approx(2.5, abs=0.3)


@pytest.mark.parametrize(("copies", "rows"), [(2, 4), (2, 6), (8, 8), (8, 3), (8, 1000), (20, 4)])
def test_a_completion_has_the_key_of_its_part_whatever_the_queue(copies, rows):
    """The keys as they were when every part was sampled by itself; so results recorded then stand."""
    prompts = [str(number) for number in range(11)]
    problems = Problems(prompts, {"answer": prompts})
    expected, size = [], max(rows // copies, 1)
    for start in range(0, 11, size):
        for block in range(-(-copies // rows)):
            key = step_key(5, start, 1)
            key = jax.random.fold_in(key, block) if block else key
            many = min(rows, copies - block * rows) if copies > rows else copies * min(size, 11 - start)
            expected += [jax.random.key_data(jax.random.fold_in(key, row)) for row in range(many)]
    chunks = list(_chunks(problems, copies=copies, rows=rows))
    keys = [jax.random.key_data(part.keys(5)) for chunk in chunks for part in chunk.parts]
    np.testing.assert_array_equal(np.concatenate(keys), expected)
    asked = [prompt for chunk in chunks for prompt in chunk.problems.prompts for _ in range(chunk.copies)]
    assert asked == [prompt for prompt in prompts for _ in range(copies)]
    assert all(len(chunk.problems) * chunk.copies <= 4 * max(rows, copies if copies <= rows else 1) for chunk in chunks)
