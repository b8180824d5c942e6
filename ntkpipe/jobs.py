"""What a sampling job does: its shards, one by one, each drawn unless it is there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ntkpipe import failures, kinds, progress, remote, shards, writers
from ntkpipe.plan import Plan


def run(plan: Plan, paths: Iterable[str]) -> None:
    """Draw the shards of these paths; one that is whole, here or in the bucket, is kept.

    Those on which a job was killed come last: if it was for want of memory, the others are drawn first.

    Raises
    ------
    DrawFailed: some could not be drawn; once all others are.
    UserError: a path that is not planned, a bucket that does not answer.
    """
    bucket = remote.of(plan.config)
    folders = [Path(study.folder, "shards") for study in plan.studies.values()]
    killed = {folder / name for folder in folders for name in writers.killed(folder)}
    failed = []
    for path in sorted(paths, key=lambda path: Path(path) in killed):
        try:
            _make(plan, bucket, path)
        except failures.DrawFailed as error:
            failed.append(str(error))
    if failed:
        raise failures.DrawFailed("\n".join(failed))


def _make(plan: Plan, bucket: Any, path: str) -> None:
    study, shard = plan.shard(path)
    attrs = shards.attrs_of(study, shard)
    with shards.scratch(path, attrs) as folder:  # kept where the job is killed, so that it goes on
        if shards.is_valid(path, attrs):
            os.utime(path)
            if bucket:
                bucket.push(path)
            return
        if bucket and (notes := bucket.pull(path, lambda file: shards.is_valid(file, attrs))) is not None:
            progress.note_seconds(study, shard, float(notes.get("seconds", 0)))
            return
        start = time.perf_counter()
        resumes = (folder,) if kinds.of(study).resumes else ()
        with failures.named(study, shard):
            arrays = kinds.load(study, "draw").draw(study, shard, *resumes)
            shards.write(path, arrays, attrs)
    seconds = time.perf_counter() - start
    if bucket:
        bucket.put(path, seconds=f"{seconds:.3f}")
    progress.note_seconds(study, shard, seconds)
