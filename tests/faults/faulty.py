"""The study that the fault tests break, how they break it, and what "nothing lost, nothing wrong" means."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import xarray as xr
from harness import REPO, Run, hashes

from ntkpipe import store

SNAPSHOTS = 31
STUDY: dict[str, Any] = {
    "title": "Faults",
    "studies": {
        "point": {"kind": "initialization", "grid": {"width": [16, 32], "depth": 4}, "seeds": 2048},
        "train": {
            "kind": "trajectory",
            "grid": {"width": 8, "depth": [1, 2], "activation": "tanh"},
            "seeds": 3,
            "data": {"train": 4, "eval": 3, "frequencies": 1},
            "train": {"steps": 120, "snapshots": SNAPSHOTS, "spacing": "linear"},
        },
    },
    "execution": {"job_seconds": 1.0},
}
"""Four shards in three jobs, two of them with checkpoints; about a minute of one core, most of it figures."""
DRAWS = ("results/point/sums.zarr", "results/train/trajectories.zarr")
"""Targets that need no figures: a third of the time."""
TIME = re.compile(r"[\d.e-]+ (core-seconds|core-hours|s|min|h)\b")


def checkout(to: Path) -> Path:
    """A copy of what a run reads of the repository: an edit beside a running suite would redraw everything."""
    for folder in ("ntkpipe", "workflow", "profiles"):
        shutil.copytree(REPO / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Snakefile", "environment.yml"):
        shutil.copy(REPO / file, to)
    return to


def same(run: Run, unbroken: Run, *targets: str, no_more: bool = True) -> None:
    """The run has what the unbroken one has, of these targets or all; verified, nothing left over, nothing to do.

    Equal bytes of shards, tables and figures, equal values of datasets, the same report but for times.
    """
    ours, theirs = run.folder / "results", unbroken.folder / "results"
    expected = hashes(unbroken.shards())
    found = hashes(run.shards())
    assert found == ({path: expected[path] for path in found} if targets else expected)
    for path in targets or sorted(str(file.relative_to(theirs.parent)) for file in theirs.glob("*/*.zarr")):
        one, other = (store.open_dataset(base.folder / path, unstack=False).load() for base in (run, unbroken))
        xr.testing.assert_equal(one, other)
    if not targets:
        files = [*theirs.glob("*/tables/*"), *theirs.glob("*/figures/*.png"), *theirs.glob("*/figures/*.svg")]
        assert files
        for file in files:
            assert (ours / file.relative_to(theirs)).read_bytes() == file.read_bytes(), file
        for page in ("index.html", "verification.html"):
            one, other = (TIME.sub("", (folder / "report" / page).read_text()) for folder in (ours, theirs))
            assert one == other, page
    if no_more:
        assert run.planned(*targets) == {}
    kept = {".jax_cache", ".snakemake_timestamp"}
    left = [p for p in ours.rglob(".*") if p.name not in kept and ".jax_cache" not in p.parts]
    assert not left, f"leavings stay: {left}"
    checked = run.ntkpipe("verify", *(targets or ("results",)))
    assert checked.returncode == 0, checked.stdout


def snapshots(run: Run) -> list[Path]:
    """Checkpoints of the shards that are being drawn."""
    return list(run.folder.glob("results/train/shards/.*.part/0/row*.part"))


def wait_for(done: Callable[[], Any], driver: subprocess.Popen | None = None, seconds: float = 240) -> None:
    """Until ``done``; not for ever, nor beyond the end of the driver."""
    deadline = time.monotonic() + seconds
    while not done():
        assert driver is None or driver.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def steps(run: Run) -> list[psutil.Process]:
    """``python -m ntkpipe STEP`` processes that work in the folder, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(run.folder.resolve()) and process.cmdline()[1:3] == ["-m", "ntkpipe"]:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def warm(run: Run, unbroken: Run) -> Run:
    """An empty run with the compiled programs of the unbroken one: it starts some seconds sooner."""
    run.configure(STUDY)
    shutil.copytree(unbroken.folder / "results/.jax_cache", run.folder / "results/.jax_cache")
    return run
