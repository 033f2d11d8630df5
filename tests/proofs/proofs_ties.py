"""What the tests that tie forms of a formula share: a token tree as the code and as Coq see it, changed definitions."""

import itertools
from copy import copy

import numpy as np
from proofs_gallina import complete_responses, strict

from mdp_theory.exact import population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP

TOKENS, EOS, HORIZON, SIZE = range(3), 2, 2, 2
RESPONSES = complete_responses(TOKENS, EOS, HORIZON)
STATES = [(), (0,), (1,)]
COORDINATES = list(itertools.product(STATES, TOKENS))

TREE = {"V": TOKENS, "eos": EOS, "H": HORIZON}
"""Two letters and an end, two places."""


class Tree:
    """A problem of the code and a policy on it, as the code and as Coq see them."""

    def __init__(self, reward):
        self.mdp = TokenMDP.from_function(
            "ties",
            prompts=["x"],
            vocabulary=["a", "b", "."],
            eos=".",
            horizon=HORIZON,
            reward=lambda _, word: reward("".join(word)),
        )
        self.logits = TabularPolicy().init(self.mdp, 3)
        self.probability = tree.policy(self.logits)
        self.pi = strict(lambda s, a: at(self.probability, s, a), 2)
        self.reward = strict(lambda y: at(self.mdp.rewards, y[:-1], y[-1]), 1)
        self.values = TREE | {"pi": self.pi, "r": self.reward}

    def rates(self, s, a):
        """The direction of the logit of token `a` after the prefix `s`, as code differentiates a softmax."""

        def rate(prefix, token):
            return self.pi(s, token) * ((token == a) - self.pi(s, a)) if prefix == s else 0.0

        return strict(rate, 2)

    def gradient(self, key, places):
        """Without 1/L, in groups of two."""
        objective = population.without_length(METHODS[key].objective)
        found = population.expected_gradient(objective, self.mdp, self.logits, num_generations=SIZE)
        return [at(found, *place) for place in places]


def at(levels, prefix, token):
    """The entry of a table of the code: prefixes are numbered in base two."""
    return float(levels[len(prefix)][0, int("0" + "".join(map(str, prefix)), 2), token])


SHARE = Tree(lambda word: (word.count("a") + 0.5) / 3)


def close(*values, **tolerance):
    for value in values[1:]:
        np.testing.assert_allclose(
            np.array(value, float), np.array(values[0], float), **{"rtol": 1e-9, "atol": 1e-13} | tolerance
        )


def with_another(kernel, name, operation, other):
    """The kernel with another operation in one of its definitions."""
    changed = copy(kernel)
    changed.terms = kernel.terms | {name: renamed(kernel.terms[name], operation, other)}
    assert changed.terms[name] != kernel.terms[name], f"{name} has no {operation}"
    return changed


def renamed(term, name, other):
    """A term with one name in place of another."""
    if isinstance(term, (tuple, list)):
        return type(term)(renamed(part, name, other) for part in term)
    if isinstance(term, dict):
        return {key: renamed(part, name, other) for key, part in term.items()}
    return other if term == name else term
