"""Audit a framework's losses and keep what was found as a small file: the page and its tests need no framework."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdp_theory.audit.closed_form import token_weights
from mdp_theory.audit.frameworks.batches import Variant
from mdp_theory.audit.frameworks.environment import Worker, variants
from mdp_theory.audit.loss import Loss, LossFailure
from mdp_theory.audit.nearest import Nearest
from mdp_theory.audit.probes import FOURS, ROWS, WIDTH, lay
from mdp_theory.audit.recover import Audit, audit_loss
from mdp_theory.audit.target import open_loss
from mdp_theory.exact import population
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Objective
from rino_base.files import write_json
from rino_base.messages import InputError

GOLDEN = Path(__file__).parent / "golden"
PEERS = {"TRL": "trl", "verl": "verl", "OpenRLHF": "openrlhf", "tunix": "tunix", "polgrad": "polgrad"}
"""The catalogue's names of code bases, and the frameworks'."""

RANDOM_BATCHES = 3
RATES = (0.1, 0.5, 0.9)
GROUP_SIZE = 8

Track = Callable[[Iterable[Any]], Iterable[Any]]


def conform(framework: str, *, track: Track = iter) -> dict[str, Any]:
    """Everything that is asked of a framework; what fails is a row that says so.

    Raises:
        InputError: the framework is installed nowhere.
    """
    losses: list[dict[str, Any]] = []
    peers: list[dict[str, Any]] = []
    with Worker(framework) as worker:
        for name, variant, peer in track(list(_questions(framework))):
            record = _ask(worker, framework, name, variant)
            (losses if peer is None else peers).append(record)
    version = next((record["version"] for record in losses if record["version"]), None)
    return {"framework": framework, "version": version, "losses": losses, "peers": peers}


def _questions(framework: str) -> Iterator[tuple[str, Variant, str | None]]:
    """Name, settings and, for a spelling of the catalogue's, its method."""
    for name, variant in variants(framework).items():
        yield name, variant, None
    for key, method in METHODS.items():
        for peer, text in method.peers.items():
            if PEERS[peer] == framework:
                yield key, Variant(settings=spelled(text), method=key), key


def spelled(text: str) -> dict[str, Any]:
    """Settings as the catalogue writes them, `key=value` separated by spaces; values are JSON where they can be."""
    settings: dict[str, Any] = {}
    for part in text.split():
        name, _, value = part.partition("=")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def _ask(worker: Worker, framework: str, name: str, variant: Variant) -> dict[str, Any]:
    head = {"name": name, "settings": dict(variant.settings), "note": variant.note, "method": variant.method}
    claimed = variant.method if variant.method in METHODS else None
    if variant.outside:
        return {**head, "version": None, "problem": variant.outside}
    try:
        loss = open_loss(worker, f"{framework}:{name}", variant.settings, lay(), framework=framework)
        report = audit_loss(loss, claimed=claimed)
    except InputError as error:
        return {**head, "version": None, "problem": error.problem}
    answers = report.to_json()
    kept = (
        *("outcome_driven", "outcome_driven_off_policy", "departures", "sign_errors", "credit_pool", "micro_batches"),
        *(
            "ignored",
            "precision",
            "advantage",
            "advantage_shape",
            "numerator",
            "exponents",
            "ddof",
            "advantage_eps",
            "advantage_eps_form",
        ),
        *("aggregation", "max_completion_length", "importance_sampling_level", "clip", "kl", "kl_to_old"),
        "credit_structure_index",
    )
    near = report.nearest if report.claimed is None else report.claimed
    return {
        **head,
        "version": loss.framework.partition(" ")[2],
        "problem": None,
        **{field: answers[field] for field in kept},
        "nearest": _rounded(report.nearest),
        "claimed": None if report.claimed is None else _rounded(report.claimed),
        "random_residual": _short(random_residual(loss, near.objective, near.scale)),
        "optimises": _optimises(report),
    }


def _rounded(near: Nearest) -> dict[str, Any]:
    found = near.to_json()
    numbers = ("residual", "scale", "residual_as_catalogued")
    return found | {name: _short(found[name]) for name in numbers}


def _short(number: float | None) -> float | None:
    """Two digits: a file that is recorded again must not change in what is rounding."""
    return None if number is None else float(f"{number:.2g}")


def random_residual(loss: Loss, objective: Objective, scale: float) -> float | None:
    """Relative distance between the loss's weights and the objective's on random batches; None where it fails there."""
    found = []
    for seed in range(RANDOM_BATCHES):
        batch = random_batch(seed)
        try:
            _, weights = loss.differentiate(batch)
        except LossFailure:
            return None
        wanted = scale * token_weights(objective, batch) * np.asarray(batch.mask)
        size = np.linalg.norm(weights)
        found.append(float(np.linalg.norm(weights - wanted) / size) if size else 0.0)
    return max(found)


def random_batch(seed: int) -> Batch:
    """Six groups of four with binary rewards, ragged lengths, and a policy that has drifted."""
    random = np.random.default_rng(1000 + seed)
    old = -random.uniform(0.1, 4.0, (ROWS, WIDTH))
    drift, away = random.normal(0.0, 0.3, (2, ROWS, WIDTH))
    length = random.integers(1, WIDTH + 1, ROWS)
    reward = random.integers(0, 2, ROWS).astype(float)
    # Probabilities stay below 1, which losses that take exp of them count on.
    logp, ref = (np.minimum(old + step, -0.01) for step in (drift, away))
    return lay(reward=reward, length=length, group=FOURS, logp=logp, old=old, ref=ref)


def _optimises(report: Audit) -> dict[str, Any] | None:
    """c(p) and Φ(p) of the objective recovered, and what it does with length; None where it is no exact rule."""
    if report.objective is None or not report.objective[0].advantage.of_outcomes_alone:
        return None
    objective, scale, _ = report.objective
    if objective.kl is not None and objective.kl.placement == "reward":
        return None
    p = np.array(RATES)
    options = {"num_generations": GROUP_SIZE}
    per_token = objective.aggregation == "sequence-mean-token-mean"
    return {
        "p": list(RATES),
        "num_generations": GROUP_SIZE,
        "c": [_three(x * scale) for x in population.coefficient(objective, p, **options)],
        "phi": [_three(x * scale) for x in population.effective_objective(objective, p, **options)],
        "length": "a token of a response weighs 1/L" if per_token else "a token weighs the same whatever the length",
    }


def _three(number: float) -> float:
    return float(f"{number:.3g}")


def save(found: Mapping[str, Any]) -> Path:
    """Keep what was found as the framework's golden file."""
    path = GOLDEN / f"{found['framework']}.json"
    write_json(path, found)
    return path


def golden(framework: str) -> dict[str, Any] | None:
    """The framework's golden file, or None where there is none."""
    path = GOLDEN / f"{framework}.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found
