"""The checker itself: it verifies what is true, and nothing else, whatever way something is false."""

import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from sympy import Derivative, Function, Integer, Lambda, Limit, Piecewise, Rational, S, Sum, exp, log, oo, sqrt, symbols

from proofs import parts, timing
from proofs.parts import Assumption, Cited, Definition, Step, Witness
from proofs.theorem import Theorem
from proofs.timing import OutOfTime, time_limit
from proofs.verify import verify

x, y = symbols("x y", positive=True)
k, n = symbols("k n", integer=True, positive=True)
m = symbols("m", integer=True, nonnegative=True)
f = Function("f", real=True)


def check(left, right, given=None, where=None, **options):
    return Step("a claim", left, right, "a rule", **options).check(given or {}, where or {})


def witness(sides, intact=0, broken=1, **options):
    return Witness("an assumption", "square", "an instance", "left = right", sides, "δ", intact, broken, **options)


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
    assert check(left, right).verified
    for wrong in (-right, 2 * right, right**2, right + 1):
        outcome = check(left, wrong)
        assert not outcome.verified
        assert outcome.detail.startswith("left − right = ")


def test_inequalities_need_a_sign_that_is_known():
    assert check(x**2 + x, 0, relation=">").verified
    assert check((x - y) ** 2, 0, relation="≥").verified
    assert not check((x - y) ** 2, 0, relation=">").verified
    assert not check(x - y, 0, relation="≥").verified


def test_hypotheses_are_used_and_needed():
    total = Sum(f(k), (k, 1, n))
    assert check(2 * total, 2, given={total: Integer(1)}).verified
    assert not check(2 * total, 2).verified


def test_abbreviations_are_put_in_after_derivatives():
    value = x**2
    assert not check(Derivative(value, x), 0, where={value: y}).verified
    assert check(Derivative(f(x) * x, x), f(x) + x * Derivative(f(x), x), where={f(x): y}).verified


def compute(seconds):
    """Keep the processor busy, for so many seconds of its time."""
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_a_step_that_takes_too_long_fails(monkeypatch):
    monkeypatch.setattr(timing, "TIME_LIMIT", 0.2)

    def wait(*_):
        compute(30)

    monkeypatch.setattr(parts, "settle", wait)
    start = time.process_time()
    outcome = check(x, y)
    assert not outcome.verified
    assert outcome.detail == "no answer within 0.2 s of processor time"
    assert time.process_time() - start < 5


def test_a_step_that_sympy_cannot_decide_fails(monkeypatch):
    def give_up(*_):
        raise NotImplementedError("sign unknown")

    monkeypatch.setattr(parts, "settle", give_up)
    outcome = check(x, y)
    assert not outcome.verified
    assert "sign unknown" in outcome.detail


def test_the_limit_passes_through_handlers_of_exceptions():
    """SymPy catches `Exception` in many places; the interruption must not be swallowed there."""

    def stubborn():
        with time_limit(0.1):
            for _ in range(20):
                with suppress(Exception):
                    compute(1)

    with pytest.raises(OutOfTime):
        stubborn()


def test_outside_the_main_thread_an_overlong_block_still_fails():
    caught = []

    def run():
        try:
            with time_limit(0.05):
                compute(0.2)
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


def test_sums_without_a_closed_form_stay_sums():
    assert check(Sum(2 * f(k), (k, 1, n)), 2 * Sum(f(k), (k, 1, n))).verified
    assert not check(Sum(x**k, (k, 0, oo)), 1 / (1 - x)).verified, "it holds for x < 1 only"
    assert not Sum(x**k, (k, 0, oo)).doit().has(log)
    assert Sum(x**k, (k, 0, oo)).doit().has(Piecewise)


def triangle() -> Theorem:
    """The sum of the first m numbers by induction, and its value where m = x² − 1 is assumed."""
    total = Sum(k, (k, 1, m))
    value = m * (m + 1) / 2
    return Theorem(
        id="T0",
        title="title",
        words="The first numbers add up to {sum}.",
        results=("sum", "square"),
        definitions=(
            Definition("total", "of the first m numbers", total),
            Definition("double", "twice the total and m more", 2 * total + m),
        ),
        assumptions=(Assumption("a square", {m: x - 1}),),
        model={m: 3, x: 4},
        steps=(
            Step("None.", Sum(k, (k, 1, 0)), S.Zero, "Empty.", begins=Cited("total", {m: S.Zero}), label="none"),
            Step("On.", total.subs(m, m + 1), total + m + 1, "Split.", begins=Cited("total", {m: m + 1}), label="more"),
            Step("All.", total, value, "Induction.", begins="total", given=("none", "more"), over=m, name="sum"),
            Step("Insert.", 2 * total + m, m * (m + 2), "The sum.", begins="double", given=("sum",)),
            Step("Square.", m * (m + 2), x**2 - 1, "Insert m.", given=("a square",), name="square"),
        ),
        witnesses=(replace(witness(lambda δ: (δ, 0)), dropped="a square"),),
    )  # fmt: skip


def test_a_whole_theorem_is_verified_and_counted():
    calls = []
    report = verify(triangle(), done=lambda: calls.append(1))
    assert report.verified, report
    assert len(calls) == 6
    assert triangle().statement == "The first numbers add up to m (m + 1)/2."
    assert triangle().formulas()["square"] == "m + 2 Σ[k, 1, m] (k) = x^2 − 1"
    assert triangle().symbolic == "integers m; numbers x"


def test_one_false_step_makes_the_theorem_false():
    theorem = triangle()
    broken = verify(replace(theorem, steps=(*theorem.steps[:4], replace(theorem.steps[4], right=x))))
    assert not broken.verified
    assert [outcome.verified for outcome in broken.steps] == [True, True, True, True, False]


@pytest.mark.parametrize(("step", "right"), [(0, S.One), (1, Sum(k, (k, 1, m)) + m), (2, m**2)])
def test_an_induction_needs_its_base_and_its_step(step, right):
    theorem = triangle()
    steps = list(theorem.steps)
    steps[step] = replace(steps[step], right=right)
    assert not replace(theorem, steps=tuple(steps)).check_step(2).verified


def test_an_induction_is_for_all_values_of_the_other_arguments():
    """g(m + 1, j) = g(m, j + 1) with g(0, j) = j gives g(m, j) = m + j only if the hypothesis is for all j."""
    g, j = Function("g", real=True), symbols("j", real=True)
    steps = (
        Step("0", g(0, j), j, "", begins=Cited("g", {m: S.Zero}), given=("law",), label="base"),
        Step("1", g(m + 1, j), g(m, j + 1), "", begins=Cited("g", {m: m + 1}), given=("law",), label="step"),
        Step("2", g(m, j), m + j, "", begins="g", given=("base", "step"), over=m, name="sum"),
    )
    theorem = Theorem(
        id="T0",
        title="",
        words="{sum}",
        results=("sum",),
        definitions=(
            Definition("g", "", g(m, j)),
            Definition("law", "", equations={g(0, j): j, g(m + 1, j): g(m, j + 1)}, every=(m, j)),
        ),
        assumptions=(),
        model={g: Lambda((m, j), m + j), m: 2, j: 5},
        steps=steps,
        witnesses=(),
    )
    assert verify(theorem).verified
    wrong = replace(theorem, steps=(*steps[:2], replace(steps[2], right=2 * m + j)))
    assert not wrong.check_step(2).verified
