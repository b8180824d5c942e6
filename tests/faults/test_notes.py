"""What Snakemake decides by: its folder ``.snakemake`` and the times of files. Both lost or wrong."""

from __future__ import annotations

import copy
import os
import shutil
import time

import pytest
from faulty import DRAWS, STUDY, same, snapshots, wait_for
from harness import Run, hashes, kill_tree

pytestmark = pytest.mark.fault
DAY = 86400.0


def _inodes(run: Run) -> dict[str, int]:
    return {path: shard.inode for path, shard in run.shards().items()}


def _shift(run: Run, seconds: float, pattern: str = "results/**/*") -> None:
    for path in run.folder.glob(pattern):
        if path.exists():
            told = path.stat()
            os.utime(path, (told.st_atime + seconds, told.st_mtime + seconds))


def test_without_snakemakes_folder_nothing_is_drawn_again(unbroken: Run, run: Run) -> None:
    shards = _inodes(run)
    shutil.rmtree(run.folder / ".snakemake")
    assert run.planned() == {}
    run.make("--forceall")  # in doubt: everything but the draws is made again
    assert _inodes(run) == shards
    same(run, unbroken)


@pytest.mark.parametrize("when", ["sampling", "collecting", "analysing"])
def test_killed_and_without_snakemakes_folder(unbroken: Run, fresh: Run, when: str) -> None:
    """What is half made has another name, so that it is not taken for whole."""
    results = fresh.folder / "results"
    moments = {
        "sampling": lambda: len(snapshots(fresh)) > 5,
        "collecting": lambda: list(results.glob("train/.*.tmp")),
        "analysing": lambda: list(results.glob("point/.moments*.tmp")) or (results / "point/moments.zarr").exists(),
    }
    targets = (*DRAWS, "results/point/moments.zarr")
    driver = fresh.start(*targets)
    wait_for(moments[when], driver)
    kill_tree(driver)
    shutil.rmtree(fresh.folder / ".snakemake")
    fresh.make(*targets)
    same(fresh, unbroken, *targets)


def test_a_clock_that_was_ahead_hides_no_change(unbroken: Run, run: Run) -> None:
    """All results are of tomorrow; then the grid grows and a key of the analysis changes."""
    _shift(run, DAY)
    assert run.planned() == {}
    config = copy.deepcopy(STUDY)
    config["studies"]["point"] |= {"grid": {"width": [16, 32, 64], "depth": 4}, "fits": {"beta_max": 0.9}}
    jobs = run.configure(config).planned(*DRAWS, "results/point/fits.zarr")
    assert {"collect_point", "analyse_point"} <= set(jobs) and "collect_train" not in jobs
    run.make(*DRAWS, "results/point/fits.zarr")
    shards = run.shards("point")
    assert len(shards) == 3 and hashes(unbroken.shards("point")).items() <= hashes(shards).items()
    import ntkpipe

    assert sorted(ntkpipe.open(run.folder / "results/point/moments.zarr").width.values) == [16, 32, 64]
    assert run.planned(*DRAWS, "results/point/fits.zarr") == {}


def test_a_clock_set_back_draws_nothing_again(unbroken: Run, run: Run) -> None:
    """Shards of tomorrow, datasets of today: collected again, to the same values, and then at rest."""
    shards = _inodes(run)
    _shift(run, DAY, "results/*/shards/*")
    run.make(*DRAWS)
    assert _inodes(run) == shards
    same(run, unbroken, *DRAWS, no_more=False)


def test_a_clock_set_back_while_it_runs(unbroken: Run, fresh: Run) -> None:
    """What was made before the clock was set back is of the future for the rest of the run."""
    driver = fresh.start(*DRAWS)
    wait_for(lambda: fresh.shards("point"), driver)
    kill_tree(driver)
    _shift(fresh, 3600.0)
    assert fresh.snakemake("--unlock").returncode == 0
    fresh.make(*DRAWS)
    same(fresh, unbroken, *DRAWS, no_more=False)
    ahead = [path for path in fresh.shards() if (fresh.folder / path).stat().st_mtime > time.time() + 60]
    assert len(ahead) < len(fresh.shards())
