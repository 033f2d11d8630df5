"""Signs of sums and integrals: known where the terms and the range are, and only there."""

import pytest
from sympy import Function, Integer, Integral, Sum, exp, log, sqrt, symbols

from proofs.signs import sign

x, y = symbols("x y", positive=True)
z = symbols("z", real=True)
t = symbols("t", nonnegative=True)
G, m = symbols("G m", integer=True, positive=True)
k = symbols("k", integer=True)
n = symbols("n", integer=True, nonnegative=True)
size = Function("n", positive=True)(k)
real = Function("r", real=True)(k)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (Sum(size, (k, 1, G)), "positive"),
        (Sum(size, (k, 1, n)), "nonnegative"),
        (Sum(real**2, (k, 1, G)), "nonnegative"),
        (Sum(real, (k, 1, G)), "unknown"),
        (Sum(size, (k, G, 1)), "unknown"),
        (Sum(sqrt(k) * sqrt(G - k), (k, 0, G)), "nonnegative"),
        (Sum(sqrt(k - 1) * sqrt(G - k), (k, 0, G)), "unknown"),
        (Integral(t / (1 + t), (t, 0, x)), "nonnegative"),
        (Integral(z, (z, 0, x)), "nonnegative"),
        (Integral(z, (z, -x, x)), "unknown"),
        (Integral((1 - t) * exp(t * z), (t, 0, 1)), "nonnegative"),
        (Integral((1 - t) * exp(t * z), (t, 0, 2)), "unknown"),
        (G + m - 1, "positive"),
        (G + m - 2, "nonnegative"),
        (G - m, "unknown"),
        (x * Sum(size, (k, 1, G)) + y, "positive"),
        (exp(z) + 2 * (1 - log(2)), "positive"),
        (exp(z) + 2 * (1 - log(3)), "unknown"),
        (x - y, "unknown"),
        (Integer(0), "nonnegative"),
    ],
)
def test_signs(expression, expected):
    assert sign(expression) == expected
