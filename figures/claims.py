"""The claims, what there is for and against each of them (proved, exact, measured), and the verdict."""

from collections.abc import Iterable

from figures.answer import error, percent
from figures.facts import CRITIC, ON_POLICY, PENALISED, REUSED, STALE, Contest, Facts, Lengthening
from figures.statistics import EXACT
from figures.tables import Table, points

SHARE = 1e-9
"""Up to this share a gradient is along ∇p: it is a sum over many responses, in float64."""


def claims_table(facts: Facts) -> Table:
    """One row a claim. What these files hold nothing about has a dash, and a claim without evidence no verdict."""
    rows = (
        _weighted(facts),
        _one_direction(facts),
        _bandit(facts),
        _reuse(facts),
        _kl(facts),
        _critic(facts),
        _length_normaliser(facts),
        _levels(facts),
        _comparable(facts),
        _longer(facts),
    )
    note = (
        "Errors are relative: of a method's gradient to that of outcome-weighted supervised fine-tuning with the same "
        "advantages. Shares: the part of the expected gradient that is off ∇p. Measured: on models being trained; "
        "differences in points of pass@1."
    )
    columns = ("claim", "proved", "exact", "measured", "verdict")
    return Table("Claims, evidence, verdicts", columns, rows, note)


Cells = tuple[str, str, str, str, str]


def _weighted(facts: Facts) -> Cells:
    probe = facts.probes.get(ON_POLICY)
    exact = f"error ≤ {error(facts.exact_error)}" if facts.exact_error is not None else ""
    measured = f"error ≤ {error(probe.error)}, {_runs(probe.runs)}" if probe else ""
    held = [facts.exact_error is None or facts.exact_error <= EXACT, probe is None or probe.error <= probe.tolerance]
    return _row(facts, "on-policy, the loss is outcome-weighted SFT", ("T3", "T13"), exact, measured, all(held))


def _one_direction(facts: Facts) -> Cells:
    exact = f"share ≤ {error(facts.direction_share)}" if facts.direction_share is not None else ""
    held = facts.direction_share is None or facts.direction_share <= SHARE
    return _row(facts, "binary rewards, no 1/L: every rule goes along ∇p, at rate c(p)", ("T5", "T6"), exact, "", held)


def _bandit(facts: Facts) -> Cells:
    sure, chance = facts.bandit_gap, facts.chance_gap
    parts = [
        f"loss of the best fixed response {sure:.2g}" if sure is not None else "",
        f"{chance:.2g} where transitions have chance" if chance is not None else "",
    ]
    verdict = "holds" if sure is None or sure <= EXACT else "breaks"
    if verdict == "holds" and chance is not None and chance > EXACT:
        verdict = "holds; breaks with chance in the transitions"
    return _row(facts, "the token problem is a bandit", ("T1", "T2"), "; ".join(filter(None, parts)), "", verdict)


def _reuse(facts: Facts) -> Cells:
    exact = ""
    if facts.last_error is not None and facts.inner_error is not None:
        ends = ((facts.inner_error, facts.inner_step), (facts.last_error, facts.last_step))
        exact = ", ".join(f"error {error(value)} at step {step}" for value, step in ends)
    broken = (facts.last_error or 0) > EXACT
    return _departure(facts, "… with a batch used again, or stale samples", "T7", exact, (REUSED, STALE), broken)


def _kl(facts: Facts) -> Cells:
    exact = f"error {error(facts.kl_error)} at β = {facts.beta:g}" if facts.kl_error is not None else ""
    return _departure(facts, "… with a KL term", "T8", exact, (PENALISED,), (facts.kl_error or 0) > EXACT)


def _critic(facts: Facts) -> Cells:
    parts = [
        f"PPO: error {error(facts.critic_error)}" if facts.critic_error is not None else "",
        f"uniform credit has {facts.variance_ratio:.2g} × the variance" if facts.variance_ratio is not None else "",
    ]
    exact = "; ".join(filter(None, parts))
    return _departure(facts, "… with a critic", "T12", exact, (CRITIC,), (facts.critic_error or 0) > EXACT)


def _length_normaliser(facts: Facts) -> Cells:
    exact = f"share {percent(facts.length_share)} of GRPO's" if facts.length_share is not None else ""
    verdict = "breaks: another direction" if (facts.length_share or 0) > SHARE else "holds"
    return _row(facts, "… along ∇p with 1/L", ("T9",), exact, "", verdict)


def _levels(facts: Facts) -> Cells:
    exact = f"share {percent(facts.levels_share)} of GRPO's" if facts.levels_share is not None else ""
    verdict = "breaks: another direction" if (facts.levels_share or 0) > SHARE else "holds"
    return _row(facts, "… along ∇p with three reward levels", ("T10",), exact, "", verdict)


def _comparable(facts: Facts) -> Cells:
    told = _by_place((c, f"{c.method} {_interval(c)}") for c in facts.contests)
    apart = sum(contest.distinguished for contest in facts.contests)
    few = facts.contests and all("cannot tell" in contest.doubt for contest in facts.contests)
    verdict = "open: too few seeds" if few else f"{apart} of {len(facts.contests)} distinguished from the reference"
    return "trained with it, a model is as good", "–", "–", "; ".join(told) or "–", verdict if facts.contests else "–"


def _longer(facts: Facts) -> Cells:
    told = _by_place((entry, f"{entry.method} {_tokens(entry)}") for entry in facts.lengthening)
    found = [("longer" if entry.change > 0 else "shorter") if entry.changed else "open" for entry in facts.lengthening]
    proved = _proved(facts, ("T9",))
    return (
        "training lengthens wrong responses",
        proved,
        "–",
        "; ".join(told) or "–",
        ", ".join(dict.fromkeys(found)) or "–",
    )


def _departure(facts: Facts, claim: str, theorem: str, exact: str, kinds: Iterable[str], broken: bool) -> Cells:
    probes = [facts.probes[kind] for kind in kinds if kind in facts.probes]
    measured = "; ".join(f"error ≤ {error(probe.error)}, {_runs(probe.runs)}" for probe in probes)
    seen = broken or any(probe.error > probe.tolerance for probe in probes)
    return _row(facts, claim, (theorem,), exact, measured, "breaks" if seen else "no break seen")


def _row(facts: Facts, claim: str, theorems: tuple[str, ...], exact: str, measured: str, verdict: str | bool) -> Cells:
    proved = _proved(facts, theorems)
    word = ("holds" if verdict else "breaks") if isinstance(verdict, bool) else verdict
    if "failed" in proved:
        word = "open: a proof failed"
    known = proved != "–" or exact or measured
    # A theorem says both where it holds and what happens without each assumption; numbers decide which this is.
    decided = exact or measured or isinstance(verdict, bool)
    return claim, proved, exact or "–", measured or "–", word if known and decided else "–"


def _proved(facts: Facts, theorems: tuple[str, ...]) -> str:
    known = [name for name in theorems if name in facts.theorems]
    failed = [name for name in known if not facts.theorems[name]]
    return f"{', '.join(failed)} failed" if failed else ", ".join(known) or "–"


def _interval(contest: Contest) -> str:
    ends = contest.low is not None and contest.high is not None
    told = f" [{points(contest.low or 0)}, {points(contest.high or 0)}]" if ends else ""
    return f"{points(contest.difference)}{told}"


def _tokens(entry: Lengthening) -> str:
    ends = f" [{entry.low:+.1f}, {entry.high:+.1f}]" if entry.low is not None and entry.high is not None else ""
    return f"{entry.change:+.1f}{ends} tokens".replace("-", "−")


def _by_place(told: Iterable[tuple[Contest | Lengthening, str]]) -> list[str]:
    """Task, model and seeds once for what was measured there."""
    places: dict[str, list[str]] = {}
    for entry, text in told:
        places.setdefault(f"{entry.task}, {entry.model}, n = {entry.seeds}", []).append(text)
    return [f"{place}: {', '.join(texts)}" for place, texts in places.items()]


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
