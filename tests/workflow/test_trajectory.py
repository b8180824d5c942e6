"""A training study as its users run it: whole, and killed in the middle of a shard."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import xarray as xr
from harness import Run, hashes

import ntkpipe

pytestmark = pytest.mark.workflow

STUDY = {
    "studies": {
        "train": {
            "kind": "trajectory",
            "grid": {"width": 8, "depth": 2, "activation": "tanh"},
            "seeds": 3,
            "data": {"train": 4, "eval": 3, "frequencies": 1},
            "train": {"steps": 240, "snapshots": 121, "spacing": "linear"},
        }
    }
}
"""One shard of a few seconds, in 121 snapshots."""
TARGET = "results/train/trajectories.zarr"


def _sampler(driver: subprocess.Popen) -> psutil.Process:
    """The process that trains: the only Python under the driver that runs the command ``sample``."""
    for process in psutil.Process(driver.pid).children(recursive=True):
        words = process.cmdline()
        if words[1:4] == ["-m", "ntkpipe", "sample"]:
            return process
    raise AssertionError("nothing trains")


def _snapshots(run: Run) -> list[Path]:
    return list(run.folder.glob("results/train/shards/.*.part/0/row*.part"))


def _times(run: Run) -> set[tuple[str, int]]:
    """Names of the snapshots' files and when they were written."""
    found = set()
    for file in _snapshots(run):
        with contextlib.suppress(FileNotFoundError):  # they go with their folder, once the shard is written
            found.add((file.name, file.stat().st_mtime_ns))
    return found


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    run = Run(tmp_path / "killed").configure(STUDY)
    with open(tmp_path / "killed.txt", "w") as said:
        driver = subprocess.Popen(
            run.command(TARGET, cores=1), cwd=run.folder, env=run.environment, stdout=said, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 120
        while len(_snapshots(run)) < 20:
            assert driver.poll() is None, (tmp_path / "killed.txt").read_text()
            assert time.monotonic() < deadline, "no snapshots in time"
            time.sleep(0.01)
        _sampler(driver).send_signal(signal.SIGKILL)
        assert driver.wait(timeout=60) != 0
    kept = _times(run)
    assert 20 <= len(kept) < 121 and not run.shards(), "the kill came too late to test anything"

    resumed = subprocess.Popen(
        run.command(TARGET, cores=1), cwd=run.folder, env=run.environment, stdout=subprocess.PIPE, text=True
    )
    seen: set[tuple[str, int]] = set()
    while resumed.poll() is None:
        seen |= _times(run)
        time.sleep(0.05)
    assert resumed.returncode == 0, resumed.communicate()[0]
    newest = max(kept, key=lambda written: written[1])[0]  # its state may be missing: then it is taken again
    old = {name for name, _ in kept} - {newest}
    assert {(name, when) for name, when in seen if name in old} == {(name, when) for name, when in kept if name in old}
    assert len(seen) > len(kept)
    assert not list(run.folder.glob("results/train/shards/.*")), "a killed job's leavings stay"

    assert run.planned(TARGET) == {}

    unbroken = Run(tmp_path / "unbroken").configure(STUDY)
    unbroken.make(*run.shards(), cores=1)
    assert hashes(run.shards()) == hashes(unbroken.shards()) and len(run.shards()) == 1
    trajectories = ntkpipe.open(run.folder / TARGET)
    assert trajectories.sizes["snapshot"] == 121 and bool((trajectories.status == 0).all())
    assert set(xr.open_zarr(run.folder / TARGET).variables) == set(trajectories.variables)


def test_a_training_study_runs_from_end_to_end(tmp_path: Path) -> None:
    """To the report: every table and figure that the kind names."""
    config = {"studies": {"train": STUDY["studies"]["train"] | {"train": {"steps": 20, "snapshots": 6}}}}
    config["studies"]["train"]["grid"] = {"width": 8, "depth": [0, 2], "eta": [0.25, 3.0]}
    run = Run(tmp_path / "whole").configure(config)
    run.make()
    results = run.folder / "results"
    assert {path.name for path in (results / "train").glob("*.zarr")} == {
        f"{name}.zarr" for name in ("trajectories", "perturbation", "regimes", "fits", "rkhs", "norms")
    }
    page = (results / "report/index.html").read_text()
    for name in ("perturbation", "regimes", "fits", "norms"):
        assert (results / f"train/tables/{name}.csv").is_file() and f"results/train/tables/{name}.csv" in page
    assert run.planned() == {}
