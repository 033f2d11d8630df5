"""Descriptions hold every constant of the loss, and the page of methods is the one the catalogue gives."""

import dataclasses
from pathlib import Path

import pytest

from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.formula import describe, methods_page
from mdp_theory.methods.objectives import KL, Advantage, Clip, Objective, Overlong

DOCS = Path(__file__).parents[2] / "docs"


def test_grpo_is_printed_in_full():
    kl = dataclasses.replace(METHODS["grpo-kl"].objective.kl, beta=0.001)
    rule = dataclasses.replace(METHODS["grpo-kl"].objective.advantage, ddof=1, eps=1e-6)
    assert describe(dataclasses.replace(METHODS["grpo-kl"].objective, kl=kl, advantage=rule)) == (
        "      J = 1/B Σᵢ 1/Lᵢ Σₜ [min(ρᵢₜ Aᵢ, clip(ρᵢₜ, 1 − 0.2, 1 + 0.2) Aᵢ) − 0.001 k3ᵢₜ]"
        "   (maximised: the loss is −J)\n"
        "    ρᵢₜ = π(aᵢₜ|sᵢₜ) / π_old(aᵢₜ|sᵢₜ)\n"
        "     Aᵢ = (rᵢ − mean_G r) / (std_G r + 1e-06)   (0 where all r are equal)\n"
        "  std_G = √(Σ_G (r − mean_G r)² / (G − 1))   (ddof 1)\n"
        "   k3ᵢₜ = qᵢₜ − 1 − log qᵢₜ\n"
        "    qᵢₜ = π_ref(aᵢₜ|sᵢₜ) / π(aᵢₜ|sᵢₜ)\n"
        "      B = the responses of the batch\n"
        "      G = the responses to the prompt of i"
    )


BASE = Objective(
    advantage=Advantage(outcome="correct", negative=0.5, baseline="group-mean", scale="group-std"),
    clip=Clip(),
    aggregation="sequence-mean-token-sum-norm",
    max_completion_length=64,
    kl=KL(beta=0.1),
)
IN_ADVANTAGE = {
    "outcome": "reward",
    "positive": 2.0,
    "negative": 0.25,
    "threshold": 0.5,
    "baseline": "leave-one-out",
    "scale": "batch-std",
    "whiten": "tokens",
    "ddof": 1,
    "eps": 1e-3,
    "estimator": "gae",
    "overlong": Overlong(share=0.25),
}
IN_CLIP = {"low": 0.3, "high": 0.28, "dual": 3.0}
IN_KL = {"beta": 0.2, "estimator": "k1", "placement": "reward", "sign": -1}
IN_OBJECTIVE = {
    "surrogate": "truncated-weight",
    "importance_sampling_level": "sequence",
    "clip": Clip(low=None),
    "aggregation": "token-mean",
    "max_completion_length": 65,
    "kl": None,
    "keep": "mixed-groups",
}


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        *(("advantage", *item) for item in IN_ADVANTAGE.items()),
        *(("clip", *item) for item in IN_CLIP.items()),
        *(("kl", *item) for item in IN_KL.items()),
        *((None, *item) for item in IN_OBJECTIVE.items()),
    ],
)
def test_no_dial_goes_unprinted(part, field, value):
    if part is None:
        changed = dataclasses.replace(BASE, **{field: value})
    else:
        changed = dataclasses.replace(BASE, **{part: dataclasses.replace(getattr(BASE, part), **{field: value})})
    assert changed != BASE
    assert describe(changed) != describe(BASE)


def test_every_dial_of_an_objective_is_tried_above():
    names = {"advantage": IN_ADVANTAGE, "clip": IN_CLIP, "kl": IN_KL, None: IN_OBJECTIVE}
    for part, tried in names.items():
        fields = {field.name for field in dataclasses.fields(getattr(BASE, part) if part else BASE)}
        assert fields - {"advantage", "gate", "trust", "discount", "gae_lambda"} == set(tried)


@pytest.mark.parametrize("field", ["temperature", "power", "decay"])
@pytest.mark.parametrize("side", [0, 1])
def test_both_numbers_of_a_gate_are_printed(field, side):
    objective = METHODS["sapo" if field == "temperature" else "vespo"].objective
    pair = list(getattr(objective.gate, field))
    pair[side] += 0.5
    changed = dataclasses.replace(objective, gate=dataclasses.replace(objective.gate, **{field: tuple(pair)}))
    assert describe(changed) != describe(objective)


@pytest.mark.parametrize(
    ("key", "part", "values"),
    [
        ("dppo-tv", "trust", {"measure": "kl", "low": 0.2, "high": 0.2}),
        ("gmpo", "clip", {"low": 0.3, "high": 0.5}),
        ("dapo-overlong", "overlong", {"share": 0.1, "penalty": 0.5}),
    ],
)
def test_the_dials_of_some_methods_alone_are_printed(key, part, values):
    objective = METHODS[key].objective
    owner = objective.advantage if part == "overlong" else objective
    for name, value in values.items():
        changed = dataclasses.replace(owner, **{part: dataclasses.replace(getattr(owner, part), **{name: value})})
        whole = dataclasses.replace(objective, advantage=changed) if part == "overlong" else changed
        assert describe(whole) != describe(objective), name


def test_discount_and_trace_are_printed_with_a_critic():
    text = describe(Objective(advantage=Advantage(estimator="gae", discount=0.9, gae_lambda=0.7), surrogate="ratio"))
    assert "γ = 0.9, λ = 0.7" in text


def test_equal_objectives_and_no_others_read_the_same():
    objectives = [method.objective for method in METHODS.values()]
    for one in objectives:
        for other in objectives:
            assert (describe(one) == describe(other)) == (one == other)


@pytest.mark.parametrize("key", METHODS)
def test_a_method_is_described_with_its_source_and_names(key):
    method = METHODS[key]
    text = describe(method)
    for word in (method.title, method.source, method.note, *method.aliases, *method.peers.values()):
        assert word in text
    assert ("never refreshed" in text) == method.static


def test_the_page_of_methods_is_up_to_date():
    assert (DOCS / "methods.md").read_text(encoding="utf-8") == methods_page(), (
        "run: python -m mdp_theory.methods.formula > docs/methods.md"
    )
