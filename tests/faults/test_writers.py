"""Two writers of one shard, as after ``kill -9`` of Snakemake, unlock and rerun: real processes, one set of bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty import STUDY, snapshots, wait_for
from harness import Run, hashes

pytestmark = pytest.mark.fault
NO_LOCKS = """
import errno, fcntl
def flock(*_):
    raise OSError(errno.ENOLCK, "no locks available")
fcntl.flock = flock
"""


def _shard(unbroken: Run) -> str:
    return sorted(unbroken.shards("train"))[0]


def _sampler(run: Run, shard: str, *first: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join(map(str, (*first, run.checkout)))
    return subprocess.Popen(
        [sys.executable, "-m", "ntkpipe", "sample", "--config", "tiny.yaml", shard],
        cwd=run.folder,
        env=run.environment | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def lockless(tmp_path: Path) -> Path:
    """To be put on the path of a process: flock fails, as on a file system without locks."""
    folder = tmp_path / "lockless"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_LOCKS)
    return folder


def _waits(first: subprocess.Popen[str], second: Callable[[], subprocess.Popen[str]]) -> list[str]:
    """What both say: the first, which writes, is stopped until the second has said that it waits."""
    first.send_signal(signal.SIGSTOP)
    later = second()
    said = ""
    try:
        while "waiting" not in said:
            line = later.stdout.readline()
            assert line, said  # it ended instead
            said += line
    finally:
        first.send_signal(signal.SIGCONT)
    ends = first.communicate(timeout=240)[0], said + later.communicate(timeout=240)[0]
    assert first.returncode == later.returncode == 0, ends
    return list(ends)


def _alone_with(run: Run, unbroken: Run, shard: str) -> None:
    assert hashes(run.shards())[shard] == hashes(unbroken.shards())[shard]
    assert [file.name for file in (run.folder / shard).parent.iterdir()] == [Path(shard).name]


def test_the_second_writer_waits_and_keeps_what_the_first_made(unbroken: Run, fresh: Run) -> None:
    shard = _shard(unbroken)
    first = _sampler(fresh, shard)
    wait_for(lambda: snapshots(fresh), first)
    said = _waits(first, lambda: _sampler(fresh, shard))
    assert "waiting" not in said[0]
    assert len((fresh.folder / "results/train/logs/seconds.tsv").read_text().splitlines()) == 1  # drawn once
    _alone_with(fresh, unbroken, shard)


def test_the_second_writer_goes_on_where_the_first_was_killed(unbroken: Run, fresh: Run) -> None:
    shard = _shard(unbroken)
    first = _sampler(fresh, shard)
    wait_for(lambda: len(snapshots(fresh)) > 10, first)
    second = _sampler(fresh, shard)
    first.kill()
    first.wait()
    kept = {file: file.stat().st_mtime_ns for file in sorted(snapshots(fresh), key=lambda f: f.stat().st_mtime_ns)[:-1]}
    while second.poll() is None:
        for file, written in kept.items():
            try:
                assert file.stat().st_mtime_ns == written
            except FileNotFoundError:  # the shard is written
                break
    assert second.returncode == 0, second.communicate()[0]
    _alone_with(fresh, unbroken, shard)


def test_a_writer_of_other_code_does_not_mix(unbroken: Run, fresh: Run, tmp_path: Path) -> None:
    """An orphan with another config draws the same file; the later writer waits, then draws over it."""
    shard = _shard(unbroken)
    other = Run(fresh.folder, fresh.checkout)
    changed = STUDY | {"studies": {**STUDY["studies"], "train": STUDY["studies"]["train"] | {"seed": 5}}}
    import yaml

    (fresh.folder / "other.yaml").write_text(yaml.safe_dump(changed))
    first = subprocess.Popen(
        [sys.executable, "-m", "ntkpipe", "sample", "--config", "other.yaml", shard],
        cwd=other.folder,
        env=other.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: snapshots(fresh), first)
    _waits(first, lambda: _sampler(fresh, shard))
    _alone_with(fresh, unbroken, shard)


def test_without_locks_no_writer_works_in_anothers_folder(unbroken: Run, fresh: Run, lockless: Path) -> None:
    """The second takes over what is there; the first may stop for that, but the shard is right."""
    shard = _shard(unbroken)
    first = _sampler(fresh, shard, lockless)
    wait_for(lambda: len(snapshots(fresh)) > 3, first)
    second = _sampler(fresh, shard, lockless)
    said = [process.communicate(timeout=240)[0] for process in (first, second)]
    assert second.returncode == 0, said
    assert hashes(fresh.shards())[shard] == hashes(unbroken.shards())[shard]


def test_without_locks_a_killed_writer_is_gone_on_from(unbroken: Run, fresh: Run, lockless: Path) -> None:
    shard = _shard(unbroken)
    first = _sampler(fresh, shard, lockless)
    wait_for(lambda: len(snapshots(fresh)) > 10, first)
    first.kill()
    first.wait()
    old = {(file.name, file.stat().st_ino) for file in snapshots(fresh)}
    second = _sampler(fresh, shard, lockless)
    wait_for(lambda: len(snapshots(fresh)) > len(old), second)
    now = {(file.name, file.stat().st_ino) for file in snapshots(fresh)}
    assert len(old & now) >= len(old) - 1  # the newest is taken again where its state is missing
    assert second.wait(timeout=240) == 0, second.communicate()[0]
    _alone_with(fresh, unbroken, shard)
