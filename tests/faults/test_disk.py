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


def test_a_full_disk_is_said_and_with_more_room_the_run_goes_on(
    unbroken: Run, tmp_path: Path, mount: Callable[..., None]
) -> None:
    """Results and Snakemake's notes on a tmpfs, too small at first, enlarged after each failure."""
    whole, programs = _kib(unbroken.folder), _kib(unbroken.folder / "results/.jax_cache")
    run = Run(tmp_path / "small", unbroken.checkout)
    run.folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={programs + 64}k", "tmpfs", run.folder)
    warm(run, unbroken)
    failures = 0
    for share in (0.02, 0.1, 0.25, 0.4, 0.55):
        mount("-o", f"remount,size={programs + 64 + int(share * (whole - programs))}k", run.folder)
        done = run.snakemake()
        if done.returncode == 0:  # logs of several runs are in the unbroken folder: it is larger than need be
            break
        assert "No space left on device" in done.stdout or "fit on the disk" in done.stdout, done.stdout
        failures += 1
    assert failures >= 3
    mount("-o", f"remount,size={4 * whole}k", run.folder)
    run.make()
    same(run, unbroken)


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
    assert "Read-only file system" in said
