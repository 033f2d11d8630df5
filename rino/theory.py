"""The exact half of the Python API: problems, methods and gradients; nothing here trains a model.

Imports of the rooms are inside the functions, so that `import rino` stays quick.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from rino.options import build
from rino.results import CheckResult, GradientResult, MethodChoice
from rino.rooms import claim
from rino_base.messages import InputError
from rino_base.ranges import hold

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from mdp_theory.exact.optimisers import Optimiser
    from mdp_theory.methods.objectives import Objective
    from mdp_theory.problems.controls import Control
    from mdp_theory.problems.mdp import TokenMDP
    from mdp_theory.problems.tree import EdgeLevels, StateLevels

    Problem = TokenMDP | Control


def problem(source: str | os.PathLike[str], /) -> Problem:
    """A small problem to compute on exactly: a token MDP, or a control that breaks one assumption of the claim.

    Args:
        source: a name from the zoo (`rino list problems`), or the path of a TOML file (docs/theory.md has the format).

    Raises:
        InputError: no such problem (the mend names the nearest), or a file that is wrong.
    """
    claim("mdp_theory")
    from mdp_theory.problems import zoo

    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"{source!r} is no problem", mend="give a name such as 'countdown', or the path of a TOML file"
        )
    return zoo.load(os.fspath(source))


def method(name: str, /, *, max_completion_length: int | None = None, **dials: object) -> MethodChoice:
    """A method of the catalogue, with any of its dials set; docs/methods.md lists methods and dials.

    Args:
        name: its key or one of its aliases, such as `grpo`, `dr-grpo` or `f-isft-pm`.
        max_completion_length: tokens; the constant that Dr. GRPO divides by. Default: the horizon of the problem.
        dials: the options of `rino train` that change the objective: `beta`, `kl_estimator`, `kl_placement`,
            `anti_kl`, `epsilon`, `epsilon_high`, `loss_aggregation`, `scale_rewards`, `ddof`, `advantage_eps`,
            `importance_sampling_level`.

    Raises:
        InputError: no such method or dial (the mend names the nearest), a value that the dial cannot take, or a dial
            that the method has no place for.
    """
    claim("llm_exps")
    from llm_exps.config import customise
    from llm_exps.options import ObjectiveOptions
    from mdp_theory.methods.catalogue import get
    from mdp_theory.methods.formula import describe

    if not isinstance(name, str):
        raise InputError(f"a {type(name).__name__} is no name of a method", mend="give one of: rino list methods")
    found = get(name)
    options = build(ObjectiveOptions, dials, what="a method", others=("max_completion_length",))
    given = {} if max_completion_length is None else {"max_completion_length": max_completion_length}
    hold("method", {"options": options, **given})
    customised = customise(found, options, max_completion_length or found.objective.max_completion_length)
    shown = dials if max_completion_length is None else dials | {"max_completion_length": max_completion_length}
    told = customised
    if shown:  # The notes and the names elsewhere are true of the method as catalogued.
        words = ", ".join(f"{dial} = {value}" for dial, value in shown.items())
        told = replace(customised, title=f"{customised.title} with {words}", note="", aliases=(), peers={})
    return MethodChoice(
        key=customised.key,
        title=customised.title,
        source=customised.source,
        objective=customised.objective,
        dials=dict(shown),
        description=describe(told),
    )


def check(
    problem: str | os.PathLike[str] | Problem = "two-letter-words",
    /,
    *,
    num_generations: int = 8,
    policy: str = "uniform",
    inner_steps: int = 8,
    learning_rate: float = 1.0,
    seed: int = 0,
    critic: str = "exact",
    optimiser: Optimiser | str | None = None,
    steps: int = 100,
    optimiser_learning_rate: float | None = None,
) -> CheckResult:
    """Hold the claim against one problem, exactly: what `rino check` does, as an object.

    Args:
        problem: from `problem()`, or what `problem()` takes.
        num_generations: responses to a prompt in one group, G; at least 2.
        policy: where everything is computed: `uniform` or `random:SEED`.
        inner_steps: optimiser steps on one batch in the curves against inner steps.
        learning_rate: step size of those steps, in logits per unit of gradient.
        seed: of the probe batch.
        critic: V(s) of methods with a critic: `exact`, `zero`, `noisy:ERROR:SEED` or `fitted:N:SEED` (docs/beyond.md).
        optimiser: also train exactly under this one, and under plain gradient ascent: `sgd`, `momentum`, `adam`,
            `adamw`, or an `mdp_theory.exact.optimisers.Optimiser` with dials of its own.
        steps: of that training.
        optimiser_learning_rate: default: 0.05 for Adam and AdamW, 2 for the others.

    Raises:
        InputError: no such problem, policy, critic or optimiser, or a number out of its range.
    """
    claim("mdp_theory")
    from mdp_theory.check.report import report

    numbers = {"num_generations": num_generations, "inner_steps": inner_steps, "seed": seed, "steps": steps}
    hold("check", numbers | {"learning_rate": learning_rate})
    if optimiser_learning_rate is not None:
        hold("check", {"optimiser_learning_rate": optimiser_learning_rate})
    if not isinstance(policy, str):
        raise InputError(f"a {type(policy).__name__} is no policy to check at", mend="give 'uniform' or 'random:SEED'")
    found = report(
        _problem(problem),
        num_generations=num_generations,
        policy=policy,
        inner_steps=inner_steps,
        learning_rate=learning_rate,
        seed=seed,
        critic=critic,
        optimiser=_optimiser(optimiser),
        steps=steps,
        optimiser_learning_rate=optimiser_learning_rate,
    )
    return CheckResult(found)


def gradient(
    problem: str | os.PathLike[str] | Problem,
    method: str | MethodChoice,
    /,
    *,
    policy: str | EdgeLevels = "uniform",
    num_generations: int = 8,
    old_policy: str | EdgeLevels | None = None,
    reference: str | EdgeLevels | None = None,
    critic: str | StateLevels = "exact",
) -> GradientResult:
    """The exact expected gradient of a method on a problem, beside the gradient of the success probability.

    No group is sampled: the expectation over all groups of G responses is computed on the prefix tree (docs/theory.md),
    or on the graph of states where they recombine or follow at random. The direction is that of ascent,
    -∂E[loss | prompt]/∂logit, for a policy with a free logit for every prompt, prefix (or time and state) and token.

    Args:
        problem: from `problem()`, or what `problem()` takes.
        method: from `method()`, or a name of the catalogue.
        policy: `uniform`, `random:SEED`, or logits: for each depth d an array `[prompts, M**d, N]` (N tokens, M of
            them besides the end token; on a graph `[prompts, states, N]`).
        num_generations: responses to a prompt in one group, G; at least 2.
        old_policy: the policy that samples. Default: `policy`, so that the gradient is on-policy.
        reference: the reference policy of a KL term. Default: `policy`, where the term has no gradient.
        critic: V(s) of a method with a critic: `exact`, `zero`, `noisy:ERROR:SEED`, `fitted:N:SEED` (docs/beyond.md),
            or for each depth an array `[prompts, M**d]` (on a graph `[prompts, states]`).

    Raises:
        InputError: no such problem, method or policy; or a method whose weights depend on more than outcomes and
            lengths (docs/theory.md says which).
    """
    claim("mdp_theory")
    from mdp_theory.check.claims import fitted
    from mdp_theory.check.report import token_mdp
    from mdp_theory.exact import population

    hold("gradient", {"num_generations": num_generations})
    found, choice = token_mdp(_problem(problem)), _method(method)
    logits = _logits(policy, found)
    levels = population.expected_gradient(
        _fitted(choice.objective, found, fitted),
        found,
        logits,
        num_generations=num_generations,
        old_logits=None if old_policy is None else _logits(old_policy, found),
        ref_logits=None if reference is None else _logits(reference, found),
        value=_values(critic, found, logits) if choice.objective.advantage.estimator == "gae" else None,
    )
    slope = population.success_gradient(found, logits)
    lies = population.direction(levels, slope)
    return GradientResult(
        problem=found.name,
        method=choice.key,
        policy=policy if isinstance(policy, str) else "given",
        num_generations=num_generations,
        prompts=found.prompts,
        levels=levels,
        success_levels=slope,
        p=population.success_probability(found, logits),
        coefficient=lies.coefficient,
        residual=lies.residual,
        cosine=lies.cosine,
    )


@overload
def coefficient(method: str | MethodChoice, p: float, /, *, num_generations: int = 8) -> float: ...
@overload
def coefficient(
    method: str | MethodChoice, p: Sequence[float] | np.ndarray, /, *, num_generations: int = 8
) -> Float[np.ndarray, ...]: ...
def coefficient(
    method: str | MethodChoice, p: float | Sequence[float] | np.ndarray, /, *, num_generations: int = 8
) -> float | Float[np.ndarray, ...]:
    """c(p) of theorem T5: on-policy, with binary rewards and no 1/L, the expected gradient is c(p) ∇p.

    Args:
        method: from `method()`, or a name of the catalogue. Its KL term and its division by lengths are left out.
        p: success probability of a prompt, in [0, 1]; a number, or an array of any shape.
        num_generations: responses to a prompt in one group, G; at least 2.

    Returns:
        c, a float for a number and a float64 array of the same shape for an array.

    Raises:
        InputError: p outside [0, 1], or a method with a critic, whose weights are no function of the outcome.
    """
    claim("mdp_theory")
    import numpy as np

    from mdp_theory.exact import population

    hold("coefficient", {"num_generations": num_generations})
    choice = _method(method)
    if choice.objective.advantage.estimator != "outcome":
        raise InputError(
            f"{choice.title} has a critic: its weights are no function of the outcome, so it has no c(p)",
            mend="ask rino.gradient for its expected gradient on a problem",
        )
    try:
        points = np.asarray(p, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"p is {p!r}", mend="give a probability, or an array of them") from None
    if not ((points >= 0) & (points <= 1)).all():  # written so that NaN fails too
        wrong = points[~((points >= 0) & (points <= 1))].flat[0]
        raise InputError(f"p is {wrong:g}, the rule is 0 ≤ p ≤ 1", mend="give a probability, or an array of them")
    if not points.size:
        return points
    found = population.coefficient(choice.objective, points.ravel(), num_generations=num_generations)
    return float(found[0]) if points.ndim == 0 else found.reshape(points.shape)


def samples_needed(
    method: str | MethodChoice,
    p: float,
    /,
    *,
    num_generations: int = 8,
    progress: float = 0.5,
    score_noise: float = 0.0,
) -> int | None:
    """How many samples one step needs at success probability p: whole groups of one prompt (theorem T17).

    On-policy, binary rewards, no division by lengths. `rino samples` makes a table of it, and `rino check` has the
    exact noise on a problem.

    Args:
        method: from `method()`, or a name of the catalogue. Its KL term and its division by lengths are left out.
        p: success probability of the prompt, above 0 and below 1.
        num_generations: responses to a prompt in one group, G; at least 2.
        progress: the share that is wanted of the progress that the best step would make without noise. At 0.5 the
            noise of the step equals its signal.
        score_noise: how much scores vary among responses of one outcome, over how much their mean varies between right
            and wrong. At 0 the answer is a bound from below for every model.

    Returns:
        The number of samples, a multiple of G; None where the method has no signal at p.

    Raises:
        InputError: a number out of its range, or a method with a critic.
    """
    claim("mdp_theory")
    import math

    import numpy as np

    from mdp_theory.exact import noise

    numbers = {"num_generations": num_generations, "progress": progress, "score_noise": score_noise}
    hold("samples", numbers | {"p": p})
    objective = _method(method).objective
    scale = noise.noise_scale(objective, np.array([p]), num_generations=num_generations, score_noise=score_noise)[0]
    groups = noise.groups_needed(float(scale), progress)
    return max(1, math.ceil(groups)) * num_generations if math.isfinite(groups) else None


def _optimiser(given: Optimiser | str | None) -> Optimiser | None:
    from mdp_theory.exact.optimisers import KINDS, Optimiser

    if given is None or isinstance(given, Optimiser):
        return given
    if given not in KINDS:
        raise InputError(f"there is no optimiser {given!r}", mend=f"one of {', '.join(KINDS)}")
    return Optimiser(kind=given)


def _problem(given: str | os.PathLike[str] | Problem) -> Problem:
    from mdp_theory.problems.controls import Control
    from mdp_theory.problems.mdp import TokenMDP

    return given if isinstance(given, TokenMDP | Control) else problem(given)


def _method(given: str | MethodChoice) -> MethodChoice:
    return given if isinstance(given, MethodChoice) else method(given)


def _fitted(objective: Objective, mdp: TokenMDP, fitted: Callable[[Objective, TokenMDP], Objective]) -> Objective:
    return objective if objective.max_completion_length is not None else fitted(objective, mdp)


def _values(critic: str | StateLevels, mdp: TokenMDP, logits: EdgeLevels) -> StateLevels:
    from mdp_theory.exact.values import critic_values

    if isinstance(critic, str):
        return critic_values(mdp, logits, critic)
    return _arrays(critic, [level.shape[:2] for level in mdp.rewards], what="a critic", names="'exact', 'zero'")


def _logits(policy: str | EdgeLevels, mdp: TokenMDP) -> EdgeLevels:

    from mdp_theory.exact.policy import parse

    if isinstance(policy, str):
        family, seed = parse(policy)
        return family.logits(family.init(mdp, seed), mdp)
    return _arrays(policy, [level.shape for level in mdp.rewards], what="a policy", names="'uniform', 'random:SEED'")


def _arrays(
    given: Sequence[Any], wanted: Sequence[tuple[int, ...]], *, what: str, names: str
) -> tuple[Float[np.ndarray, ...], ...]:
    import numpy as np

    try:
        levels = tuple(np.asarray(level, dtype=np.float64) for level in given)
    except (TypeError, ValueError):
        raise InputError(f"{what} is neither a name nor arrays", mend=f"give {names} or arrays") from None
    if [level.shape for level in levels] != list(wanted) or not all(np.isfinite(level).all() for level in levels):
        shapes = [level.shape for level in levels]
        raise InputError(
            f"arrays of shapes {shapes} are not finite numbers of shapes {list(wanted)}", mend="one array a depth"
        )
    return levels
