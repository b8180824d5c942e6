"""The only room that touches zarr: shards, public datasets, manifests, provenance.

A shard is one ``.zarr.zip`` file, byte-identical for the same config, written beside its target
and renamed. A public dataset is one directory store, built aside, checked and renamed, with a
manifest ``<name>.zarr.sha256`` in the format of ``sha256sum``. Chunks carry crc32c checksums.
A missing, truncated or altered file is an error that names it, never a NaN.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from ntkpipe.errors import DamagedFile

_EPOCH = (1980, 1, 1, 0, 0, 0)


def _compressors() -> dict[str, Any]:
    return {"compressors": (ZstdCodec(level=3), Crc32cCodec())}


def _encoding(dataset: xr.Dataset, chunks: dict[str, int] | None = None) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        encoding[str(name)] = _compressors()
        if variable.ndim:
            encoding[str(name)]["chunks"] = tuple(
                min(size, (chunks or {}).get(str(dim), size) if variable.ndim > 1 else size) or 1
                for dim, size in zip(variable.dims, variable.shape, strict=True)  # coordinates in one chunk
            )
    return encoding


@contextmanager
def _beside(target: Path):
    """A temporary path of its own beside the target, gone if not renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()


# --- shards ---------------------------------------------------------------------------------


def write_shard(path: str | Path, arrays: dict[str, tuple[tuple[str, ...], np.ndarray]], attrs: dict[str, Any]) -> None:
    """Write a shard atomically; the bytes depend on arrays and attrs only."""
    dataset = xr.Dataset(dict(sorted(arrays.items())), attrs=attrs)
    memory = MemoryStore()
    with _quiet():
        dataset.to_zarr(
            memory, zarr_format=3, consolidated=True, write_empty_chunks=True, encoding=_encoding(dataset), mode="w"
        )
    with _beside(Path(path)) as temporary:
        with open(temporary, "wb") as handle:
            with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
                for key in sorted(memory._store_dict):
                    info = zipfile.ZipInfo(key, _EPOCH)
                    archive.writestr(info, memory._store_dict[key].to_bytes())
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)


def read_shard(path: str | Path) -> tuple[dict[str, tuple[tuple[str, ...], np.ndarray]], dict[str, Any]]:
    """(name -> (dims, array), attrs) of a shard, as given to :func:`write_shard`.

    Raises
    ------
    DamagedFile: the file is missing, truncated or altered.
    """
    mend = f"mend: delete {path} and run snakemake again"
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}  # read() checks each crc32
        group = zarr.open_group(_memory_store(contents), mode="r", zarr_format=3)
        names = group.metadata.consolidated_metadata.metadata.keys()
        arrays = {}
        for name in names:
            expected = group[name].nchunks
            held = sum(key.startswith(f"{name}/c") for key in contents)
            if held != expected:
                raise ValueError(f"{name} holds {held} of {expected} chunks")
            arrays[name] = group[name].metadata.dimension_names, np.asarray(group[name][...])
        return arrays, dict(group.attrs)
    except FileNotFoundError:
        raise DamagedFile(f"shard {path} is missing; {mend}") from None
    except Exception as error:
        raise DamagedFile(f"shard {path} is damaged ({type(error).__name__}: {error}); {mend}") from None


def shard_is_valid(path: str | Path, attrs: dict[str, Any]) -> bool:
    """Whether a whole shard with these attributes is there."""
    if not Path(path).exists():
        return False
    try:
        return read_shard(path)[1] == attrs
    except DamagedFile:
        return False


def _memory_store(contents: dict[str, bytes]) -> MemoryStore:
    from zarr.core.buffer import default_buffer_prototype

    buffer = default_buffer_prototype().buffer
    return MemoryStore({key: buffer.from_bytes(value) for key, value in contents.items()}, read_only=True)


# --- public datasets ------------------------------------------------------------------------


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
    with _beside(target) as building:
        with zarr.config.set({"array.write_empty_chunks": True}):  # absent and lost must not look alike
            yield building
        _check_complete(building, target)
        manifest = target.with_name(target.name + ".sha256")
        lines = "".join(f"{digest}  {target.name}/{key}\n" for key, digest in _digests(building).items())
        with _beside(manifest) as note:
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
    """Check a public dataset against its manifest, byte by byte.

    Raises
    ------
    DamagedFile: names the file that is missing or altered, and the mend.
    """
    target = Path(path)
    manifest = target.with_name(target.name + ".sha256")
    mend = f"mend: delete {target} and run snakemake again"
    if not target.is_dir():
        raise DamagedFile(f"dataset {target} is missing; run snakemake")
    if not manifest.is_file():
        raise DamagedFile(f"manifest {manifest} is missing; {mend}")
    noted = dict(
        reversed(line.split("  ", 1)) for line in manifest.read_text(errors="replace").splitlines() if "  " in line
    )
    files = [file for file in target.rglob("*") if file.is_file() and file.name != ".snakemake_timestamp"]
    held = {f"{target.name}/{file.relative_to(target)}" for file in files}
    if strange := sorted(held - noted.keys()):
        raise DamagedFile(f"{target.parent / strange[0]} is not in {manifest.name}; {mend}")
    for name, digest in noted.items():
        file = target.parent / name
        if not file.is_file():
            raise DamagedFile(f"{file} is missing; {mend}")
        if _sha256(file) != digest:
            raise DamagedFile(f"{file} is altered (its sha256 differs from {manifest.name}); {mend}")


def open_dataset(path: str | Path, unstack: bool = True) -> xr.Dataset:
    """Open a public dataset lazily (dask), checked against its manifest.

    Where the grid is a full product of its axes, ``cell`` is unstacked into them.

    Raises
    ------
    DamagedFile: something is missing or altered.
    """
    verify(path)
    dataset = xr.open_zarr(path)
    return _unstack_cells(dataset) if unstack and "cell" in dataset.dims else dataset


def read_rows(path: str | Path) -> xr.Dataset:
    """Open a public dataset for reading cell by cell: checked, lazy, without dask."""
    verify(path)
    return xr.open_zarr(path, chunks=None)


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
    return {str(file.relative_to(folder)): _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
