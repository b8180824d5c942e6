"""Shards: one ``.zarr.zip`` file each, byte-identical for the same config, written whole or not at all.

Chunks carry crc32c checksums. A missing, truncated or altered file is an error that names it,
never a NaN. No xarray and no dask here: a sampling job starts a second sooner without them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from ntkpipe import provenance
from ntkpipe.drawing import Arrays, block_size
from ntkpipe.engines import catalogue
from ntkpipe.errors import DamagedFile
from ntkpipe.files import beside
from ntkpipe.plan import Shard, Study

_EPOCH = (1980, 1, 1, 0, 0, 0)


def compressors() -> tuple[ZstdCodec, Crc32cCodec]:
    """How chunks are stored, in shards and datasets."""
    return ZstdCodec(level=3), Crc32cCodec()


def attrs_of(study: Study, shard: Shard) -> dict[str, Any]:
    """What identifies the content of a shard: law, stream, range, what is kept, and the code."""
    cell = shard.cell
    return {
        "cell": cell.text,
        "seed": study.config.seed,
        "start": shard.start,
        "stop": shard.stop,
        "keep": study.config.keep,
        "block": block_size(cell.seeds),
        "precision_floor": study.config.tolerances.precision_floor,
        "source": provenance.source_hash(*catalogue.code(cell.engine, cell.sampling, cell.kind)),
    }


def write(path: str | Path, arrays: Arrays, attrs: dict[str, Any]) -> None:
    """Write a shard atomically; the bytes depend on arrays and attrs only."""
    memory = MemoryStore()
    group = zarr.create_group(memory, zarr_format=3, attributes=attrs)
    for name, (dims, array) in sorted(arrays.items()):
        chunks = tuple(size or 1 for size in array.shape)
        target = group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunks,
            compressors=compressors(),
            dimension_names=dims,
            config={"write_empty_chunks": True},  # absent and lost must not look alike
        )
        target[...] = array
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Consolidated metadata.*")
        zarr.consolidate_metadata(memory)
    with beside(Path(path)) as temporary:
        with open(temporary, "wb") as handle:
            with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
                for key in sorted(memory._store_dict):
                    info = zipfile.ZipInfo(key, _EPOCH)
                    archive.writestr(info, memory._store_dict[key].to_bytes())
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)


@contextmanager
def scratch(path: str | Path, attrs: dict[str, Any]) -> Iterator[Path]:
    """A folder for what a long job has done so far, of this content alone; gone once its shard is written."""
    shard, digest = Path(path), hashlib.sha256(json.dumps(attrs, sort_keys=True).encode()).hexdigest()[:16]
    folder = shard.parent / f".{shard.name}.{digest}.part"
    yield folder
    if folder.exists():
        shutil.rmtree(folder)


def read(path: str | Path) -> tuple[Arrays, dict[str, Any]]:
    """(name -> (dims, array), attrs) of a shard, as given to :func:`write`.

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


def read_planned(study: Study, shard: Shard) -> Arrays:
    """The arrays of a shard, which must be the one that the plan says.

    Raises
    ------
    DamagedFile: as :func:`read`, or another config or other code made it.
    """
    arrays, attrs = read(shard.path)
    if attrs != attrs_of(study, shard):
        raise DamagedFile(
            f"shard {shard.path} was made by another config or other code; mend: delete it and run snakemake again"
        )
    return arrays


def is_valid(path: str | Path, attrs: dict[str, Any]) -> bool:
    """Whether a whole shard with these attributes is there."""
    if not Path(path).exists():
        return False
    try:
        return read(path)[1] == attrs
    except DamagedFile:
        return False


def _memory_store(contents: dict[str, bytes]) -> MemoryStore:
    from zarr.core.buffer import default_buffer_prototype

    buffer = default_buffer_prototype().buffer
    return MemoryStore({key: buffer.from_bytes(value) for key, value in contents.items()}, read_only=True)
