"""One writer at a time, by real processes; what killed ones left is cleared away."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ntkpipe
from ntkpipe import writers

_MANY = """
import os, sys, time
from pathlib import Path
from ntkpipe.writers import alone
target = Path(sys.argv[1])
for turn in range(40):
    with alone(target) as sure:
        assert sure
        inside = os.open(target.with_name("inside"), os.O_CREAT | os.O_EXCL)  # fails where another is within
        time.sleep(0.001 * (turn % 3))
        os.close(inside)
        os.unlink(target.with_name("inside"))
        target.write_text(str(int(target.read_text()) + 1))
"""
_HOLD = """
import sys, time
from pathlib import Path
from ntkpipe.writers import alone
with alone(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def _start(code: str, target: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(ntkpipe.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, target], env=environment, stdout=subprocess.PIPE, text=True)


def test_many_processes_take_turns(tmp_path):
    """The lock file is removed and made anew all the time: nobody holds one that others do not see."""
    target = tmp_path / "counter.zarr"
    target.write_text("0")
    processes = [_start(_MANY, target) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert target.read_text() == "160"
    assert os.listdir(tmp_path) == [target.name]


@pytest.fixture
def holder(tmp_path):
    """A process that is writing ``a.zarr``."""
    process = _start(_HOLD, tmp_path / "a.zarr")
    assert process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.wait()


def test_a_killed_writer_holds_nobody_up_and_is_told(tmp_path, holder):
    assert writers.killed(tmp_path) == []  # it lives
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert writers.killed(tmp_path) == ["a.zarr"]
    start = time.monotonic()
    with writers.alone(tmp_path / "a.zarr") as sure:
        assert sure and writers.killed(tmp_path) == []
    assert time.monotonic() - start < 5
    assert os.listdir(tmp_path) == [] and writers.killed(tmp_path) == []


def test_others_write_other_files_meanwhile(tmp_path, holder):
    with writers.alone(tmp_path / "b.zarr") as sure:
        assert sure


def test_leavings_of_this_target_alone_are_cleared_away(tmp_path):
    (tmp_path / ".a[1].zarr.0f.tmp").mkdir()
    (tmp_path / ".a[1].zarr.0f.tmp/chunk").touch()
    (tmp_path / ".a[1].zarr.sha256.1f.tmp").touch()
    kept = {".a1.zarr.2f.tmp", ".b.zarr.3f.tmp", ".a[1].zarr.4f.part"}
    for name in kept:
        (tmp_path / name).touch()
    with writers.alone(tmp_path / "a[1].zarr"):
        pass
    assert set(os.listdir(tmp_path)) == kept


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".a.zarr.0f.tmp").touch()  # may be a living writer's
    with writers.alone(tmp_path / "a.zarr") as sure:
        assert not sure
    assert os.listdir(tmp_path) == [".a.zarr.0f.tmp"]


def test_an_error_within_lets_the_next_one_in(tmp_path):
    with pytest.raises(RuntimeError, match="mine"), writers.alone(tmp_path / "a.zarr"):
        raise RuntimeError("mine")
    assert os.listdir(tmp_path) == []
    with writers.alone(tmp_path / "a.zarr") as sure:
        assert sure
