"""The simplifier: zeros are found through shifted sums and binomials, and only true zeros."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Function, Integer, Rational, Sum, binomial, symbols

from proofs.ends import refuted_at
from proofs.notation import binomial_law
from proofs.settle import carry_out, settle

p, q = symbols("p q", positive=True)
G = symbols("G", integer=True, positive=True)
k, j = symbols("k j", integer=True)
n = symbols("n", integer=True, nonnegative=True)
f = Function("f")


@pytest.mark.parametrize(
    "zero",
    [
        Sum(f(k), (k, 1, G)) - Sum(f(k + 1), (k, 0, G - 1)),
        Sum(f(k), (k, 0, G)) - f(0) - Sum(f(k), (k, 1, G)),
        Sum(f(k), (k, 1, G + 2)) - Sum(f(k), (k, 1, G)) - f(G + 1) - f(G + 2),
        Sum(Sum(f(j) * f(k), (j, 1, k)), (k, 1, G)) - Sum(f(j) * f(k), (j, 1, k), (k, 1, G)),
        Sum(k * binomial_law(G, k), (k, 0, G)) - G * p * Sum(binomial_law(G - 1, k), (k, 0, G - 1)),
        binomial(G, k) * k - G * binomial(G - 1, k - 1),
    ],
)
def test_zeros_are_found(zero):
    assert settle(zero) == 0


@pytest.mark.parametrize(
    "other",
    [
        Sum(f(k), (k, 1, G)) - Sum(f(k), (k, 0, G - 1)),
        Sum(f(k), (k, 0, G)) - Sum(f(k), (k, 1, G)),
        Sum(k * binomial_law(G, k), (k, 0, G)) - G * p * Sum(binomial_law(G, k), (k, 0, G)),
        Sum(f(k), (k, 1, G)) - 1,
    ],
)
def test_what_is_not_zero_is_not_called_zero(other):
    assert settle(other) != 0


def test_hypotheses_reach_multiples_and_parts_of_sums():
    law = binomial_law(G, k)
    certain = {Sum(law, (k, 0, G)): Integer(1)}
    assert settle(Sum(3 * law, (k, 1, G)) - 3 + 3 * q**G, certain) == 0
    assert settle(Sum(3 * law, (k, 1, G)) - 3, certain) != 0
    assert settle(Sum(3 * law, (k, 1, G)) - 3 + 3 * q**G) != 0


BERNOULLI = binomial(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        # C(k−1, k−2) is k − 1, but 0 and not −1 at k = 0: the two of the issue, and others like them.
        (Sum(binomial(k - 1, k - 2) * p**k, (k, 0, n)) - Sum((k - 1) * p**k, (k, 0, n)), {}),
        (
            Sum(n * binomial(n - 1, k - 1) / k * p**k * (1 - p) ** (n - k), (k, 0, n)) - 1,
            {Sum(BERNOULLI, (k, 0, n)): 1},
        ),
        (Sum(binomial(k - 2, k - 3) * p**k, (k, 0, n)) - Sum((k - 2) * p**k, (k, 0, n)), {}),
        (Sum(k / k * f(k) * binomial(k, k - 1) / k, (k, 0, G)) - Sum(f(k), (k, 0, G)), {}),
        (Sum(binomial(G, k) / binomial(G - 1, k), (k, 0, G - 1)) - Sum(G / (G - k), (k, 0, G)), {}),
        (Sum(binomial(G, k + 1) * (k + 1), (k, -1, G)) - G * Sum(binomial(G - 1, k), (k, 0, G)) - 1, {}),
        (Sum((n - k) / (n - k) * binomial(n - 1, k) * n / (n - k), (k, 0, n)) - Sum(binomial(n, k), (k, 0, n)), {}),
        (binomial(k - 1, k - 2) - (k - 1), {}),
        (binomial(n, k) * k / n - binomial(n - 1, k - 1), {}),
    ],
)
def test_identities_that_fail_at_an_end_are_refused(wrong, given):
    assert settle(wrong, given) != 0


def test_the_end_at_which_an_identity_fails_is_named():
    assert refuted_at(binomial(n - 1, n - 2) - (n - 1)) == {n: 0}
    assert refuted_at(Sum(k / (n - 1), (k, 0, n)) - n * (n + 1) / 2 / (n - 1)) == {n: 1}
    assert refuted_at(binomial(n + 1, k) - binomial(n, k) - binomial(n, k - 1)) is None


@settings(deadline=None, max_examples=15)
@given(
    low=st.integers(-2, 3),
    shift=st.integers(-2, 2),
    extra=st.integers(-1, 2),
    size=st.integers(3, 6),
)
def test_what_is_left_has_the_value_of_what_was_given(low, shift, extra, size):
    """Whatever the tactics make of two sums, its value at a number is that of the sums."""
    expression = Sum(binomial(G, k + 3) * p**k, (k, low, G)) - Sum(k**2 * p**k, (k, low + shift, G + extra))
    at = {G: Integer(size), p: Rational(2, 3)}
    assert settle(expression).subs(at).doit() == expression.subs(at).doit()


def test_binomial_sums_are_not_evaluated():
    total = Sum(binomial_law(G, k), (k, 0, G))
    assert carry_out(total) == total
    assert carry_out(Sum(Integer(1), (k, 1, G))) == G
