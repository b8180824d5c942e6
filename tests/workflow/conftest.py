"""One finished run for all tests of a session, whichever worker comes first."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from harness import TINY, Run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the tiny config. Look, do not touch: tests that change it take ``run``."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    run, output = Run(shared / "finished"), shared / "finished.txt"
    with open(shared / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            done = run.configure(TINY).snakemake()
            output.write_text(f"{done.returncode}\n{done.stdout}")
    code, said = output.read_text().split("\n", 1)
    assert code == "0", said
    return run


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy of the finished run, to be broken."""
    return finished.copy(tmp_path / "run")


@pytest.fixture
def fresh(tmp_path: Path) -> Run:
    """An empty folder."""
    return Run(tmp_path / "fresh")
