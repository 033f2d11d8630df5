"""`--config FILE`: options from a TOML or YAML file, or from a run's own `config.json`; the command line wins.

Tables are only for the reader: `[sampling] temperature = 0.6` and `temperature = 0.6` mean the same.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclopts.config import Dict

from rino_base.messages import InputError
from rino_base.ranges import outside, rule

# Of a run's config.json: what describes the run and decides nothing that its options do not decide already.
_RECORDED = ("title", "objective", "versions", "hardware")


def take_config(arguments: list[str]) -> Path | None:
    """The file that `--config` names on a command line, or None."""
    for place, word in enumerate(arguments):
        if word == "--config" and place + 1 < len(arguments):
            return Path(arguments[place + 1])
        if word.startswith("--config="):
            return Path(word.partition("=")[2])
    return None


def provider(path: Path, command: str) -> Dict:
    """The file's options for cyclopts, which fills them in where the command line says nothing.

    Raises:
        InputError: no such file, not TOML, YAML or JSON, not a table of options, or a fraction where `command` wants a
            whole number (cyclopts would round it).
    """
    values = _read(path)
    record = isinstance(values, dict) and "objective" in values and "versions" in values
    flat = _of_record(values, path) if record else _flat(values, path)
    for name, value in flat.items():
        wanted = rule(command, name.replace("-", "_"))
        if wanted is not None and wanted.whole and isinstance(value, float) and not value.is_integer():
            raise outside(f"--config {path}: {name}", value, wanted)
    flat = {name.replace("_", "-"): value for name, value in flat.items() if value is not None}
    # A run's record also says what a comparison decides otherwise: its method and its seed.
    return Dict(flat, source=str(path), use_commands_as_keys=False, allow_unknown=record)


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path} cannot be read: {error}", mend="name a TOML, YAML or JSON file") from None
    try:
        if path.suffix == ".toml":
            return tomllib.loads(text)
        if path.suffix in (".yaml", ".yml"):
            import yaml

            return yaml.safe_load(text)
        if path.suffix == ".json":
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--config {path}: {' '.join(str(error).split())}", mend="mend the file") from None
    except Exception as error:  # yaml has a family of its own, known only once it is imported
        if type(error).__module__.startswith("yaml"):
            words = " ".join(str(error).split())
            raise InputError(f"--config {path}: {words}", mend="mend the file") from None
        raise
    raise InputError(f"--config {path} is of no known kind", mend="name it .toml, .yaml or .json")


def _flat(values: Any, path: Path) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise InputError(f"--config {path} holds no table of options", mend="write lines such as: steps = 200")
    found: dict[str, Any] = {}
    for name, value in values.items():
        for inner, item in value.items() if isinstance(value, Mapping) else ((name, value),):
            key = str(inner)
            if key in found:
                raise InputError(f"--config {path} gives {key} twice", mend="give it once")
            if isinstance(item, Mapping):
                raise InputError(f"--config {path}: {name}.{key} is a table", mend="one level of tables is understood")
            found[key] = item
    return found


def _of_record(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    departures = values.get("objective_options", {})
    if not isinstance(departures, Mapping):
        raise InputError(f"--config {path}: objective_options is no table", mend="take the config.json of a run")
    kept = {name: value for name, value in values.items() if name not in (*_RECORDED, "objective_options")}
    return _flat({**kept, **departures}, path)
