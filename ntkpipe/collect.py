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

from ntkpipe import inputs, provenance, store
from ntkpipe.engines import catalogue
from ntkpipe.errors import DamagedFile
from ntkpipe.plan import Cell, Shard, Study
from ntkpipe.sampling import GRAM_BLOCK, HISTOGRAMS, LOG_EDGES, N_LARGEST, STATISTICS, block_size
from ntkpipe.steps import STATISTICS as STEP_STATISTICS

WORKERS = 2

_DRAWN = (
    "ntk",
    "ntk_diag",
    "eigenvalues",
    "output",
    "log_weight",
    "delta_ntk",
    "delta_ntk_linear",
    "eta_used",
    "flipped_fraction",
)
_ATTRS = {
    "ntk": ("neural tangent kernel K(x, x') at initialization", "docs/theory.md section 1"),
    "ntk_diag": ("K(x, x) of each probe", "docs/theory.md section 1"),
    "eigenvalues": ("eigenvalues of the Gram matrix, descending; 0 where below the precision floor", ""),
    "output": ("network output f(x)", ""),
    "log_weight": ("log of the density ratio law/sampler; 0 for plain draws", "docs/theory.md section 2"),
    "delta_ntk": ("K after one gradient step less K before", "docs/theory.md section 4"),
    "delta_ntk_linear": ("eta dK/d eta at eta = 0 with the gates held", "docs/theory.md section 4"),
    "eta_used": ("step size", ""),
    "flipped_fraction": ("fraction of gates whose pre-activation changes sign", ""),
    "sums": ("mergeable sums over a block of draws", ""),
    "largest": ("largest values of w K^2", ""),
    "histogram": ("weighted counts of natural logarithms", ""),
    "gram_sum": ("sum of K(x, x') over a block of draws", ""),
    "gram_square_sum": ("sum of K(x, x')^2 over a block of draws", ""),
    "gram_count": ("draws in a block of Gram sums", ""),
}


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


def cell_coords(cells: list[Cell]) -> dict[str, tuple[str, np.ndarray]]:
    """Coordinates along ``cell``; text as object arrays."""
    coords = {}
    for name in cells[0].coords:
        values = [cell.coords[name] for cell in cells]
        kind = object if isinstance(values[0], str) else None
        coords[name] = ("cell", np.array(values, dtype=kind))
    return coords


def variable_attrs(long_name: str, source: str = "") -> dict[str, str]:
    """Attributes of a dimensionless variable, with the equation or paper that it follows."""
    return {"long_name": long_name, "units": "1"} | ({"source": source} if source else {})


def label(dataset: xr.Dataset) -> xr.Dataset:
    """Give coordinates their long names and units."""
    names = {
        "depth": "number of hidden layers",
        "width": "hidden width (0 where it varies by layer)",
        "widths": "hidden widths, layer by layer",
        "beta": "sum over hidden layers of 1/width",
        "sigma_b": "scale of the biases",
        "eta": "step size, in eta_unit",
        "eta_unit": "unit of eta: absolute, or critical = 2/lambda_max(K_0)",
        "label": "label of the train points",
        "n_train": "points in the batch",
        "angle": "angle between x and x'",
    }
    for name in dataset.coords:
        long_name = names.get(str(name), str(name).replace("_", " "))
        dataset[name].attrs |= {"long_name": long_name, "units": "rad" if name == "angle" else "1"}
    return dataset


def samples(study: Study, path: str | Path) -> None:
    """Collect the draws of a study into ``samples.zarr``."""
    _collect(study, path, lambda name: name in _DRAWN, "seed")


def sums(study: Study, path: str | Path) -> None:
    """Collect the sums of a study into ``sums.zarr``."""
    _collect(study, path, lambda name: name not in _DRAWN, "block")


def _collect(study: Study, path: str | Path, wanted, unit: str) -> None:
    cells = [cell for cell in study.cells if cell.engine != "exact"]
    by_cell: dict[str, list[Shard]] = {}
    for shard in study.shards:
        by_cell.setdefault(shard.cell.text, []).append(shard)
    first = {k: v for k, v in _read(study, study.shards[0]).items() if wanted(k)}
    whole = _whole_sizes(study, cells[0], by_cell[cells[0].text])
    template, chunks = _template(study, cells, first, whole)
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


def _template(study: Study, cells, first: dict[str, Any], whole) -> tuple[xr.Dataset, dict[str, int]]:
    variables, chunks = {}, {"cell": 1}
    for name, (dims, array) in first.items():
        shape = tuple(whole.get(dim, size) for dim, size in zip(dims, array.shape, strict=True))
        lazy = da.zeros((len(cells), *shape), chunks=-1, dtype=array.dtype)
        variables[name] = (("cell", *dims), lazy, variable_attrs(*_ATTRS[name]))
        for dim, size in zip(dims, array.shape, strict=True):
            if dim in _GROWING:
                chunks[dim] = size
    dataset = xr.Dataset(variables, coords=cell_coords(cells), attrs=provenance.attributes(study.config, study.name))
    coords = {
        "statistic": np.array(STEP_STATISTICS if study.config.kind == "first_step" else STATISTICS, dtype=object),
        "quantity": np.array(HISTOGRAMS, dtype=object),
        "bin": (LOG_EDGES[:-1] + LOG_EDGES[1:]) / 2,
        "rank": np.arange(N_LARGEST),
    }
    dataset = dataset.assign_coords({dim: (dim, values) for dim, values in coords.items() if dim in dataset.dims})
    if any(dim in dataset.dims for dim in ("input", "gram_block")):
        x = inputs.points(study.config.inputs, study.config.seed)
        dataset["x"] = (("input", "coordinate"), x, {"long_name": "input points", "units": "1"})
    return label(dataset), chunks


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
