"""Shards -> one labelled dataset a study: ``samples`` (the draws kept) and ``sums`` (for statistics).

Cells are written one chunk row each, by dask threads, so memory is bounded by the shards in
flight whatever the size of the study.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from ntkpipe import kinds, labels, provenance, store
from ntkpipe.drawing import GRAM_BLOCK, LOG_EDGES, N_LARGEST, block_size
from ntkpipe.engines import catalogue
from ntkpipe.errors import DamagedFile
from ntkpipe.plan import Cell, Shard, Study

WORKERS = 2


def shard_attrs(study: Study, shard: Shard) -> dict[str, Any]:
    """What identifies the content of a shard: law, stream, range, what is kept, and the code."""
    return {
        "cell": shard.cell.text,
        "seed": study.config.seed,
        "start": shard.start,
        "stop": shard.stop,
        "keep": study.config.keep,
        "block": block_size(shard.cell.seeds),
        "precision_floor": study.config.tolerances.precision_floor,
        "source": provenance.source_hash(*catalogue.code(shard.cell.engine, shard.cell.sampling, study.config.kind)),
    }


def samples(study: Study, path: str | Path) -> None:
    """Collect the draws of a study into ``samples.zarr``."""
    _collect(study, path, kinds.of(study).draws)


def sums(study: Study, path: str | Path) -> None:
    """Collect the sums of a study into ``sums.zarr``."""
    _collect(study, path, kinds.of(study).sums)


def _collect(study: Study, path: str | Path, wanted: kinds.Meaning) -> None:
    cells = [cell for cell in study.cells if cell.engine != "exact"]
    by_cell: dict[str, list[Shard]] = {}
    for shard in study.shards:
        by_cell.setdefault(shard.cell.text, []).append(shard)
    first = {k: v for k, v in _read(study, study.shards[0]).items() if k in wanted}
    whole = _whole_sizes(study, cells[0], by_cell[cells[0].text])
    template, chunks = _template(study, cells, wanted, first, whole)
    with store.publish(path) as building:
        group = store.create_template(building, template, chunks)
        tasks = [
            dask.delayed(partial(_write_cell, study, group, row, by_cell[cell.text], tuple(first)))()
            for row, cell in enumerate(cells)  # partial: dask is not to look into the plan
        ]
        with ThreadPoolExecutor(WORKERS) as pool:  # leaving it waits for the threads, after an error too
            dask.compute(*tasks, scheduler="threads", pool=pool)


_GROWING = ("seed", "block", "gram_block")


def _whole_sizes(study: Study, cell: Cell, shards: list[Shard]) -> dict[str, int]:
    """Sizes along the growing dims when all shards of a cell are put together."""
    size = block_size(cell.seeds)
    return {
        "seed": cell.seeds,
        "block": sum(-(-(s.stop - s.start) // size) for s in shards),
        "gram_block": sum(-(-(s.stop - s.start) // GRAM_BLOCK) for s in shards),
    }


def _template(
    study: Study, cells, meaning: kinds.Meaning, first: dict[str, Any], whole
) -> tuple[xr.Dataset, dict[str, int]]:
    variables, chunks = {}, {"cell": 1}
    for name, (dims, array) in first.items():
        shape = tuple(whole.get(dim, size) for dim, size in zip(dims, array.shape, strict=True))
        lazy = da.zeros((len(cells), *shape), chunks=-1, dtype=array.dtype)
        variables[name] = (("cell", *dims), lazy, labels.variable_attrs(*meaning[name]))
        for dim, size in zip(dims, array.shape, strict=True):
            if dim in _GROWING:
                chunks[dim] = size
    dataset = labels.dataset(study, variables, labels.cell_coords(cells))
    kind = kinds.of(study)
    coords = {
        "statistic": np.array(kind.statistics, dtype=object),
        "quantity": np.array(kind.histograms, dtype=object),
        "bin": (LOG_EDGES[:-1] + LOG_EDGES[1:]) / 2,
        "rank": np.arange(N_LARGEST),
    }
    dataset = dataset.assign_coords({dim: (dim, values) for dim, values in coords.items() if dim in dataset.dims})
    if any(dim in dataset.dims for dim in ("input", "gram_block")):
        dataset["x"] = (("input", "coordinate"), study.points, {"long_name": "input points", "units": "1"})
    return labels.label(study, dataset), chunks


def _read(study: Study, shard: Shard) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    arrays, attrs = store.read_shard(shard.path)
    if attrs != shard_attrs(study, shard):
        raise DamagedFile(
            f"shard {shard.path} was made by another config or other code; mend: delete it and run snakemake again"
        )
    return arrays


def _write_cell(study: Study, group, row: int, shards: list[Shard], names: tuple[str, ...]) -> None:
    """Write one cell's row; shards follow each other along the growing dims, the rest merges."""
    at: dict[str, int] = {}
    histogram, largest = 0.0, []
    for shard in shards:
        arrays = _read(study, shard)
        grown: dict[str, int] = {}
        for name in names:
            dims, array = arrays[name]
            if name == "histogram":
                histogram = histogram + array
            elif name == "largest":
                largest.append(array)
            else:
                begin = at.get(dims[0], 0)
                group[name][row, begin : begin + len(array)] = array
                grown[dims[0]] = begin + len(array)
        at |= grown
    for name in names:  # zarr cuts off what is too long, and fills up what is too short, without a word
        dim, size = group[name].metadata.dimension_names[1], group[name].shape[1]
        if at.get(dim, size) != size:
            raise DamagedFile(f"the shards from {shards[0].path} on hold {at[dim]} rows of {name} where {size} are due")
    if "histogram" in names:
        group["histogram"][row] = histogram
    if "largest" in names:
        group["largest"][row] = np.sort(np.concatenate(largest))[::-1][: group["largest"].shape[1]]
