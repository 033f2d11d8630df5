"""The report of `rino check`, as plain data for JSON; docs/json.md documents its fields."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mdp_theory.check.beyond import noise_record, optimiser_record, rates_record
from mdp_theory.check.claims import fitted, identities, method_report, shared_parameters, two_claims
from mdp_theory.check.critics import critic_map, learned_critic
from mdp_theory.check.curves import coefficient_curves, drawing, level_curves, staleness_curves, training_curves
from mdp_theory.check.problem import assumptions, bandit_reduction
from mdp_theory.check.sampled import Estimator, Probe, draw_probe, drift_curve, inner_step_curve, penalty_curve
from mdp_theory.exact import population
from mdp_theory.exact.critics import critic_curve
from mdp_theory.exact.optimisers import Optimiser
from mdp_theory.exact.policy import parse
from mdp_theory.exact.values import critic_values
from mdp_theory.exact.variance import variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Objective
from mdp_theory.problems.controls import Control, unroll
from mdp_theory.problems.graph import from_control, unrolls
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from mdp_theory.problems.turns import speak

# The catalogue but for methods in whose advantages the lengths of other responses, or other groups, are.
EXACT_METHODS = tuple(
    key
    for key, method in METHODS.items()
    if method.objective.advantage.of_outcomes_alone or method.objective.advantage.estimator == "gae"
)
CURVE_METHODS = ("grpo", "dapo", "gspo", "cispo", "f-isft-pm-adv", "f-isft-pm")
"""Methods with curves against inner steps and drift. The last has no ratio, and so nothing to lose by drifting."""

DRIFTS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8)
BETAS = (0.0, 0.001, 0.01, 0.04, 0.1, 0.3, 1.0)
LARGEST_CURVE = 128
"""Group size of curves over p: an integral of a polynomial of that degree for each point and method."""

LARGEST_PROBE = 64
"""Responses of a group in sampled batches; exact numbers are at the group size that was asked for."""

CRITIC_RESPONSES = (4, 16, 64, 256, 1024)
DRAWS = 5
"""Batches on which the curves against inner steps, drift and β are computed; the first is the probe of all else."""


def report(
    problem: TokenMDP | Control,
    *,
    num_generations: int = 8,
    policy: str = "uniform",
    inner_steps: int = 8,
    learning_rate: float = 1.0,
    seed: int = 0,
    critic: str = "exact",
    optimiser: Optimiser | None = None,
    steps: int = 100,
    optimiser_learning_rate: float | None = None,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> dict[str, Any]:
    """Hold the degeneracy claim against one problem; with an optimiser, train on it as well.

    For a control the methods see its unrolled tree, with the undiscounted sum of rewards as the outcome; one with
    stochastic transitions has none, and is taken on the graph of its states, like any problem whose states recombine.
    Methods with a critic get the one that `critic` describes (`exact.values`).
    """
    facts = assumptions(problem)
    head = {"problem": problem.name, "policy": policy, "num_generations": num_generations, "seed": seed}
    mdp = token_mdp(problem)
    family, policy_seed = parse(policy)
    logits = speak(mdp, family.logits(family.init(mdp, policy_seed), mdp))
    bandit = bandit_reduction(problem, logits)
    size = num_generations
    seeds = range(seed, seed + DRAWS)
    value = critic_values(mdp, logits, critic)
    # A batch holds [responses, responses] masks; what it shows does not depend on the size of groups.
    drawn_size = min(size, LARGEST_PROBE)
    probes = [replace(draw_probe(mdp, logits, num_generations=drawn_size, seed=draw), value=value) for draw in seeds]
    sections: dict[str, Callable[[], Any]] = {
        "variance": lambda: {name: total.tolist() for name, total in variances(mdp, logits).totals().items()},
        "inner_steps": lambda: _inner_steps(mdp, logits, probes, steps=inner_steps, learning_rate=learning_rate),
        "drift": lambda: _drifts(mdp, logits, probes, seeds),
        "kl": lambda: _penalties(mdp, logits, probes),
        "shared_parameters": lambda: _shared(mdp, num_generations=drawn_size, seed=seed),
        "training": lambda: training_curves(mdp, logits, num_generations=size),
        "staleness": lambda: staleness_curves(mdp, logits, num_generations=size),
        "critic": lambda: _critic(problem, logits),
        "learned_critic": lambda: learned_critic(mdp, logits, critic=critic),
        "critic_map": critic_map,
        "level_curves": level_curves,
        "curves": lambda: coefficient_curves(min(size, LARGEST_CURVE)),
        "noise": lambda: noise_record(mdp, logits, num_generations=size),
        "rates": lambda: rates_record(min(size, LARGEST_CURVE)),
        "optimiser": lambda: _trained(optimiser, mdp, logits, size, steps, optimiser_learning_rate),
        "tree": lambda: drawing(mdp, logits),
    }
    found: dict[str, Any] = {"methods": {}}
    for name in progress((*EXACT_METHODS, *sections)):
        if name in EXACT_METHODS:
            record = method_report(METHODS[name].objective, mdp, logits, probes[0], num_generations=size)
            found["methods"][name] = {"title": METHODS[name].title, **record}
        else:
            found[name] = sections[name]()
    binary = mdp.reward_levels.tolist() == [0.0, 1.0] and not mdp.noise
    shared = {} if found["shared_parameters"] is None else found["shared_parameters"]["methods"]
    checks = identities(facts, bandit, found["methods"], shared, binary=binary)
    return {
        **head,
        "responses": mdp.num_responses if mdp.num_responses < 10**300 else None,
        "prefixes": mdp.num_prefixes,
        "reward_levels": mdp.reward_levels.tolist(),
        "prompts": _prompts(mdp, population.success_probability(mdp, logits).tolist()),
        "assumptions": facts,
        "bandit": bandit,
        "claims": two_claims(bandit, found["methods"], found["variance"]),
        **found,
        **_verdict(checks),
    }


def _inner_steps(
    mdp: TokenMDP, logits: EdgeLevels, probes: Sequence[Probe], *, steps: int, learning_rate: float
) -> dict[str, Any]:
    def of(key: str) -> dict[str, Any]:
        curve = partial(inner_step_curve, _objective(key, mdp), logits=logits, steps=steps)
        return _with_draws(curve(probe=drawn, learning_rate=learning_rate) for drawn in probes)

    return {"learning_rate": learning_rate, "methods": {key: of(key) for key in CURVE_METHODS}}


def _drifts(mdp: TokenMDP, logits: EdgeLevels, probes: Sequence[Probe], seeds: Sequence[int]) -> dict[str, Any]:
    def of(key: str) -> dict[str, Any]:
        curve = partial(drift_curve, _objective(key, mdp), logits=logits, distances=DRIFTS)
        return _with_draws(curve(probe=drawn, seed=draw) for drawn, draw in zip(probes, seeds, strict=True))

    return {key: of(key) for key in CURVE_METHODS}


def _penalties(mdp: TokenMDP, logits: EdgeLevels, probes: Sequence[Probe]) -> dict[str, Any]:
    estimators: tuple[Estimator, ...] = ("k1", "k2", "k3")
    curve = partial(penalty_curve, _objective("grpo", mdp), logits=logits, betas=BETAS)
    return {
        estimator: _with_draws(curve(probe=drawn, estimator=estimator) for drawn in probes) for estimator in estimators
    }


def _with_draws(curves: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The curve of the first batch, and under `draws` those of all batches."""
    found = list(curves)
    return {**found[0], "draws": found}


def token_mdp(problem: TokenMDP | Control) -> TokenMDP:
    """What the methods see of a problem: its tree, or the graph of its states where a response does not decide them."""
    if isinstance(problem, TokenMDP):
        return problem
    return unroll(problem).mdp if unrolls(problem) else from_control(problem)


def _shared(mdp: TokenMDP, *, num_generations: int, seed: int) -> dict[str, Any] | None:
    """None on a graph, whose logits are shared by all histories of a state already, and where rewards have noise."""
    if mdp.moves is not None or mdp.noise:
        return None
    return shared_parameters(mdp, EXACT_METHODS, num_generations=num_generations, seed=seed)


def _trained(
    optimiser: Optimiser | None, mdp: TokenMDP, logits: EdgeLevels, size: int, steps: int, rate: float | None
) -> dict[str, Any] | None:
    """What an optimiser makes of the rules; None where none was asked for."""
    if optimiser is None:
        return None
    return optimiser_record(mdp, logits, optimiser, num_generations=size, steps=steps, learning_rate=rate)


def _critic(problem: TokenMDP | Control, logits: EdgeLevels) -> dict[str, Any] | None:
    """What a critic of states gains over one of histories; None where every history is a state of its own."""
    if (
        isinstance(problem, TokenMDP)
        or not unrolls(problem)
        or assumptions(problem)["A1_states_are_histories"]["holds"]
    ):
        return None
    return critic_curve(unroll(problem), logits, responses=CRITIC_RESPONSES)


def _prompts(problem: TokenMDP | Control, success: Sequence[float | None]) -> list[dict[str, Any]]:
    rows = zip(problem.prompts, success, problem.prompt_probability, strict=True)
    return [{"text": text, "p": p, "probability": float(chance)} for text, p, chance in rows]


def _objective(key: str, mdp: TokenMDP) -> Objective:
    return fitted(METHODS[key].objective, mdp)


def _verdict(checks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"checks": checks, "verified": all(check["holds"] for check in checks)}
