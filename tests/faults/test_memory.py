"""A cell that does not fit in memory: the others finish, the failure names the cell and what to change."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil
import pytest
from faulty import DRAWS, same, snapshots, steps, wait_for
from harness import Run

pytestmark = pytest.mark.fault
LIMIT = 4 * 10**9
WIDE = {
    "studies": {
        "point": {"kind": "initialization", "grid": {"width": [16, 32], "depth": 4}, "seeds": 2048},
        "wide": {
            "kind": "initialization",
            "grid": {"width": [8, 12000, 16], "depth": 2, "engine": "dense"},
            "seeds": 8,
            "keep": "moments",
            "inputs": {"kind": "circle", "points": 2},
        },
    },
    "execution": {"job_seconds": 1000.0},
}
"""Three cells of one job: the one in the middle needs more than :data:`LIMIT`, which plain ones keep within."""
SUMS = ("results/point/sums.zarr", "results/wide/sums.zarr")


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))


def test_a_cell_without_memory_is_named_and_the_others_finish(unbroken: Run, tmp_path: Path) -> None:
    if psutil.virtual_memory().total < 8 * 10**9:
        pytest.skip("the plan refuses the cell on a machine of less than 8 GB")
    run = Run(tmp_path / "limited", unbroken.checkout).configure(WIDE)
    driver = run.start("--keep-going", *SUMS, preexec_fn=_limited)
    assert driver.wait(timeout=300) != 0
    line = next(line for line in run.said.splitlines() if "out of memory" in line)
    assert "studies.wide" in line and "width 12000" in line
    assert "--cores" in line and "mem_mb" in line and "grid" in line and "execution.memory_gib" in line
    assert "Traceback" not in run.said
    drawn = [Path(path).name.split("-")[1] for path in run.shards("wide")]
    assert sorted(drawn) == ["width16", "width8"] and (run.folder / SUMS[0]).is_dir()

    kept = run.shards()
    smaller = {**WIDE["studies"]["wide"], "grid": {"width": [8, 16], "depth": 2, "engine": "dense"}}
    config = WIDE | {"studies": WIDE["studies"] | {"wide": smaller}}  # the cell taken out
    run.configure(config).make(*SUMS)
    assert run.shards() == kept
    whole = Run(tmp_path / "whole", unbroken.checkout).configure(config)
    whole.make(*SUMS)
    same(run, whole, *SUMS)


def test_the_plan_refuses_a_cell_that_is_too_large(unbroken: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "refused", unbroken.checkout).configure(WIDE | {"execution": {"memory_gib": 1}})
    said = run.fail()
    assert "studies.wide.grid" in said and "width 12000" in said and "execution.memory_gib" in said
    assert not (run.folder / "results").exists()


def test_a_job_that_the_kernel_kills_is_named_and_the_others_finish(unbroken: Run, fresh: Run) -> None:
    """kill -9 of the process that draws, as the kernel does for want of memory: it cannot say a word itself."""
    driver = fresh.start("--keep-going", *DRAWS, cores=1)
    wait_for(lambda: len(snapshots(fresh)) > 3, driver)
    for step in steps(fresh):
        step.kill()
    assert driver.wait(timeout=300) != 0
    lines = [line for line in fresh.said.splitlines() if "was killed while it drew" in line]
    assert len(lines) == 1 and "studies.train: depth" in lines[0] and "width 8" in lines[0]
    assert "--cores" in lines[0] and "mem_mb" in lines[0]
    assert (fresh.folder / DRAWS[0]).is_dir() and len(fresh.shards("train")) == 1
    fresh.make(*DRAWS)
    same(fresh, unbroken, *DRAWS)
