"""What is said of a draw that failed names the cell; what is no such failure passes as it is."""

import errno
from pathlib import Path

import pytest

from ntkpipe import failures
from ntkpipe.errors import UserError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FloatingPointError("K is 0 in all draws"), "K is 0 in all draws"),
        (MemoryError(), "out of memory (MemoryError)"),
        (MemoryError("Unable to allocate 2 TiB"), "out of memory (Unable to allocate 2 TiB)"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 5 bytes."), "Out of memory allocating 5 bytes."),
    ],
)
def test_a_failed_draw_names_its_cell(make_study, error, said):
    study = make_study(grid={"width": [16, 32], "depth": 3})
    with pytest.raises(failures.DrawFailed) as raised, failures.named(study, study.shards[1]):
        raise error
    text = str(raised.value)
    assert text.startswith("studies.s: depth 3, width 32") and said in text and "\n" not in text
    assert ("--cores" in text and "grid" in text) == ("memory" in text)


@pytest.mark.parametrize("error", [RuntimeError("INTERNAL: something else"), ValueError("no"), UserError("mine")])
def test_other_errors_pass(make_study, error):
    study = make_study()
    with pytest.raises(type(error)) as raised, failures.named(study, study.shards[0]):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("code", "mend"), [(errno.ENOSPC, "make room"), (errno.EROFS, "writable"), (errno.EACCES, "writable")]
)
def test_errors_of_the_disk_name_file_and_mend(code, mend):
    told = failures.of_disk(OSError(code, "why", "some/file"))
    assert str(told).startswith("some/file: why; ") and mend in str(told) and "run snakemake again" in str(told)


def test_other_errors_of_the_system_are_none_of_the_disk():
    assert failures.of_disk(FileNotFoundError(errno.ENOENT, "why", "some/file")) is None


def test_killed_jobs_are_told_by_cell(make_plan, tmp_path):
    plan = make_plan(results=tmp_path, grid={"width": [16, 32], "depth": 3})
    assert failures.killed(plan) == []
    shard = Path(plan.studies["s"].shards[0].path)
    shard.parent.mkdir(parents=True)
    (shard.parent / f".{shard.name}.lock").touch()  # of a writer that does not live
    (shard.parent / ".gone-from-the-grid.zarr.zip.lock").touch()
    (line,) = failures.killed(plan)
    assert line.startswith("studies.s: depth 3, width 16") and "was killed" in line and "--cores" in line
