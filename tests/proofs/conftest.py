"""The Coq development, compiled once for all tests that ask Coq."""

import shutil

import pytest

from proofs.kernel.check import check


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The folder of the compiled files, and what Coq says of each theorem."""
    if shutil.which("coqc") is None:
        pytest.skip("Coq is not installed: apt-get install coq …")
    folder = tmp_path_factory.mktemp("kernel")
    return folder, check(build=folder)
