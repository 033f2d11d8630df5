"""Formulas of the theorems as functions of numbers, and batches to put them beside the code."""

from functools import cache

import numpy as np
from sympy import Symbol, lambdify, sympify
from sympy.core.function import AppliedUndef

from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.weights import token_weights
from mdp_theory.precision import in_float64
from proofs.command import load

GRPO = METHODS["grpo"].objective
SIZES = (2, 3, 5, 8)
P = np.linspace(0.05, 0.95, 7)

theorem = cache(load)


def formula(name, result, *letters, put=()):
    """The right side of a named step as a function of these letters; `put` replaces parts of it by letters first."""
    expression = sympify(theorem(name).result(result)).subs(dict(put), simultaneous=True)
    by_name = {letter.name: letter for letter in expression.free_symbols}
    assert set(by_name) <= set(letters), f"{name} {result} still has {set(by_name) - set(letters)}"
    symbols = [by_name.get(letter, Symbol(letter)) for letter in letters]
    function = lambdify(symbols, expression, modules=["scipy", "numpy"])
    return np.vectorize(function, otypes=[float])


def functions(name, result):
    """The undefined functions in a formula, by name: letters are put in their place."""
    return {str(part.func): part for part in sympify(theorem(name).result(result)).atoms(AppliedUndef)}


def make_batch(seed, size, *, drift=0.0, time=6, reward=None, reference=0.0):
    """One group of random lengths; the old policy differs by `drift`, the reference by `reference`."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, time + 1, size)
    mask = (np.arange(time) < length[:, None]).astype(float)
    logp = -rng.exponential(1.0, (size, time)) * mask
    old = logp - drift * rng.normal(size=(size, time)) * mask
    ref = logp - reference * rng.normal(size=(size, time)) * mask
    reward = (rng.permutation(size) < rng.integers(1, size)).astype(float) if reward is None else np.asarray(reward)
    return Batch(logp, old, ref, mask, reward, np.zeros(size, int)), length


@in_float64
def weights(objective, batch):
    return np.asarray(token_weights(objective, batch))


@in_float64
def advantages(objective, reward):
    size = len(reward)
    one = np.ones((size, 1))
    batch = Batch(0 * one, 0 * one, 0 * one, one, np.asarray(reward, float), np.zeros(size, int))
    return np.asarray(assign_credit(objective, batch).advantage)[:, 0]
