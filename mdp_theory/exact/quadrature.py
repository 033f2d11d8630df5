"""Reciprocals and roots as integrals of exponentials, by Gauss-Legendre on panels that double.

What is random in an advantage stands in a denominator: a number of tokens, a mean, a standard deviation. Written as an
integral of exponentials of sums over the group's members, its expectation is an integral of products, one factor each.
"""

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.special import erfcx

Nodes = tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]
"""Places and weights."""

_PANEL = 16  # Nodes on a panel over which the variable doubles: exp(-t²) on any such panel to 1e-15.


@lru_cache(maxsize=32)
def unit_quadrature(degree: int) -> Nodes:
    """Gauss-Legendre nodes and weights on [0, 1], exact for polynomials of the given degree."""
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    return (nodes + 1) / 2, weights / 2


def reciprocals(largest: int, least: int = 1) -> Nodes:
    """Nodes x and weights with Σ weight x^(D-1) = 1/D for D = `least` ... `largest`: to 2e-15 for 1,000 and from 1.

    5e-13 for 100,000. x^(D-1) is close to exp(-D (1-x)), so the panels halve towards 1 until the last is as narrow as
    1 / `largest`. One rule over all of [0, 1] would need more nodes, and numpy's lose three digits at a few hundred.
    Where no denominator is small, the nodes far from 1 add nothing and are left out.
    """
    places, weights = unit_quadrature(2 * _PANEL - 1)
    edges = np.concatenate([[0.0], 0.5 ** np.arange(math.ceil(math.log2(largest)), -1, -1)])
    width = np.diff(edges)[:, None]
    x, weight = 1 - (edges[:-1, None] + width * places).ravel(), (width * weights).ravel()
    seen = x > 1e-20 ** (1 / max(least - 1, 1)) if least > 1 else np.full(x.shape, True)
    return x[seen], weight[seen]


def inverse(smallest: float, largest: float) -> Nodes:
    """Nodes τ and weights with Σ weight exp(-xτ) = 1/x for `smallest` <= x <= `largest`, to rounding."""
    return _doubling(1 / largest, 38 / smallest)


def inverse_root(smallest: float, largest: float, *, offset: float) -> Nodes:
    """Nodes t and weights with Σ weight exp(-t²q) = 1/(√q + offset) for `smallest` <= q <= `largest`, to rounding.

    The Laplace transform of 1/√(πτ) - a exp(a²τ) erfc(a√τ) is 1/(√q + a); t = √τ.
    """
    t, weight = _doubling(0.5 / math.sqrt(largest), 6.2 / math.sqrt(smallest))
    return t, weight * (2 / math.sqrt(math.pi) - 2 * offset * t * erfcx(offset * t))


def _doubling(first: float, last: float) -> Nodes:
    """[0, first], then panels that double until `last` is reached."""
    places, weights = unit_quadrature(2 * _PANEL - 1)
    edges = first * 2.0 ** np.arange(max(math.ceil(math.log2(last / first)), 0) + 1)
    edges = np.concatenate([[0.0], edges])
    width = np.diff(edges)[:, None]
    return (edges[:-1, None] + width * places).ravel(), (width * weights).ravel()
