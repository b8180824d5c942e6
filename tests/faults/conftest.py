"""One unbroken run for all fault tests of a session; helpers from tests/workflow."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from faulty import STUDY, checkout, warm
from harness import Run


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run. Look, do not touch."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with open(shared / "unbroken.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = Run(shared / "unbroken", shared / "checkout")
        if not run.checkout.exists():
            checkout(run.checkout)
            run.configure(STUDY).make()
    assert (run.folder / "results/report/index.html").exists(), "the unbroken run broke"
    return run


@pytest.fixture
def run(unbroken: Run, tmp_path: Path) -> Run:
    """A copy of the unbroken run, to be broken."""
    return unbroken.copy(tmp_path / "run")


@pytest.fixture
def fresh(unbroken: Run, tmp_path: Path) -> Run:
    """Nothing drawn yet."""
    return warm(Run(tmp_path / "fresh", unbroken.checkout), unbroken)
