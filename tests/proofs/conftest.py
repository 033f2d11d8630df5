"""The Coq development, compiled once for all tests that ask Coq."""

import os
import pickle
import shutil

import pytest
from filelock import FileLock

from proofs.kernel.check import check


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The folder of the compiled files, and what Coq says of each theorem; the workers of a session share both."""
    if shutil.which("coqc") is None:
        pytest.skip("Coq is not installed: apt-get install coq …")
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, reports = shared / "kernel", shared / "kernel.reports"
    with FileLock(shared / "kernel.lock"):
        if not reports.exists():
            folder.mkdir(exist_ok=True)
            reports.write_bytes(pickle.dumps(check(build=folder)))
    return folder, pickle.loads(reports.read_bytes())
