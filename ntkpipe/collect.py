"""Shards -> one labelled dataset a study: ``samples`` (the draws kept) and ``sums`` (for statistics).

Cells are written one chunk row each, by dask threads, so memory is bounded by the shards in
flight whatever the size of the study.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from ntkpipe import kinds, labels, parallel, shards, store
from ntkpipe.drawing import GRAM_BLOCK, LOG_EDGES, N_LARGEST, block_size
from ntkpipe.errors import DamagedFile
from ntkpipe.plan import SHARD_BYTES, Cell, Shard, Study


def run(study: Study) -> None:
    """Write ``sums.zarr`` and, where draws are kept, ``samples.zarr``; a cell's shards are read once for both."""
    kind, folder = kinds.of(study), Path(study.folder)
    meanings = ({"sums": kind.sums} if kind.sums else {}) | ({kind.collection: kind.draws} if study.keeps_draws else {})
    cells = [cell for cell in study.cells if cell.engine != "exact"]
    by_cell: dict[str, list[Shard]] = {}
    for shard in study.shards:
        by_cell.setdefault(shard.cell.text, []).append(shard)
    with shards.open_planned(study, study.shards[0]) as shard:
        first = shard.arrays  # their metadata
    whole = _whole_sizes(cells[0], by_cell[cells[0].text]) | kind.sizes(study)
    with ExitStack() as published:
        targets: dict[str, zarr.Array] = {}
        for name, meaning in meanings.items():
            arrays = {k: v for k, v in first.items() if k in meaning}
            template, chunks = _template(study, cells, meaning, arrays, whole)
            building = published.enter_context(store.publish(folder / f"{name}.zarr"))
            group = store.create_template(building, template, chunks)
            targets |= {k: group[k] for k in arrays}
        parallel.each(lambda row: _write_cell(study, targets, row, by_cell[cells[row].text]), range(len(cells)))


_GROWING = ("seed", "block", "gram_block")


def _whole_sizes(cell: Cell, parts: list[Shard]) -> dict[str, int]:
    """Sizes along the growing dims when all shards of a cell are put together."""
    size = block_size(cell.seeds)
    return {
        "seed": cell.seeds,
        "block": sum(-(-(s.stop - s.start) // size) for s in parts),
        "gram_block": sum(-(-(s.stop - s.start) // GRAM_BLOCK) for s in parts),
    }


def _template(
    study: Study, cells, meaning: kinds.Meaning, first: dict[str, zarr.Array], whole
) -> tuple[xr.Dataset, dict[str, int]]:
    variables, chunks = {}, {"cell": 1}
    for name, array in first.items():
        dims = array.metadata.dimension_names
        shape = tuple(whole.get(dim, size) for dim, size in zip(dims, array.shape, strict=True))
        lazy = da.zeros((len(cells), *shape), chunks=-1, dtype=array.dtype)
        variables[name] = (("cell", *dims), lazy, labels.variable_attrs(*meaning[name]))
        for dim, size in zip(dims, array.shape, strict=True):
            if dim in _GROWING:
                chunks[dim] = size
        if array.ndim > 1 and array.chunks[1] < array.shape[1]:  # what is written in slices is kept in blocks of them
            many = max(1, SHARD_BYTES * array.shape[1] // array.nbytes)
            chunks[dims[1]] = min(many, chunks.get(dims[1], many))
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
    if hasattr(room := kinds.load(study, "draw"), "constants"):
        for name, (dims, values, long_name) in room.constants(study).items():
            dataset[name] = (dims, values, labels.variable_attrs(long_name))
    return labels.label(study, dataset), chunks


def _write_cell(study: Study, targets: dict[str, zarr.Array], row: int, parts: list[Shard]) -> None:
    """Write one cell's row; shards follow each other along the growing dims, the rest merges."""
    at: dict[str, int] = {}
    histogram, largest = 0.0, []
    for part in parts:
        grown: dict[str, int] = {}
        with shards.open_planned(study, part) as shard:
            for name, target in targets.items():
                if name == "histogram":
                    histogram = histogram + shard.read(name)
                elif name == "largest":
                    largest.append(shard.read(name))
                else:
                    dim, size = shard.arrays[name].metadata.dimension_names[0], shard.arrays[name].shape[0]
                    begin = at.get(dim, 0)
                    _copy(shard, name, target, row, slice(begin, begin + size))
                    grown[dim] = begin + size
        at |= grown
    for name, target in targets.items():  # zarr cuts off what is too long, fills up what is too short, without a word
        dim, size = target.metadata.dimension_names[1], target.shape[1]
        if at.get(dim, size) != size:
            raise DamagedFile(f"the shards from {parts[0].path} on hold {at[dim]} rows of {name} where {size} are due")
    if "histogram" in targets:
        targets["histogram"][row] = histogram
    if "largest" in targets:
        targets["largest"][row] = np.sort(np.concatenate(largest))[::-1][: targets["largest"].shape[1]]


def _copy(shard: shards.Reader, name: str, target: zarr.Array, row: int, where: slice) -> None:
    """An array of a shard to its place, as many slices at a time as a chunk of the target has."""
    shape = shard.arrays[name].shape
    if len(shape) == 1:
        target[row, where] = shard.read(name)
        return
    beyond = [(0, 0)] * 2 + [(0, full - size) for full, size in zip(target.shape[3:], shape[2:], strict=True)]
    for first in range(0, shape[1], target.chunks[2]):
        block = slice(first, first + target.chunks[2])
        values = shard.read(name, slice(None), block)
        target[row, where, block] = np.pad(values, beyond, constant_values=np.nan) if np.any(beyond) else values
