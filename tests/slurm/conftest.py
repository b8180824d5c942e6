"""One Slurm and one unbroken local run for all tests of a session; helpers from tests/workflow and tests/faults."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from cluster import NoSlurm, OnSlurm, Slurm
from faulty import DRAWS, STUDY, checkout, warm
from harness import Run


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm of one node; tests are skipped where it cannot be had, with what is missing."""
    started = Slurm()
    try:
        yield started.start()
    except NoSlurm as error:
        if os.environ.get("NTKPIPE_SLURM") == "required":  # as `make slurm` says where it has installed Slurm
            raise
        pytest.skip(f"no Slurm here: {error}")
    finally:
        started.stop()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A local run up to the datasets of what is drawn. Look, do not touch."""
    base = tmp_path_factory.getbasetemp()
    run = Run(base / "drawn", checkout(base / "checkout"))
    run.configure(STUDY).make(*DRAWS)
    return run


@pytest.fixture(scope="session")
def unbroken(drawn: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A local run to the report. Look, do not touch."""
    run = drawn.copy(tmp_path_factory.getbasetemp() / "unbroken")
    run.make()
    return run


@pytest.fixture
def fresh(slurm: Slurm, drawn: Run, tmp_path: Path) -> OnSlurm:
    """Nothing drawn yet; what runs in it goes through Slurm."""
    run = OnSlurm(tmp_path / "fresh", drawn.checkout, slurm)
    return warm(run, drawn)
