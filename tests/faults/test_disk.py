"""A disk that is full, at every stage; results that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import STUDY, same, warm
from harness import Run

import ntkpipe

pytestmark = pytest.mark.fault


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A function that mounts (arguments of ``mount``, the folder last); all is unmounted in the end."""
    mounted: list[str] = []

    def mount(*arguments: str | Path) -> None:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"mounting needs root and a kernel that allows it: {done.stderr.strip()}")
        mounted.append(str(arguments[-1]))

    yield mount
    for folder in dict.fromkeys(reversed(mounted)):
        while os.path.ismount(folder) and subprocess.run(["umount", folder]).returncode == 0:
            pass


def _kib(folder: Path) -> int:
    return int(subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True).stdout.split()[0])


def _told(said: str) -> None:
    assert "No space left on device; make room" in said and "Traceback" not in said, said


def test_a_full_disk_is_said_and_with_more_room_the_run_goes_on(
    unbroken: Run, tmp_path: Path, mount: Callable[..., None]
) -> None:
    """Results on a tmpfs that leaves each step a page, then room enough; drawing of two kinds, and what follows it."""
    point, train = (sorted(unbroken.shards(study)) for study in ("point", "train"))
    stages = [
        (("sample", "--config", "tiny.yaml", *point), point),
        (("sample", "--config", "tiny.yaml", *train), train),
        (("collect", "--config", "tiny.yaml", "train"), ["results/train/trajectories.zarr"]),
        (("analyse", "--config", "tiny.yaml", "train"), ["results/train/regimes.zarr"]),
        (("figures", "--config", "tiny.yaml", "train"), ["results/train/tables/regimes.csv"]),
    ]
    run = Run(tmp_path / "small", unbroken.checkout)
    (run.folder / "results").mkdir(parents=True)
    room, results = 4 * _kib(unbroken.folder), run.folder / "results"
    mount("-t", "tmpfs", "-o", f"size={room}k", "tmpfs", results)
    warm(run, unbroken)
    for step, targets in stages:
        mount("-o", f"remount,size={_kib(results) + 4}k", results)
        done = run.ntkpipe(*step)
        assert done.returncode == 2, done.stdout
        _told(done.stdout)
        mount("-o", f"remount,size={room}k", results)
        run.make(*targets)
    mount("-o", f"remount,size={_kib(results) + 512}k", results)  # logs have room, figures of the other study have not
    _told(run.fail())
    mount("-o", f"remount,size={room}k", results)
    run.make()
    same(run, unbroken)


def test_a_run_that_needs_more_than_is_free_is_refused_at_its_start(fresh: Run, mount: Callable[..., None]) -> None:
    """Before it draws anything."""
    there = fresh.folder / "there"
    there.mkdir()
    large = {"point": STUDY["studies"]["point"] | {"seeds": 2**19}}  # about 17 MB of draws, and as much in the dataset
    mount("-t", "tmpfs", "-o", "size=12m", "tmpfs", there)
    said = fresh.configure(STUDY | {"results": "there/results", "studies": large}).fail()
    assert "studies.point.seeds: must be a number whose draws fit on the disk" in said and "Traceback" not in said
    assert not list(there.rglob("*.zip"))


def test_read_only_results_are_read_and_said(unbroken: Run, run: Run, mount: Callable[..., None]) -> None:
    results = run.folder / "results"
    shutil.rmtree(results / "point/moments.zarr")
    if os.geteuid() == 0:
        mount("--bind", results, results)
        mount("-o", "remount,ro,bind", results)
    else:
        for folder in (results, *(path for path in results.rglob("*") if path.is_dir())):
            folder.chmod(0o555)
    assert run.ntkpipe("verify", "results/point/sums.zarr").returncode == 0
    assert ntkpipe.open(results / "train/trajectories.zarr").sizes["seed"] == 3
    said = run.fail()
    assert "Traceback" not in said
    assert "Read-only file system" in said or "Permission denied" in said or "Write-protected output files" in said
    if os.geteuid() == 0:
        subprocess.run(["umount", results], check=True)
    else:
        for folder in (results, *(path for path in results.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
    run.make()
    same(run, unbroken)


def test_results_that_were_never_writable_are_one_error(unbroken: Run, fresh: Run, mount: Callable[..., None]) -> None:
    there = fresh.folder / "there"
    there.mkdir()
    mount("-t", "tmpfs", "-o", "ro,size=64m", "tmpfs", there)
    said = fresh.configure(STUDY | {"results": "there/results"}).fail()
    assert "Read-only file system" in said and "Traceback" not in said
