"""How fast each rule learns one prompt, and what several prompts do to each other, under gradient flow (theorem T16).

Under θ̇ = c(p) ∇p the success probability obeys ṗ = c(p) ‖∇p‖². For tabular softmax over N responses, one right and the
others alike, ‖∇p‖² = κ p²(1−p)² with κ = N/(N−1), so that time is an integral over p. In the logit z of p it has a
smooth integrand, which Gauss-Legendre panels take to rounding. The curve that θ runs along is the same for every rule:
entropies are functions of p alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from mdp_theory.exact.noise import binary_weights, binomial
from mdp_theory.exact.quadrature import unit_quadrature
from mdp_theory.methods.objectives import Objective
from rino_base.messages import InputError

Points = Float[np.ndarray, " points"]
Coefficient = Callable[[Points], Points]

_PANEL = 0.25  # In the logit: the 20 nodes of a panel then leave 1e-15.
_LARGEST_LOGIT = 30.0


@dataclass(frozen=True)
class Flow:
    """A rule whose flow is known in closed form: c(p) for groups without end, and F with F' = c⁻¹ p⁻² (1−p)⁻²."""

    coefficient: Coefficient
    antiderivative: Coefficient


LIMITS: Mapping[str, Flow] = MappingProxyType(
    {
        "1": Flow(np.ones_like, lambda p: 1 / (1 - p) - 1 / p + 2 * np.log(p / (1 - p))),
        "1/√(p(1−p))": Flow(lambda p: 1 / np.sqrt(p * (1 - p)), lambda p: 2 * (2 * p - 1) / np.sqrt(p * (1 - p))),
        "1/p": Flow(lambda p: 1 / p, lambda p: np.log(p / (1 - p)) + 1 / (1 - p)),
    }
)
"""By c(p): REINFORCE and RLOO at every G; GRPO as G → ∞; the mean over positives and MaxRL as G → ∞."""


def speed(responses: int) -> float:
    """κ = N/(N−1) for N responses of which one is right; 1 for many."""
    if responses < 2:
        raise InputError(f"{responses} response leaves nothing to learn", mend="give at least 2 responses")
    return responses / (responses - 1)


def of_method(objective: Objective, num_generations: int) -> Coefficient:
    """c(p) of theorem T5 at this group size, as a polynomial that is made once and costs microseconds."""
    wrong, right = binary_weights(objective, num_generations)
    apart = right[1:] - wrong[:-1]
    return lambda p: binomial(num_generations - 1, p) @ apart


def time_between(c: Coefficient, start: float, end: float, *, responses: int = 2) -> float:
    """The time that the flow takes from success probability `start` to `end`; negative where it goes back.

    Raises:
        InputError: a probability outside (0, 1).
    """
    low, high = _logit(start), _logit(end)
    panels = max(1, int(np.ceil(abs(high - low) / _PANEL)))
    edges = np.linspace(low, high, panels + 1)
    return float(_panel_times(c, edges[:-1], edges[1:]).sum()) / speed(responses)


def limit_time(flow: Flow, start: float, end: float, *, responses: int = 2) -> float:
    """`time_between` in closed form."""
    _logit(start), _logit(end)
    before, after = flow.antiderivative(np.array([start, end]))
    return float(after - before) / speed(responses)


def grpo_path(start: float, times: Points, *, responses: int = 2) -> Points:
    """p(t) of GRPO as G → ∞: ½ (1 + T/√(16 + T²)), with T = κt + 2(2p₀−1)/√(p₀(1−p₀))."""
    when = speed(responses) * times + LIMITS["1/√(p(1−p))"].antiderivative(np.array([start]))
    return (1 + when / np.sqrt(16 + when**2)) / 2


def path(c: Coefficient, start: float, times: Points, *, responses: int = 2) -> Points:
    """p(t) at these times, none negative, by inverting the time; to about 1e-13.

    Raises:
        InputError: a start outside (0, 1), or a time at which p is closer to 1 than 1e-13.
    """
    wanted = speed(responses) * np.asarray(times, dtype=np.float64)
    edges = np.arange(_logit(start), _LARGEST_LOGIT, _PANEL)
    reached = np.concatenate([[0.0], np.cumsum(_panel_times(c, edges[:-1], edges[1:]))])
    if wanted.min(initial=0.0) < 0 or wanted.max(initial=0.0) >= reached[-1]:
        raise InputError(
            f"times reach from {np.min(times):g} to {np.max(times):g}",
            mend=f"stay between 0 and {reached[-1] / speed(responses):.4g}, where p is 1 to 13 digits",
        )
    panel = np.searchsorted(reached, wanted, side="right") - 1
    low, left = edges[panel], wanted - reached[panel]
    z = low + _PANEL / 2
    for _ in range(30):  # Newton's steps: the time is monotone and nearly exponential within a panel.
        over = _panel_times(c, low, z) - left
        z = np.clip(z - over / _slowness(c, z), low, low + _PANEL)
    return _success(z)


def response_entropy(p: Points, responses: int) -> Points:
    """Entropy in nats at success probability p of N responses, one right and the others alike, whatever the rule."""
    q = 1 - p
    return -(p * np.log(p) + q * np.log(q / (responses - 1)))


class Competition(NamedTuple):
    """Two prompts under one flow: when each is learned, and what sharing costs the easy one.

    Attributes:
        time: of the points of the curves; in units in which the easy prompt alone takes 1.
        easy, hard: success probabilities.
        learned: when the hard prompt reaches the target; None within the horizon never.
        cost: ∫ (easy alone − easy) dt, in the same unit: success lost on the easy prompt.
        lowest: the least success of the easy prompt.
    """

    time: Points
    easy: Points
    hard: Points
    learned: float | None
    cost: float
    lowest: float


def compete(
    c: Coefficient, easy: float, hard: float, *, overlap: float, target: float = 0.9, horizon: float = 200.0
) -> Competition:
    """Two equally likely prompts, two responses each, whose logits' gradients have the cosine `overlap`.

    ż = K w with w_x = ½ c(p_x) p_x (1−p_x), and K has 1 on the diagonal and `overlap` beside it: 0 for a table, more
    where one prompt teaches the other, less where they conflict. `horizon` counts the times that the easy prompt alone
    takes to reach `target`: a common factor of c, such as a learning rate, drops out.

    Raises:
        InputError: a probability outside (0, 1), a target at or below `easy`, or an overlap outside [−1, 1].
    """
    if not -1 <= overlap <= 1:
        raise InputError(f"overlap is {overlap:g}", mend="a cosine lies in [-1, 1]")
    if target <= easy:
        raise InputError(f"the target {target:g} is not above {easy:g}", mend="give a higher target")
    alone = _integrate(c, np.array([_logit(easy)]), np.ones((1, 1)), np.array([1e9]), stop=_logit(target))
    unit = float(alone.t_events[0][0])
    times = np.concatenate([np.linspace(0, 10, 401), np.geomspace(10, horizon, 400)[1:]])
    kernel = np.array([[1.0, overlap], [overlap, 1.0]])
    both = _integrate(c, np.array([_logit(easy), _logit(hard)]), kernel, times * unit)
    single = _integrate(c, np.array([_logit(easy)]), np.ones((1, 1)), times * unit)
    shared, separate = _success(both.y), _success(single.y[0])
    reached = np.flatnonzero(shared[1] >= target)
    lost = separate - shared[0]
    return Competition(
        time=times,
        easy=shared[0],
        hard=shared[1],
        learned=float(times[reached[0]]) if reached.size else None,
        cost=float(np.sum((lost[1:] + lost[:-1]) / 2 * np.diff(times))),
        lowest=float(shared[0].min()),
    )


def _integrate(c: Coefficient, start: Points, kernel: np.ndarray, times: Points, stop: float | None = None) -> Any:
    def rate(_: float, z: Points) -> Points:
        return kernel @ (0.5 * c(_success(z)) * _success(z) * _success(-z))

    def arrived(_: float, z: Points) -> float:
        return float(z[0] - stop) if stop is not None else 1.0

    arrived.terminal = True  # type: ignore[attr-defined]
    return solve_ivp(
        rate,
        (0.0, float(times[-1])),
        start,
        method="LSODA",
        t_eval=None if stop is not None else times,
        events=arrived,
        rtol=1e-10,
        atol=1e-12,
    )


def _panel_times(c: Coefficient, low: Points, high: Points) -> Points:
    """∫ dz / (c p q) over each of these intervals."""
    nodes, weight = unit_quadrature(39)
    z = low[:, None] + (high - low)[:, None] * nodes
    return (high - low) * (_slowness(c, z.ravel()).reshape(z.shape) @ weight)


def _slowness(c: Coefficient, z: Points) -> Points:
    """dt/dz = 1/(c p q): dp = p q dz."""
    return 1 / (c(_success(z)) * _success(z) * _success(-z))


def _success(z: Points) -> Points:
    return 1 / (1 + np.exp(-z))


def _logit(p: float) -> float:
    if not 0 < p < 1:
        raise InputError(f"a success probability is {p:g}", mend="give one strictly between 0 and 1")
    return float(np.log(p) - np.log1p(-p))
