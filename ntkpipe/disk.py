"""Whether what a run has still to write fits on its disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ntkpipe import layout
from ntkpipe.errors import ConfigError
from ntkpipe.plan import Plan, Study


def bytes_to_come(study: Study) -> float:
    """Of the study's expected bytes those not yet written; datasets are made anew where a shard is missing."""
    shards = Path(study.folder) / "shards"
    there = set(os.listdir(shards)) if shards.is_dir() else set()
    draws = sum(shard.stop - shard.start for shard in study.shards)
    missing = sum(shard.stop - shard.start for shard in study.shards if Path(shard.path).name not in there)
    collected = not missing and all(Path(path).exists() for path in layout.collected(study))
    return study.disk_bytes / 2 * (missing / draws + (not collected)) if draws else 0.0


def check(plan: Plan, source: str = "config") -> None:
    """Refuse a plan of which more is to be written than its disk has room for.

    Raises
    ------
    ConfigError: names the study that needs most, of all that are on that disk.
    """
    disks: dict[int, dict[str, float]] = {}
    for study in plan.studies.values():
        disks.setdefault(os.stat(_there(study)).st_dev, {})[study.name] = bytes_to_come(study)
    for needs in disks.values():
        name = max(needs, key=needs.__getitem__)
        study, need = plan.studies[name], sum(needs.values())
        free = shutil.disk_usage(_there(study)).free
        if need > free:
            of = f" of about {need / 2**30:.3g} GiB in {len(needs)} studies" if len(needs) > 1 else ""
            raise ConfigError(
                f"{source}: studies.{name}.seeds",
                f"a number whose draws fit on the disk ({free / 2**30:.3g} GiB free; keep: moments stores sums only)",
                f"{study.config.seeds}, about {needs[name] / 2**30:.3g} GiB{of} still to write",
            )


def _there(study: Study) -> Path:
    """The study's folder, or the nearest above it that is there."""
    folder = Path(study.folder).absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.exists())
