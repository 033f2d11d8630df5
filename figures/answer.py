"""The answer in three sentences, made from the facts: where the claim holds, where it breaks, what was trained here."""

from collections.abc import Sequence

import numpy as np

from figures.facts import CRITIC, ON_POLICY, PENALISED, REUSED, STALE, Contest, Facts, Probe
from figures.statistics import EXACT
from figures.style import power_of_ten
from figures.tables import points


def sentences(facts: Facts) -> list[str]:
    """Three sentences; the ones for which there is no fact are left out."""
    return [sentence for sentence in (_holds(facts), _breaks(facts), _trained(facts)) if sentence]


def percent(share: float) -> str:
    """A share with two significant digits at least: 0.4 %, 4.2 %, 37 %."""
    value = 100 * share
    return f"{value:.0f} %" if abs(value) >= 10 else f"{value:.1f} %"


def error(value: float) -> str:
    """A relative error as text: in per cent, and below a tenth of one as a power of ten."""
    if value >= 1e-3 or value == 0:
        return percent(value) if value else "0"
    exponent = int(np.floor(np.log10(value)))
    return f"{value / 10.0**exponent:.0f}·{power_of_ten(10.0**exponent)}"


def listed(parts: Sequence[str], *, last: str = "and") -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def _holds(facts: Facts) -> str:
    probe = facts.probes.get(ON_POLICY)
    proved = facts.theorems.get("T3")
    evidence = ["T3"] if proved else []
    if facts.exact_error is not None:
        problems = f"{len(facts.problems)} exactly solved problem{'s' * (len(facts.problems) != 1)}"
        evidence.append(f"relative error at most {error(facts.exact_error)} on {problems}")
    if probe:
        evidence.append(f"{error(probe.error)} in {probe.runs} training run{'s' * (probe.runs != 1)}")
    if proved is None and not evidence:
        return ""
    failed = [
        *(["its proof T3 failed"] if proved is False else []),
        *(["exact gradients differ"] if facts.exact_error is not None and facts.exact_error > EXACT else []),
        *(["gradients of trained models differ"] if probe and probe.error > probe.tolerance else []),
    ]
    told = f" ({', '.join(evidence)})" if evidence else ""
    if failed:
        return f"**The claim does not hold here even where it should:** {listed(failed)}{told}."
    direction = ""
    if facts.theorems.get("T5") and (facts.direction_share is None or facts.direction_share <= 1e-9):
        direction = (
            "; with rewards 0 and 1 and no division by the length all such rules climb the success probability p, each "
            "at a rate c(p) of its own (T5)"
        )
    return (
        "**The claim holds** when responses come from the policy that is being trained, each is judged by its outcome "
        "alone, and there is neither a KL term nor a critic: sample by sample the gradient is that of outcome-weighted "
        f"supervised fine-tuning{told}{direction}."
    )


def _breaks(facts: Facts) -> str:
    gradient = _present(_reuse(facts), _stale(facts), _penalty(facts), _critic(facts))
    direction = _present(
        _share(facts.length_share, "the loss is divided by the length ({} of GRPO's expected gradient is off ∇p)"),
        _share(facts.levels_share, "rewards have three levels ({})"),
    )
    parts = []
    if gradient:
        parts.append(f"the gradient is another one when {listed(gradient, last='or')}")
    if direction:
        parts.append(
            f"it is still weighted fine-tuning, but climbs something else than p, when {listed(direction, last='or')}"
        )
    if facts.chance_gap is not None and facts.chance_gap > EXACT:
        parts.append(
            "the problem is no bandit where the environment acts by chance (the best fixed response is worth "
            f"{facts.chance_gap:.2f} less than the best policy)"
        )
    return f"**It breaks:** {'; '.join(parts)}." if parts else ""


def _present(*texts: str) -> list[str]:
    return [text for text in texts if text]


def _share(share: float | None, words: str) -> str:
    """What of a gradient is off ∇p, where it is more than rounding of a long sum."""
    return words.format(percent(share)) if share is not None and share > 1e-9 else ""


def _reuse(facts: Facts) -> str:
    told = []
    if facts.inner_error is not None and facts.last_error is not None and facts.last_error > EXACT:
        told.append(
            f"GRPO is off by {error(facts.inner_error)} after {_steps(facts.inner_step)} on a batch and by "
            f"{error(facts.last_error)} after {facts.last_step}"
        )
    told += _measured(facts.probes.get(REUSED))
    return f"a batch is used again ({', '.join(told)})" if told else ""


def _stale(facts: Facts) -> str:
    told = _measured(facts.probes.get(STALE))
    return f"samples are stale ({', '.join(told)})" if told else ""


def _penalty(facts: Facts) -> str:
    told = []
    if facts.kl_error is not None and facts.kl_error > EXACT:
        told.append(f"{error(facts.kl_error)} at β = {facts.beta:g}")
    told += _measured(facts.probes.get(PENALISED))
    return f"a KL term is added ({', '.join(told)})" if told else ""


def _critic(facts: Facts) -> str:
    told = []
    if facts.critic_error is not None and facts.critic_error > EXACT:
        told.append(f"PPO {error(facts.critic_error)}")
    told += _measured(facts.probes.get(CRITIC))
    return f"a critic judges tokens ({', '.join(told)})" if told else ""


def _measured(probe: Probe | None) -> list[str]:
    return [f"up to {error(probe.error)} in training"] if probe and probe.error > probe.tolerance else []


def _trained(facts: Facts) -> str:
    places: dict[tuple[str, str], list[Contest]] = {}
    for contest in facts.contests:
        places.setdefault((contest.task, contest.model), []).append(contest)
    told = [_place(contests) for contests in list(places.values())[:3]]
    more = f"; and {len(places) - 3} more tasks and models below" if len(places) > 3 else ""
    return f"**For the models trained here:** {'; '.join(told)}{more}." if told else ""


def _place(contests: Sequence[Contest]) -> str:
    """One task and model: who can be told from the reference, and who cannot."""
    first = contests[0]
    seeds = max(contest.seeds for contest in contests)
    head = (
        f"on {first.task} with the model {first.model}, {seeds} seed{'s' * (seeds != 1)} and {_steps(first.steps)}, "
        f"{first.reference} ends at {100 * first.reference_value:.1f} % pass@1"
    )
    apart = [contest for contest in contests if contest.distinguished]
    alike = [contest for contest in contests if not contest.distinguished]
    parts = []
    if apart:
        parts.append(f"{listed(list(map(_entry, apart)))} {_is(apart)} distinguished")
    if alike:
        few = all("cannot tell" in contest.doubt for contest in alike)
        reason = f": {alike[0].doubt}" if few else ""
        word = "not" if apart else "not distinguished"
        parts.append(f"{listed(list(map(_entry, alike)))} {_is(alike)} {word}{reason}")
    return f"{head}, from which {' and '.join(parts)}"


def _is(contests: Sequence[Contest]) -> str:
    return "is" if len(contests) == 1 else "are"


def _entry(contest: Contest) -> str:
    interval = (
        f" [{points(contest.low)}, {points(contest.high)}]"
        if contest.low is not None and contest.high is not None
        else ""
    )
    return f"{contest.method} ({points(contest.difference)} points{interval})"


def _steps(count: int | None) -> str:
    return f"{count} step{'s' * (count != 1)}"
