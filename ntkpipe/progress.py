"""How far a run is, read off the shards that exist: works locally, on a cluster, after a kill."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from ntkpipe.plan import Plan, Shard, Study, duration

_RECENT = 120.0


def note_seconds(study: Study, shard: Shard, seconds: float) -> None:
    """Append to ``<study>/logs/seconds.tsv`` what a shard cost, and when it was made (Unix time).

    One short write, safe among parallel jobs.
    """
    file = Path(study.folder) / "logs" / "seconds.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as log:
        log.write(f"{Path(shard.path).name}\t{seconds:.3f}\t{time.time():.3f}\n")


def seconds_spent(study: Study) -> float:
    """Core-seconds of the shards that the study has now, whichever runs made them."""
    noted = _noted(study)
    return sum(noted.get(Path(shard.path).name, (0.0, 0.0))[0] for shard in study.shards)


def _noted(study: Study) -> dict[str, tuple[float, float]]:
    """Name of a shard -> (seconds, Unix time) of its last making; the time 0 in logs of older versions."""
    file = Path(study.folder) / "logs" / "seconds.tsv"
    if not file.is_file():
        return {}
    noted: dict[str, tuple[float, float]] = {}
    for line in file.read_text(errors="replace").splitlines():
        name, *numbers = line.split("\t")
        with suppress(ValueError):  # a damaged line is no reason to stop
            seconds, made = map(float, [*numbers, 0][:2])
            noted[name] = seconds, made
    return noted


def line(plan: Plan) -> str:
    """One line: shards and draws done, draws per second over the last two minutes, time left.

    The speed is that of the shards made in these minutes, since the first of them began. Their files cannot tell: one
    that a resumed run found and kept is as new as any.
    """
    now, done, total = time.time(), 0, 0
    n_done = n_shards = draws_done = draws = 0
    recent_seconds, recent_draws, oldest = 0.0, 0, now
    for study in plan.studies.values():
        noted = _noted(study)
        for shard in study.shards:
            size = shard.stop - shard.start
            n_shards, draws, total = n_shards + 1, draws + size, total + shard.seconds
            if not os.path.exists(shard.path):
                continue
            seconds, made = noted.get(Path(shard.path).name, (0.0, 0.0))
            n_done, draws_done, done = n_done + 1, draws_done + size, done + shard.seconds
            if now - made < _RECENT:
                recent_draws, recent_seconds, oldest = (
                    recent_draws + size,
                    recent_seconds + shard.seconds,
                    min(oldest, made - seconds),
                )
    elapsed = max(now - oldest, 1.0)
    speed = recent_seconds / elapsed  # planned core-seconds done per second
    left = f"about {duration((total - done) / speed)} left" if speed > 0 and n_done < n_shards else ""
    rate = f"{recent_draws / elapsed:.3g} draws/s" if recent_draws else ""
    parts = [f"shards {n_done}/{n_shards}", f"draws {draws_done:.3g}/{draws:.3g}", rate, left]
    return "sampling: " + ", ".join(part for part in parts if part)
