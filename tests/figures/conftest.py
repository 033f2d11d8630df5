"""Results that several tests read: made once, never written to."""

from pathlib import Path

import pytest
from run_files import make_check, make_predictions, make_proof, make_results, make_run

from figures.reading import read_results
from figures.runs import Results


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four methods, three seeds, two ablations, a sweep, a check and a proof."""
    path = make_results(tmp_path_factory.mktemp("results"))
    for passes in (2, 4):
        make_run(path / "inner-steps" / "runs" / f"grpo-{passes}" / "seed-0", final=0.4, num_iterations=passes)
    for rate in (1e-4, 3e-4):
        make_run(path / "sweep" / "grpo" / f"lr-{rate:g}" / "seed-9", seed=9, final=rate * 1e3, learning_rate=rate)
    make_check(path / "check")
    make_proof(path / "prove.json")
    make_predictions(path / "prediction.json")
    return path


@pytest.fixture(scope="session")
def results(directory: Path) -> Results:
    """The same, read."""
    return read_results(directory)
