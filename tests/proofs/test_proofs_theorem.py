"""The checker itself: it verifies what is true, and nothing else, whatever way something is false."""

import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from sympy import Derivative, Function, Integer, Limit, Piecewise, Rational, S, Sum, exp, log, oo, sqrt, symbols

from proofs import theorem as checker
from proofs.theorem import OutOfTime, Step, Theorem, Witness, time_limit

x, y = symbols("x y", positive=True)
k, n = symbols("k n", integer=True, positive=True)


def step(left, right, **options):
    return Step("a claim", left, right, "a rule", **options)


def witness(sides, intact=0, broken=1, **options):
    return Witness("an assumption", "an instance", "left = right", sides, "δ", intact, broken, **options)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Derivative(x**3, x), 3 * x**2),
        (Limit((exp(x * y) - 1) / y, y, 0), x),
        (Sum(k, (k, 1, n)), n * (n + 1) / 2),
        (sqrt(x**2 * y), x * sqrt(y)),
    ],
)
def test_true_steps_are_verified_and_false_ones_are_not(left, right):
    assert step(left, right).check().verified
    for wrong in (-right, 2 * right, right**2, right + 1):
        outcome = step(left, wrong).check()
        assert not outcome.verified
        assert outcome.detail.startswith("left − right = ")


def test_inequalities_need_a_sign_that_sympy_knows():
    assert step(x**2 + x, 0, relation=">").check().verified
    assert step((x - y) ** 2, 0, relation="≥").check().verified
    assert not step((x - y) ** 2, 0, relation=">").check().verified
    assert not step(x - y, 0, relation="≥").check().verified


def test_hypotheses_are_used_and_needed():
    total = Sum(Function("f")(k), (k, 1, n))
    claim = step(2 * total, 2, given={total: Integer(1)})
    assert claim.check().verified
    assert not replace(claim, given={}).check().verified


def test_abbreviations_are_put_in_after_derivatives():
    value = x**2
    assert not step(Derivative(value, x), 0, where={value: y}).check().verified
    assert step(Derivative(value * x, x), 3 * y, where={value: y}).check().verified


def test_a_step_that_takes_too_long_fails(monkeypatch):
    monkeypatch.setattr(checker, "TIME_LIMIT", 0.2)

    def wait(*_):
        time.sleep(30)

    monkeypatch.setattr(checker, "settle", wait)
    start = time.perf_counter()
    outcome = step(x, x).check()
    assert not outcome.verified
    assert outcome.detail == "no answer within 0.2 s"
    assert time.perf_counter() - start < 5


def test_a_step_that_sympy_cannot_decide_fails(monkeypatch):
    def give_up(*_):
        raise NotImplementedError("sign unknown")

    monkeypatch.setattr(checker, "settle", give_up)
    outcome = step(x, x).check()
    assert not outcome.verified
    assert "sign unknown" in outcome.detail


def test_the_limit_passes_through_handlers_of_exceptions():
    """SymPy catches `Exception` in many places; the interruption must not be swallowed there."""

    def stubborn():
        with time_limit(0.1):
            for _ in range(20):
                with suppress(Exception):
                    time.sleep(1)

    with pytest.raises(OutOfTime):
        stubborn()


def test_outside_the_main_thread_an_overlong_block_still_fails():
    caught = []

    def run():
        try:
            with time_limit(0.05):
                time.sleep(0.2)
        except OutOfTime as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught


def test_a_witness_needs_its_control_and_its_failure():
    assert witness(lambda δ: (1 + δ, 1)).check().verified
    assert not witness(lambda δ: (1, 1)).check().verified
    assert not witness(lambda δ: (2 + δ, 1)).check().verified
    assert witness(lambda δ: (1 - δ, S.Half), relation="≥").check().verified
    assert not witness(lambda δ: (1 + δ, S.Half), relation="≥").check().verified


def test_a_witness_shows_its_numbers():
    outcome = witness(lambda δ: (Rational(1, 2) + δ * sqrt(2), Rational(1, 2))).check()
    assert outcome.detail == "δ = 0: 1/2 = 1/2;  δ = 1: 1/2 + √2 ≈ 1.91421 ≠ 1/2"


def test_a_witness_whose_sides_cannot_be_compared_fails():
    free = symbols("free", real=True)
    assert not witness(lambda δ: (δ * free, 0)).check().verified


def test_a_report_counts_everything():
    theorem = Theorem("T0", "title", "statement", (), "x", (step(x, x + y - y),), (witness(lambda δ: (δ, 0)),))
    calls = []
    report = theorem.check(done=lambda: calls.append(1))
    assert report.verified
    assert len(calls) == 2
    broken = replace(theorem, steps=(step(x, y), *theorem.steps)).check()
    assert not broken.verified
    assert [outcome.verified for outcome in broken.steps] == [False, True]


def test_sums_without_a_closed_form_stay_sums():
    f = Function("f")
    assert step(Sum(2 * f(k), (k, 1, n)), 2 * Sum(f(k), (k, 1, n))).check().verified
    assert not step(Sum(x**k, (k, 0, oo)), 1 / (1 - x)).check().verified, "it holds for x < 1 only"
    assert not Sum(x**k, (k, 0, oo)).doit().has(log)
    assert Sum(x**k, (k, 0, oo)).doit().has(Piecewise)
