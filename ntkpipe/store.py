"""Public datasets, by way of xarray and zarr.

A dataset is one directory store, built aside, checked and renamed, with a manifest
``<name>.zarr.sha256`` in the format of ``sha256sum``. Chunks carry crc32c checksums.
A missing, truncated or altered file is an error that names it, never a NaN.
"""

from __future__ import annotations

import os
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from ntkpipe import remote
from ntkpipe.errors import DamagedFile
from ntkpipe.files import beside, check_within, parsed, sha256
from ntkpipe.shards import compressors
from ntkpipe.writers import alone


def _encoding(dataset: xr.Dataset, chunks: dict[str, int] | None = None) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        encoding[str(name)] = {"compressors": compressors()}
        if variable.ndim:
            encoding[str(name)]["chunks"] = tuple(
                min(size, (chunks or {}).get(str(dim), size) if variable.ndim > 1 else size) or 1
                for dim, size in zip(variable.dims, variable.shape, strict=True)  # coordinates in one chunk
            )
    return encoding


@contextmanager
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(does not have a Zarr V3 specification|Consolidated metadata).*")
        yield


def write_dataset(path: str | Path, dataset: xr.Dataset) -> None:
    """Write a dataset that fits in memory, atomically, with its manifest."""
    with publish(path) as building, _quiet():
        dataset.to_zarr(
            building,
            zarr_format=3,
            consolidated=True,
            write_empty_chunks=True,
            encoding=_encoding(dataset),
            mode="w",
        )


@contextmanager
def publish(path: str | Path):
    """Build a directory store aside; on leaving, check it, write its manifest and rename it into place."""
    target = Path(path)
    with alone(target), beside(target) as building:
        with zarr.config.set({"array.write_empty_chunks": True}):  # absent and lost must not look alike
            yield building
        _check_complete(building, target)
        manifest = target.with_name(target.name + ".sha256")
        lines = "".join(f"{digest}  {target.name}/{key}\n" for key, digest in _digests(building).items())
        with beside(manifest) as note:
            note.write_text(lines)
            manifest.unlink(missing_ok=True)
            if target.exists():
                shutil.rmtree(target)
            os.replace(building, target)
            os.replace(note, manifest)


def create_template(building: Path, template: xr.Dataset, chunks: dict[str, int]) -> zarr.Group:
    """Write metadata and coordinates of a (lazy) template and return the group to be filled."""
    with _quiet():
        template.to_zarr(
            building,
            zarr_format=3,
            consolidated=True,
            write_empty_chunks=True,
            encoding=_encoding(template, chunks),
            compute=False,
            mode="w",
        )
    return zarr.open_group(building, mode="r+")


def verify(path: str | Path) -> None:
    """Check a public dataset, here or in a bucket (``s3://...``), against its manifest, byte by byte.

    Raises
    ------
    DamagedFile: names the file that is missing or altered, and the mend.
    """
    if remote.is_url(path):
        return remote.verify(str(path))
    target = Path(path)
    manifest = target.with_name(target.name + ".sha256")
    mend = f"mend: delete {target} and run snakemake again"
    if not target.is_dir():
        raise DamagedFile(f"dataset {target} is missing; run snakemake")
    if not manifest.is_file():
        raise DamagedFile(f"manifest {manifest} is missing; {mend}")
    listed = parsed(manifest.read_text(errors="replace"))
    check_within(listed, manifest, mend)
    files = [file for file in target.rglob("*") if file.is_file() and file.name != ".snakemake_timestamp"]
    held = {f"{target.name}/{file.relative_to(target)}" for file in files}
    if strange := sorted(held - listed.keys()):
        raise DamagedFile(f"{target.parent / strange[0]} is not in {manifest.name}; {mend}")
    for name, digest in listed.items():
        file = target.parent / name
        if name not in held:
            raise DamagedFile(f"{file} is missing; {mend}")
        if sha256(file) != digest:
            raise DamagedFile(f"{file} is altered (its sha256 differs from {manifest.name}); {mend}")


def open_dataset(path: str | Path, unstack: bool = True, storage_options: dict[str, Any] | None = None) -> xr.Dataset:
    """Open a public dataset lazily (dask), checked against its manifest; in a bucket (``s3://...``) without its chunks.

    Where the grid is a full product of its axes, ``cell`` is unstacked into them.

    Raises
    ------
    DamagedFile: something is missing or altered.
    """
    if remote.is_url(path):
        remote.verify(str(path), every_byte=False, storage_options=storage_options)
    else:
        verify(path)
    dataset = xr.open_zarr(path, zarr_format=3, storage_options=storage_options)
    return _unstack_cells(dataset) if unstack and "cell" in dataset.dims else dataset


def read_rows(path: str | Path) -> xr.Dataset:
    """Open a public dataset for reading cell by cell: checked, lazy, without dask."""
    verify(path)
    return xr.open_zarr(path, chunks=None, zarr_format=3)


def _unstack_cells(dataset: xr.Dataset) -> xr.Dataset:
    along = [name for name, coord in dataset.coords.items() if coord.dims == ("cell",) and name != "cell"]
    axes = [name for name in along if name not in ("beta", "widths") and len(np.unique(dataset[name].values)) > 1]
    product = int(np.prod([len(np.unique(dataset[name].values)) for name in axes])) if axes else 1
    rows = {tuple(dataset[name].values[i] for name in axes) for i in range(dataset.sizes["cell"])}
    if not axes or product != dataset.sizes["cell"] or len(rows) != product:
        return dataset
    beta = dataset["beta"]
    constant = [name for name in along if name not in axes]
    flat = _set_axes(dataset.drop_vars([*constant, "cell"], errors="ignore"), axes)
    for name in constant:
        if name not in ("beta", "widths"):
            flat = flat.assign_coords({name: dataset[name].isel(cell=0, drop=True)})
    beta = beta.drop_vars([n for n in along if n not in axes], errors="ignore").drop_vars("cell", errors="ignore")
    shape = [name for name in ("depth", "width") if name in axes]
    beta = _set_axes(beta, axes)
    return flat.assign_coords(beta=beta.isel({name: 0 for name in axes if name not in shape}, drop=True))


def _set_axes(labelled, axes: list[str]):
    """``cell`` replaced by its axes; a single axis is a renaming."""
    if len(axes) == 1:
        return labelled.swap_dims(cell=axes[0])
    return labelled.set_index(cell=axes).unstack("cell")


def _check_complete(building: Path, target: Path) -> None:
    group = zarr.open_group(building, mode="r")
    for name, array in group.arrays():
        held = sum(1 for file in (building / name).rglob("*") if file.is_file() and file.name != "zarr.json")
        if held != array.nchunks:
            raise DamagedFile(f"{target}: {name} was built with {held} of {array.nchunks} chunks; run again")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): sha256(file) for file in files}
