"""Shards: one ``.zarr.zip`` file each, byte-identical for the same config, written whole or not at all.

Chunks carry crc32c checksums; arrays that do not fit in memory are written and read in slices. A
missing, truncated or altered file is an error that names it, never a NaN. No xarray and no dask
here: a sampling job starts a second sooner without them.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import uuid
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore, ZipStore

from ntkpipe import provenance, writers
from ntkpipe.drawing import block_size
from ntkpipe.engines import catalogue
from ntkpipe.errors import DamagedFile
from ntkpipe.files import beside
from ntkpipe.plan import Shard, Study
from ntkpipe.slices import Arrays, Slices

EPOCH = (1980, 1, 1, 0, 0, 0)


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
    """Write a shard atomically; the bytes depend on arrays and attrs only. Of Slices one is held at a time."""
    memory = MemoryStore()  # what is not in the file yet
    group = zarr.create_group(memory, zarr_format=3, attributes=attrs)
    with beside(Path(path)) as temporary:
        with open(temporary, "wb") as handle:
            with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
                for name, (dims, array) in sorted(arrays.items()):
                    sliced = isinstance(array, Slices)
                    chunks = [size or 1 for size in array.shape]
                    target = group.create_array(
                        name,
                        shape=array.shape,
                        dtype=array.dtype,
                        chunks=(chunks[0], 1, *chunks[2:]) if sliced else tuple(chunks),
                        compressors=compressors(),
                        dimension_names=dims,
                        config={"write_empty_chunks": True},  # absent and lost must not look alike
                    )
                    if sliced:
                        for i in range(array.shape[1]):
                            target[:, i] = array.part(i)
                            _move(memory, archive, f"{name}/c/")
                    else:
                        target[...] = array
                        _move(memory, archive, f"{name}/c")
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message=".*Consolidated metadata.*")
                    zarr.consolidate_metadata(memory)
                _move(memory, archive, "")
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)


def _move(memory: MemoryStore, archive: zipfile.ZipFile, prefix: str) -> None:
    for key in sorted(key for key in memory._store_dict if key.startswith(prefix)):
        archive.writestr(zipfile.ZipInfo(key, EPOCH), memory._store_dict.pop(key).to_bytes())


@contextmanager
def scratch(path: str | Path, attrs: dict[str, Any]) -> Iterator[Path]:
    """A folder for what a long job has done so far, of this content alone; no other process has it meanwhile.

    Whoever waited for it looks first whether the shard is there by now. Gone once its shard is written, with those that
    other code or another config left beside it under this name. Where the file system has no locks it is a folder of
    this process alone, with what was left behind taken over: who worked there may stop, but nothing is mixed.
    """
    shard, digest = Path(path), hashlib.sha256(json.dumps(attrs, sort_keys=True).encode()).hexdigest()[:16]
    with writers.alone(shard) as sure:
        folder = shard.parent / f".{shard.name}.{digest}.part"
        if not sure:
            folder, own = folder.with_suffix(f".{uuid.uuid4().hex}.part"), folder
            for left in (own, *shard.parent.glob(f"{glob.escape(own.stem)}.*.part")):
                with suppress(OSError):  # not there, or another was faster
                    left.rename(folder)
                    break
        yield folder
        for left in shard.parent.glob(f".{glob.escape(shard.name)}.*.part"):
            shutil.rmtree(left, ignore_errors=not sure)


class Reader:
    """A shard that is open, to be used in a ``with``: its arrays are read in blocks.

    attrs: as written; arrays: name -> :class:`zarr.Array`, for its shape and dims.

    Raises
    ------
    DamagedFile: the file is missing, truncated or altered; checked on opening, all bytes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        with _damage_named(path):
            with zipfile.ZipFile(path) as archive:
                if (bad := archive.testzip()) is not None:
                    raise ValueError(f"{bad} is altered")
                held = archive.namelist()
            self._store = ZipStore(path, mode="r")
            group = zarr.open_group(self._store, mode="r", zarr_format=3)
            self.attrs = dict(group.attrs)
            self.arrays: dict[str, zarr.Array] = {}
            for name in group.metadata.consolidated_metadata.metadata:
                self.arrays[name] = group[name]
                found = sum(key.startswith(f"{name}/c") for key in held)
                if found != self.arrays[name].nchunks:
                    raise ValueError(f"{name} holds {found} of {self.arrays[name].nchunks} chunks")

    def read(self, name: str, *where: slice) -> np.ndarray:
        """An array, or the block of it that the slices of its first dims give."""
        with _damage_named(self.path):
            return np.asarray(self.arrays[name][where or ...])

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()


@contextmanager
def _damage_named(path: str | Path) -> Iterator[None]:
    mend = f"mend: delete {path} and run snakemake again"
    try:
        yield
    except FileNotFoundError:
        raise DamagedFile(f"shard {path} is missing; run snakemake") from None
    except Exception as error:
        raise DamagedFile(f"shard {path} is damaged ({type(error).__name__}: {error}); {mend}") from None


def read(path: str | Path) -> tuple[dict[str, tuple[tuple[str, ...], np.ndarray]], dict[str, Any]]:
    """(name -> (dims, array), attrs) of a shard, as given to :func:`write`, all in memory.

    Raises
    ------
    DamagedFile: the file is missing, truncated or altered.
    """
    with Reader(path) as shard:
        arrays = {name: (array.metadata.dimension_names, shard.read(name)) for name, array in shard.arrays.items()}
        return arrays, shard.attrs


def open_planned(study: Study, shard: Shard) -> Reader:
    """A shard, which must be the one that the plan says.

    Raises
    ------
    DamagedFile: as :class:`Reader`, or another config or other code made it.
    """
    reader = Reader(shard.path)
    if reader.attrs != attrs_of(study, shard):
        reader.__exit__()
        raise DamagedFile(
            f"shard {shard.path} was made by another config or other code; mend: delete it and run snakemake again"
        )
    return reader


def is_valid(path: str | Path, attrs: dict[str, Any]) -> bool:
    """Whether a whole shard with these attributes is there."""
    if not Path(path).exists():
        return False
    try:
        with Reader(path) as shard:
            return shard.attrs == attrs
    except DamagedFile:
        return False
