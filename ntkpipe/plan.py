"""From a validated config to cells, shards and jobs; the only maker of random streams.

A *cell* is one point of a study's grid. Its draws are cut into *shards* (one file each, whole
quanta of 1024 draws), and shards are packed into *jobs* by the engines' cost model. A shard
depends on its own cell only: extending a grid changes no existing shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe import costs, inputs, kinds
from ntkpipe.cells import Cell, expand
from ntkpipe.config import Config, StudyConfig
from ntkpipe.drawing import block_size
from ntkpipe.errors import ConfigError
from ntkpipe.files import check_folder
from ntkpipe.streams import Stream

SHARD_SECONDS = 30.0
SHARD_BYTES = 64 * 2**20
MOST_SHARDS = 10**6
"""Of a study: each is a file, and costs every Snakemake of a cluster 26 kB (:mod:`ntkpipe.resources`)."""
JOB_OVERHEAD_SECONDS = 0.7
JOB_TEXT = 96 * 2**10
"""Characters of paths that a job's command may hold: Linux takes 128 KiB in one argument."""


@dataclass(frozen=True)
class Shard:
    """Draws start..stop of one cell; one file."""

    study: str
    cell: Cell
    start: int
    stop: int
    path: str

    @property
    def seconds(self) -> float:
        """Expected core-seconds."""
        return self.cell.seconds * (self.stop - self.start) / self.cell.seeds


@dataclass(frozen=True)
class Job:
    """Shards that one process makes."""

    study: str
    number: int
    shards: tuple[Shard, ...]

    @property
    def seconds(self) -> float:
        """Expected core-seconds, start-up included."""
        return JOB_OVERHEAD_SECONDS + sum(shard.seconds for shard in self.shards)

    @property
    def memory_mb(self) -> int:
        """Peak memory to ask of a scheduler."""
        need = max(costs.bytes_needed(s.cell.engine, s.cell.task) + _shard_bytes(s) * 4 for s in self.shards)
        return ceil(need / 2**20)

    @property
    def paths(self) -> list[str]:
        """Files that the job writes."""
        return [shard.path for shard in self.shards]


@dataclass(frozen=True)
class Study:
    """A study as planned: its config, cells, shards, jobs, and what the grid had to leave out."""

    name: str
    config: StudyConfig
    folder: str
    cells: tuple[Cell, ...]
    shards: tuple[Shard, ...]
    jobs: tuple[Job, ...]
    notes: tuple[str, ...]

    @property
    def keeps_draws(self) -> bool:
        """Whether there is a ``samples`` dataset."""
        return self.config.keep != "moments" and bool(self.shards)

    @property
    def is_gram(self) -> bool:
        """Whether whole Gram matrices are drawn."""
        return self.config.inputs.keep == "gram" and self.cells[0].n_inputs > 1

    @property
    def disk_bytes(self) -> float:
        """Expected bytes of all shards, and of the datasets that hold the same numbers again."""
        draws = sum(shard.stop - shard.start for shard in self.shards)
        each = costs.bytes_on_disk(self.config, self.cells[0].n_inputs)
        return 2 * (draws * each + len(self.shards) * costs.SHARD_BYTES_FIXED)

    @property
    def analysis_mb(self) -> int:
        """Peak memory of collecting and of the analysis: two cells at a time, with what is made of them; the plan."""
        two = 6 * self.config.seeds * bytes_per_draw(self.config, self.cells[0].n_inputs) / 2**20
        return 1000 + ceil(two + 0.01 * len(self.cells))

    @property
    def analysis_seconds(self) -> float:
        """Expected seconds of collecting, and of the analysis, whichever is longer."""
        return 20 + 0.1 * len(self.cells) + self.disk_bytes / 2e7

    @property
    def points(self) -> Float[np.ndarray, "k n0"]:
        """The points x on which kernels are evaluated."""
        return inputs.points(self.config.inputs, self.config.seed)

    @property
    def data(self) -> Any:
        """Points and labels of a training study; see :class:`ntkpipe.data.Data`."""
        from ntkpipe import data

        return data.make(self.config.data, self.config.seed)

    def stream(self, cell: Cell) -> Stream:
        """The random stream of a cell: cells that differ in step size or label draw the same networks."""
        return Stream(self.config.seed, cell.network_text)


@dataclass(frozen=True)
class Plan:
    """All studies of a config."""

    config: Config
    studies: dict[str, Study]

    def shard(self, path: str) -> tuple[Study, Shard]:
        """The study and shard of a file.

        Raises
        ------
        ConfigError: no shard of this config has that path.
        """
        if path not in self._by_path:
            raise ConfigError("sample", "given shard paths that belong to the config", path)
        return self._by_path[path]

    @cached_property
    def _by_path(self) -> dict[str, tuple[Study, Shard]]:
        return {shard.path: (study, shard) for study in self.studies.values() for shard in study.shards}


def make(config: Config, source: str = "config") -> Plan:
    """Expand a config into a plan, checking what only the whole can show.

    Raises
    ------
    ConfigError: results that can be no folder, duplicate cells, an engine that cannot do what is asked, a bad
        data file, a memory need beyond the machine, an empty or enormous grid, too many shards.
    """
    check_folder(config.results, f"{source}: results")
    studies = {}
    for name, study in config.studies.items():
        studies[name] = _study(name, study, config, f"{source}: studies.{name}")
    return Plan(config, studies)


def _study(name: str, study: StudyConfig, config: Config, path: str) -> Study:
    cells, notes = expand(name, study, path)
    _check_memory(cells, config, path)
    folder = str(Path(config.results) / name)
    steps = [_step(cell, study) for cell in cells]
    _check_shards(cells, steps, path)
    shards = tuple(
        shard for cell, step in zip(cells, steps, strict=True) for shard in _shards(cell, step, study, folder)
    )
    return Study(name, study, folder, tuple(cells), shards, _jobs(name, shards, config), tuple(notes))


def _check_memory(cells: list[Cell], config: Config, path: str) -> None:
    import psutil

    limit = (
        psutil.virtual_memory().total if config.execution.memory_gib is None else config.execution.memory_gib * 2**30
    )
    for cell in cells:
        need = costs.bytes_needed(cell.engine, cell.task)
        if need > limit:
            raise ConfigError(
                f"{path}.grid",
                f"cells that fit in {limit / 2**30:.3g} GiB (execution.memory_gib)",
                f"depth {cell.network.depth}, width {cell.coords['width']}, {cell.n_inputs} points "
                f"with engine {cell.engine}, about {need / 2**30:.3g} GiB",
            )


def _check_shards(cells: list[Cell], steps: list[int], path: str) -> None:
    """Before they are laid out, for there may be billions."""
    files = sum(-(-cell.seeds // step) for cell, step in zip(cells, steps, strict=True) if cell.engine != "exact")
    if files > MOST_SHARDS:
        raise ConfigError(
            f"{path}.seeds",
            f"a number whose draws make at most {MOST_SHARDS} files (keep: moments makes fewest)",
            f"{cells[0].seeds}, {files} files in {len(cells)} cells",
        )


def bytes_per_draw(study: StudyConfig, n_inputs: int) -> int:
    """Bytes of a draw before compression, by which shards are cut; on disk: :func:`costs.bytes_on_disk`."""
    if (own := kinds.of(study).stored) is not None:
        return own(study)
    if study.keep == "moments":
        return 2
    entries = n_inputs**2 if study.keep == "full" and study.inputs.keep == "gram" else n_inputs
    return 8 * (entries + 2 * n_inputs + 1)


def _shard_bytes(shard: Shard) -> int:
    """What is held of a shard at once: all of it, in training a snapshot."""
    k = shard.cell.n_inputs
    return 8 * (shard.stop - shard.start) * (k * (k + shard.cell.n_eval) + 2 * k + 1)


def _shards(cell: Cell, step: int, study: StudyConfig, folder: str) -> list[Shard]:
    if cell.engine == "exact":
        return []
    bounds = [(first, min(first + step, cell.seeds)) for first in range(0, cell.seeds, step)]
    made = f"{study.keep}-block{block_size(cell.seeds)}-floor{study.tolerances.precision_floor!r}"
    stem = f"{folder}/shards/{cell.name}-{made}"  # all that the content depends on: a changed key is a missing file
    return [Shard(cell.study, cell, a, b, f"{stem}-draws{a:09d}to{b:09d}.zarr.zip") for a, b in bounds]


def _step(cell: Cell, study: StudyConfig) -> int:
    """Draws of a whole shard."""
    if cell.engine == "exact":
        return cell.seeds
    quantum = kinds.of(study).quantum
    per_quantum = quantum * costs.seconds_per_draw(cell.engine, cell.task)
    by_time = SHARD_SECONDS / per_quantum
    by_size = SHARD_BYTES / (quantum * bytes_per_draw(study, cell.n_inputs))
    return quantum * max(1, int(min(by_time, by_size)))


def _jobs(name: str, shards: tuple[Shard, ...], config: Config) -> tuple[Job, ...]:
    """Pack shards in plan order, one engine a job, up to ``execution.job_seconds`` and a command line each."""
    packs: list[list[Shard]] = []
    load, text = 0.0, 0
    for shard in shards:
        seconds, length = shard.seconds, len(shard.path) + 3
        full = load + seconds > config.execution.job_seconds or text + length > JOB_TEXT
        if not packs or full or packs[-1][-1].cell.engine != shard.cell.engine:
            packs.append([])
            load, text = 0.0, 0
        packs[-1].append(shard)
        load, text = load + seconds, text + length
    return tuple(Job(name, number, tuple(pack)) for number, pack in enumerate(packs))


def summary(plan: Plan, cores: int) -> str:
    """The dry plan: cells, jobs, draws, expected time, memory and disk, and what was left out."""
    header = f"{'study':<24}{'cells':>6}{'jobs':>6}{'draws':>12}{'core-time':>11}{'memory':>10}{'disk':>10}"
    lines = [header, "-" * len(header)]
    total = 0.0
    for study in plan.studies.values():
        seconds = sum(job.seconds for job in study.jobs)
        total += seconds
        draws = sum(shard.stop - shard.start for shard in study.shards)
        memory = max((job.memory_mb for job in study.jobs), default=0)
        lines.append(
            f"{study.name:<24}{len(study.cells):>6}{len(study.jobs):>6}{draws:>12.3g}"
            f"{duration(seconds):>11}{memory:>7} MB{study.disk_bytes / 2**20:>7.0f} MB"
        )
    lines.append(f"about {duration(total / cores)} of sampling on {cores} cores, then analysis, figures and report")
    lines += [f"note: {note}" for study in plan.studies.values() for note in study.notes]
    gpus = plan.config.execution.gpus
    asking = sum(job.shards[0].cell.engine == "dense" for study in plan.studies.values() for job in study.jobs)
    if gpus and asking:
        lines.append(f"note: execution.gpus: {asking} jobs of engine dense ask for {gpus} GPU{'s' * (gpus > 1)} each")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds as a short human text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
