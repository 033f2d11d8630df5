"""`rino conformance`: released frameworks' own losses beside the equations whose names they bear."""

from pathlib import Path
from typing import Any

from mdp_theory.audit.frameworks.batches import FRAMEWORKS
from rino_base.files import write_json
from rino_base.messages import InputError, print_table
from rino_base.progress import track


def conformance(
    *names: str,
    install: bool = False,
    record: bool = False,
    recorded: bool = False,
    json: Path | None = None,
) -> int:
    """Audit the losses of released frameworks and lay them beside the published equations.

    Every loss of the packages that are installed is called as it stands, and every setting that the catalogue spells
    for them is held against its method, also on random batches. The exit code is 1 where a spelling does not hold. A
    package that is not installed, or whose interface has changed, gives a row that says so.

    Parameters
    ----------
    names
        trl, verl, openrlhf, tunix, polgrad. Default: all.
    install
        Make an environment of its own for each framework named that has none, from this project's pins; this
        downloads packages (about 1 GB for one with torch). $RINO_FRAMEWORKS names the folder.
    record
        Write what is found to the golden files that docs/frameworks.md is made of.
    recorded
        Show the golden files instead of running anything.
    json
        Write everything to this file.
    """
    from mdp_theory.conformance.page import holds
    from mdp_theory.conformance.record import save

    for name in names:
        if name not in FRAMEWORKS:
            raise InputError(f"unknown framework {name!r}", mend=f"one of: {', '.join(FRAMEWORKS)}")
    if recorded and (install or record):
        raise InputError("--recorded runs nothing to install or to record", mend="leave one of them out")
    if install and not names:
        raise InputError("--install without a name would download every framework", mend="name those that you want")
    found = [_one(name, install, recorded) for name in names or FRAMEWORKS]
    for each in found:
        _print(each)
        if record and each["losses"]:
            save(each)
    if json is not None:
        write_json(json, {"frameworks": found})
    spelled = [peer for each in found for peer in each["peers"]]
    broken = [peer for peer in spelled if not holds(peer)]
    print(f"{len(spelled) - len(broken)} of {len(spelled)} spellings of the catalogue hold")
    return 1 if broken else 0


def _one(name: str, make: bool, recorded: bool) -> dict[str, Any]:
    from mdp_theory.audit.frameworks import environment
    from mdp_theory.conformance.record import conform, golden

    missing: dict[str, Any] = {
        "framework": name,
        "version": None,
        "losses": [],
        "peers": [],
        "problem": "nothing is recorded",
    }
    if recorded:
        return golden(name) or missing
    try:
        environment.python_of(name)
    except InputError as error:
        if not make:
            return missing | {"problem": f"{error.problem}; try: {error.mend}"}
        environment.own_environment(name).parent.mkdir(parents=True, exist_ok=True)
        environment.install(name)
    return conform(name, track=lambda rows: track(rows, description=name))


def _print(found: dict[str, Any]) -> None:
    from mdp_theory.conformance.page import COLUMNS, peer_row, row

    name = found["framework"]
    if not found["losses"]:
        print_table(name, ("framework", "problem"), [(name, found["problem"])])
        return
    print_table(f"{name} {found['version']}", COLUMNS, [row(name, record) for record in found["losses"]])
    if found["peers"]:
        columns = ("method", "settings", "holds", "with", "random batches")
        print_table("the catalogue's spellings", columns, [peer_row(record) for record in found["peers"]])
