"""Verify a theorem: every step, every joint between the steps, every witness."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from proofs.joints import faults
from proofs.theorem import Theorem
from proofs.timing import Outcome


@dataclass(frozen=True)
class Report:
    """The outcomes of one theorem, in the order of its steps and witnesses, and what is wrong between them."""

    theorem: Theorem
    steps: tuple[Outcome, ...]
    witnesses: tuple[Outcome, ...]
    faults: tuple[str, ...]
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether every step, joint and witness holds, here and in the theorems that this one cites."""
        return not self.faults and all(outcome.verified for outcome in (*self.steps, *self.witnesses))


def verify(theorem: Theorem, done: Callable[[], None] = lambda: None) -> Report:
    """Verify every step, joint and witness; `done` is called after each step and witness."""
    start = time.perf_counter()

    def run(check: Callable[[], Outcome]) -> Outcome:
        outcome = check()
        done()
        return outcome

    steps = tuple(run(partial(theorem.check_step, number)) for number in range(len(theorem.steps)))
    witnesses = tuple(run(witness.check) for witness in theorem.witnesses)
    return Report(theorem, steps, witnesses, tuple(faults(theorem)), time.perf_counter() - start)
