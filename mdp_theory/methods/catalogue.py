"""Every method as data: the one place where a method is defined, read by theory, training, audit, figures and docs.

Constants are the source's own where it states them; where it is silent, or its code and its text part, `note` says what
is taken. The standard deviation is the plain one (ddof 0, ε 0): both are dials on every method (`--ddof`,
`--advantage-eps`), because code bases differ in them (ddof 1 with ε 1e-4 in TRL, ddof 1 with ε 1e-6 in verl).
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from mdp_theory.methods.method import Method
from mdp_theory.methods.outcome_weighted import OUTCOME_WEIGHTED
from mdp_theory.methods.policy_gradients import POLICY_GRADIENTS
from rino_base.messages import InputError

__all__ = ["METHODS", "OUTSIDE", "Method", "get"]

_ALL = (*POLICY_GRADIENTS, *OUTCOME_WEIGHTED)

METHODS: Mapping[str, Method] = MappingProxyType({method.key: method for method in _ALL})


OUTSIDE: Mapping[str, str] = MappingProxyType(
    {
        "remax": "ReMax (2310.10505) subtracts the reward of a greedy response, which no batch of samples holds",
        "grpo-tis": "a truncated correction beside PPO's ratio weighs by a third policy, the sampler's, and a batch "
        "holds two; `tis` is the correction where the old policy is the sampler's",
        "icepop": "IcePop drops tokens whose ratio to the sampler lies outside a range on either side, and its mask is "
        "no clip of a surrogate that pays",
        "entropy-bonus": "an entropy bonus needs the whole vocabulary's probabilities, not those of the sampled tokens",
        "dynamic-sampling": "a drop of groups of equal reward is here (`dapo`), sampling until a batch is full is what "
        "a trainer does",
        "a2po": "A*PO (2505.20686) regresses log π/π_ref of one response on its reward less a value that earlier "
        "samples of the reference gave, which no batch holds",
        "tpo": "TPO (2405.16681) learns from preferred, rejected and gold responses, not from outcomes",
        "sdpo": "SDPO (2601.20802) distils the policy's own distribution given feedback, over the vocabulary or its "
        "top tokens",
        "gdpo": "GDPO standardises several rewards apart, and a batch holds one",
        "optimal-token-baseline": "its baseline (2602.07078) weighs by the sum of squared probabilities of the whole "
        "vocabulary at every token",
    }
)
"""What frameworks ship and the algebra does not hold, with the reason; `rino audit` meets them all the same."""


def get(name: str) -> Method:
    """The method called `name`, by key or alias.

    Raises:
        InputError: no such method; the mend names the nearest.
    """
    names = {alias: method for method in _ALL for alias in (method.key, *method.aliases)}
    if name in names:
        return names[name]
    plain = name.lower().replace("_", "-")
    if plain in OUTSIDE:
        raise InputError(f"{name} is not in the catalogue: {OUTSIDE[plain]}", mend=f"one of: {', '.join(METHODS)}")
    nearest = difflib.get_close_matches(plain, names, n=1, cutoff=0.0)
    raise InputError(
        f"unknown method {name!r}", mend=f"{names[nearest[0]].key!r} is nearest; one of: {', '.join(METHODS)}"
    )
