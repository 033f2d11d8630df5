"""A named method: its objective as data, where it comes from, and what others call it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mdp_theory.methods.objectives import Objective


@dataclass(frozen=True, kw_only=True)
class Method:
    """A named method.

    Attributes:
        key: its name on the command line and on disk.
        title: its name in figures and tables.
        source: where it comes from, arXiv numbers first.
        objective: the loss as data.
        aliases: other names that mean the same.
        static: its samples come from a fixed policy and are never refreshed (plain supervised fine-tuning).
        note: what the source leaves open and what is taken here.
        peers: settings that give the same loss in other code bases, by code base: `key=value`, as their configurations
            name them. `rino conformance` runs every one of them against the code base itself; standard deviations
            differ there in ddof and ε, and groups of equal reward stay in the token count.
    """

    key: str
    title: str
    source: str
    objective: Objective
    aliases: tuple[str, ...] = ()
    static: bool = False
    note: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)
