"""What is said of a draw that failed: which cell it was, and what to change."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ntkpipe import writers
from ntkpipe.errors import UserError
from ntkpipe.plan import Plan, Shard, Study

_MEMORY = (
    "give jobs more memory: fewer at a time (--cores, or --resources mem_mb=...), on a cluster more per job; or take "
    "the cell out of the grid. With execution.memory_gib the plan refuses a cell that is too large"
)
_DISK = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "lift the limit on the size of files",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make it writable for this user",
}


class DrawFailed(UserError):
    """A shard could not be drawn: names its cell."""


@contextmanager
def named(study: Study, shard: Shard) -> Iterator[None]:
    """Within, what a draw raises for want of range or memory names the cell.

    Raises
    ------
    DrawFailed: in place of FloatingPointError, MemoryError and XLA's RESOURCE_EXHAUSTED.
    """
    cell = f"studies.{study.name}: {shard.cell.said}"
    try:
        yield
    except FloatingPointError as error:
        raise DrawFailed(f"{cell}: {error}") from None
    except (MemoryError, RuntimeError) as error:
        said = " ".join(str(error).split())
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in said:
            raise
        raise DrawFailed(f"{cell}: out of memory ({said or 'MemoryError'}); {_MEMORY}") from None


def of_disk(error: OSError) -> UserError | None:
    """An error that names the file and the mend, where the disk is full or may not be written."""
    if error.errno not in _DISK:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return UserError(f"{where}{error.strerror}; {_DISK[error.errno]} and run snakemake again: what is done is kept")


def killed(plan: Plan) -> list[str]:
    """A line for each shard whose job was killed while it drew: the cell, and what to change."""
    lines = []
    for study in plan.studies.values():
        names = writers.killed(Path(study.folder) / "shards")
        lines += [
            f"studies.{study.name}: {shard.cell.said}: the job was killed while it drew draws {shard.start} to "
            f"{shard.stop}. If for want of memory: {_MEMORY}. Run snakemake again: what is done is kept"
            for shard in study.shards
            if Path(shard.path).name in names
        ]
    return lines
