"""Three sentences and a table of claims, from the data: what they say changes with the numbers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from run_files import make_check, make_proof, make_results, make_run

from figures.answer import error, sentences
from figures.claims import claims_table
from figures.facts import CRITIC, ON_POLICY, PENALISED, REUSED, STALE, Contest, Facts, Lengthening, Probe, gather, kind
from figures.reading import read_results, read_run
from figures.runs import group_runs

ROOT = Path(__file__).parents[2]
NOTHING = Facts(theorems={}, problems=(), probes={})


@pytest.fixture
def facts() -> Facts:
    """Where everything is as the theory says."""
    return Facts.from_json(json.loads((ROOT / "results" / "answer.json").read_text()))


def verdicts(facts: Facts) -> dict[str, str]:
    return {row[0]: row[-1] for row in claims_table(facts).rows}


def test_the_readme_opens_with_the_sentences_of_its_facts(facts: Facts) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, rest = text.split("<!-- answer -->")
    block, _ = rest.split("<!-- /answer -->")
    assert before.count("\n") == 2
    assert [" ".join(part.split()) for part in block.strip().split("\n\n")] == sentences(facts)


def test_facts_survive_their_file(facts: Facts) -> None:
    assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_t10_length_kl_critic_and_off_policy_are_among_the_answers(facts: Facts) -> None:
    _, breaks, _ = sentences(facts)
    for words in ("used again", "KL term", "critic", "divided by the length", "three levels", "by chance"):
        assert words in breaks
    assert set(verdicts(facts).values()) >= {"holds", "breaks", "breaks: another direction"}


def test_without_facts_there_is_no_answer() -> None:
    assert sentences(NOTHING) == []
    assert set(verdicts(NOTHING).values()) == {"–"}


def test_a_failed_proof_or_a_gradient_that_differs_is_told_first(facts: Facts) -> None:
    failed = replace(facts, theorems={**facts.theorems, "T3": False})
    assert sentences(failed)[0].startswith("**The claim does not hold here even where it should:** its proof T3 failed")
    assert verdicts(failed)["on-policy, the loss is outcome-weighted SFT"] == "open: a proof failed"
    differs = replace(facts, exact_error=1e-3)
    assert "exact gradients differ" in sentences(differs)[0]
    assert verdicts(differs)["on-policy, the loss is outcome-weighted SFT"] == "breaks"
    trained = replace(facts, probes={ON_POLICY: Probe(error=0.1, tolerance=1e-4, runs=2)})
    assert "gradients of trained models differ" in sentences(trained)[0]


def test_what_did_not_break_is_not_said_to_break(facts: Facts) -> None:
    calm = replace(facts, last_error=1e-16, inner_error=0.0, kl_error=1e-15, critic_error=0.0, probes={})
    calm = replace(calm, length_share=1e-16, levels_share=None, chance_gap=0.0)
    assert len(sentences(calm)) == 2
    assert not any(text.startswith("**It breaks") for text in sentences(calm))
    assert verdicts(calm)["… with a KL term"] == "no break seen"
    assert verdicts(calm)["… along ∇p with 1/L"] == "holds"


def contest(method: str, *, seeds: int = 5, apart: bool = False, doubt: str = "the seeds leave 0 possible") -> Contest:
    ends = {"low": -0.04, "high": -0.02} if seeds > 2 else {"low": None, "high": None}
    place = {"task": "countdown", "model": "qwen", "steps": 240, "seeds": seeds, "reference": "GRPO"}
    values = {"reference_value": 0.5, "value": 0.47, "difference": -0.03}
    return Contest(**place, **values, **ends, method=method, distinguished=apart, doubt="" if apart else doubt)


def test_trained_models_are_named_with_seeds_and_intervals() -> None:
    pair = (contest("A", apart=True), contest("B"))
    (told,) = sentences(replace(NOTHING, contests=pair))
    assert told == (
        "**For the models trained here:** on countdown with the model qwen, 5 seeds and 240 steps, GRPO ends at 50.0 % "
        "pass@1, from which A (−3.0 points [−4.0, −2.0]) is distinguished and B (−3.0 points [−4.0, −2.0]) is not."
    )
    assert verdicts(replace(NOTHING, contests=pair))["trained with it, a model is as good"].startswith("1 of 2")


def test_two_seeds_cannot_tell() -> None:
    few = (contest("A", seeds=2, doubt="2 seeds cannot tell, it takes 3"),)
    (told,) = sentences(replace(NOTHING, contests=few))
    assert told.endswith("from which A (−3.0 points) is not distinguished: 2 seeds cannot tell, it takes 3.")
    assert verdicts(replace(NOTHING, contests=few))["trained with it, a model is as good"] == "open: too few seeds"


def test_longer_is_said_only_where_it_changed() -> None:
    entry = Lengthening(task="t", model="m", method="GRPO", seeds=4, change=2.0, low=1.0, high=3.0, changed=True)
    claim = "training lengthens wrong responses"
    assert verdicts(replace(NOTHING, lengthening=(entry,)))[claim] == "longer"
    assert verdicts(replace(NOTHING, lengthening=(replace(entry, changed=False),)))[claim] == "open"


def test_facts_are_read_off_the_files(tmp_path: Path) -> None:
    make_results(tmp_path, seeds=3, finals={"grpo": 0.5, "f-isft-neg": 0.1})
    for seed in range(3):
        make_run(tmp_path / "inner" / str(seed), seed=seed, num_iterations=4)
    make_check(tmp_path / "check")
    make_proof(tmp_path / "prove.json")
    found = gather(read_results(tmp_path))
    assert found.theorems == {"T3": True, "T4": True}
    assert (found.inner_step, found.inner_error, found.last_step, found.last_error) == (1, 0.05, 2, 0.8)
    assert (found.beta, found.critic_error) == (0.1, 0.2)
    assert found.variance_ratio == pytest.approx(3.0)
    assert (found.probes[ON_POLICY].runs, found.probes[REUSED].runs) == (6, 3)
    (met,) = found.contests
    assert (met.method, met.seeds, met.distinguished) == ("F-ISFT⁻", 3, True)
    assert met.difference < -0.3


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ON_POLICY),
        ({"num_iterations": 2}, REUSED),
        ({"num_minibatches": 2}, REUSED),
        ({"refresh_every": 16}, STALE),
        ({"refresh_every": 0}, STALE),
        ({"objective": {"kl": {"beta": 0.1}}}, PENALISED),
        ({"objective": {"advantage": {"estimator": "gae"}}}, CRITIC),
    ],
)
def test_a_run_is_of_the_kind_that_its_settings_say(tmp_path: Path, settings: dict, expected: str) -> None:
    (arm,) = group_runs([read_run(make_run(tmp_path / "run", **settings))])
    assert kind(arm) == expected


def test_errors_are_told_in_words_of_their_size() -> None:
    assert [error(x) for x in (0.0, 2.2e-16, 1.7e-7, 0.0421, 0.98, 1.53)] == [
        "0",
        "2·10⁻¹⁶",
        "2·10⁻⁷",
        "4.2 %",
        "98 %",
        "153 %",
    ]
