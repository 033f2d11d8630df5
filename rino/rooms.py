"""Where the rooms are: beside this package, whatever a user's own modules are called.

The rooms are top-level packages with ordinary names, and a working folder that is first on `sys.path` may well have a
`figures` of its own. A room is therefore never looked up on the path: it is loaded from its place, the first time it is
needed and not before, so that the name stays free for as long as nobody asks for the room.
"""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from rino_base.messages import InputError

STANDS_ON: Mapping[str, tuple[str, ...]] = {
    "mdp_theory": (),
    "proofs": (),
    "llm_exps": ("mdp_theory",),
    "figures": (),
}
"""The rooms, and the rooms that each needs."""

_HOME = Path(__file__).resolve().parent.parent


def claim(*rooms: str) -> None:
    """Make `import ROOM` mean rino's own room, for these rooms and for those that they stand on.

    Raises:
        InputError: a module of that name, which is not rino's, has been imported already.
    """
    for room in rooms:
        for name in (*STANDS_ON[room], room):
            _claim(name)


def claim_for(module: str) -> None:
    """Claim what a module of rino's needs: its own room, or every room for a module of the front door."""
    room = module.partition(".")[0]
    claim(*(STANDS_ON if room == __package__ else [room]))


def _claim(name: str) -> None:
    place = _HOME / name
    known = sys.modules.get(name)
    if known is not None:
        if not _is_at(known, place):
            raise InputError(
                f"the module {name!r} that is already imported is not rino's: {_origin(known)}",
                mend=f"rename yours, or call rino before importing it: rino's own is {place}",
            )
        return
    spec = importlib.util.spec_from_file_location(name, place / "__init__.py", submodule_search_locations=[str(place)])
    if spec is None or spec.loader is None:
        raise InputError(f"rino's own package {name!r} is missing from {_HOME}", mend="install rino again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _is_at(module: ModuleType, place: Path) -> bool:
    return any(Path(path).resolve() == place for path in getattr(module, "__path__", ()))


def _origin(module: ModuleType) -> str:
    where = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return str(where or "a module without a file")
