"""The notebooks run from the first cell to the last, in a folder that holds nothing else."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SLOW = {"training"}


def execute(path, folder):
    """The executed notebook; a cell that raises raises here."""
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    client = NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / ".ipython")})
    return book


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=[pytest.mark.slow] * (p.stem in SLOW), id=p.stem) for p in NOTEBOOKS]
)
def test_a_notebook_runs(path, tmp_path):
    shown = [output for cell in execute(path, tmp_path).cells for output in cell.get("outputs", [])]
    assert [output for output in shown if output.get("name") == "stderr" and "Warning" in output["text"]] == []
    assert any("text/html" in output.get("data", {}) for output in shown)


def test_notebooks_are_kept_without_results():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), f"{path.name}: clear its outputs before you commit"
            assert cell.get("execution_count") is None
