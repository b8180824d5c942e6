"""Files of numbers that users bring as training data: csv, npy, npz, zarr."""

from __future__ import annotations

import csv
import math
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from ntkpipe.files import is_data

UNREADABLE = (
    ValueError, TypeError, OSError, LookupError, EOFError, RuntimeError, BadZipFile, zlib.error, csv.Error,
)  # fmt: skip
"""What damaged or foreign files make numpy, zarr and csv raise."""


def load(file: Path) -> tuple[np.ndarray, np.ndarray | None, list[str] | None]:
    """A table, or x and y, as floats; and the names of the columns, where there are any.

    Raises
    ------
    one of :data:`UNREADABLE`: the file is damaged, or holds something else.
    """
    if file.exists() and not is_data(file):
        raise ValueError("it is no regular file, and no folder *.zarr")
    x, y, names = _read(file)
    return _floats(x), None if y is None else _floats(y), names


def _read(file: Path) -> tuple[np.ndarray, np.ndarray | None, list[str] | None]:
    if file.suffix == ".npy":
        return np.load(file, allow_pickle=False), None, None
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as archive:
            return *_pair(archive, archive.files), None
    if file.suffix in (".zarr", ".zip"):
        import zarr  # slow to import, and most studies have no such file

        node = zarr.open(str(file), mode="r")
        parts = {"": node} if isinstance(node, zarr.Array) else dict(node.arrays())
        if any({"scale_factor", "add_offset"} & set(array.attrs) for array in parts.values()):
            raise ValueError("packed numbers, with a scale_factor or add_offset")
        if any(getattr(c, "codec_id", "") == "pickle" for a in parts.values() for c in (*a.filters, *a.compressors)):
            raise ValueError("pickles, which can run code; they are not read")
        return *_pair(parts, sorted(parts)), None
    return _read_csv(file)


def _floats(array: np.ndarray) -> Float[np.ndarray, "..."]:
    if np.iscomplexobj(array):
        raise ValueError("complex numbers")
    return np.asarray(array, dtype=float)


def _pair(arrays: Any, names: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """x and y, by name; or the table of a file that is one array without a name."""
    if names == [""]:
        return arrays[""][...], None
    if not {"x", "y"} <= set(names):
        raise ValueError(f"it must have arrays x and y; it has {', '.join(names) or 'none'}")
    return arrays["x"][...], arrays["y"][...]


def _read_csv(file: Path) -> tuple[np.ndarray, None, list[str] | None]:
    names, rows = None, []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True))]
        if names is None and not rows and not any(map(_is_number, cells)):
            names = cells
            continue
        if not all(map(_is_number, cells)):
            raise ValueError(f"line {number} is no list of numbers" + ("" if rows or names else ", nor of names alone"))
        if len(cells) != len(names or (rows[:1] and rows[0]) or cells):
            raise ValueError(f"line {number} has {len(cells)} columns, the first has {len(names or rows[0])}")
        rows.append([float(cell) for cell in cells])
        if not all(map(math.isfinite, rows[-1])):
            column = 1 + [math.isfinite(value) for value in rows[-1]].index(False)
            raise ValueError(f"line {number} has {cells[column - 1]} in column {column}")
    if not rows:
        raise ValueError("it has no row of numbers")
    return np.array(rows, dtype=float), None, names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
