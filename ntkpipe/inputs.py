"""The points x on which kernels are evaluated, shape (k, n_0), float64."""

from __future__ import annotations

import hashlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from ntkpipe.config import InputsConfig
from ntkpipe.errors import ConfigError

DEFAULT_SPHERE_DIM = 10
_SPHERE_TAG = 0x7370  # keeps the points' stream apart from the cells'


def points(config: InputsConfig, seed: int, path: str = "inputs") -> Float[np.ndarray, "k n0"]:
    """The points of a study.

    sphere: independent uniform directions, from ``seed`` alone, so that all cells share them;
    circle: angles 2 pi j/k in the first two coordinates; file: the rows, as they stand.

    Raises
    ------
    ConfigError: the data file is missing, unreadable, not a table of numbers, or holds NaN.
    """
    if config.kind == "file":
        return _from_file(config, path)
    k, norm = config.points or 1, 1.0 if config.norm is None else config.norm
    if config.kind == "circle":
        angle = 2 * np.pi * np.arange(k) / k
        x = np.zeros((k, config.dim or 2))
        x[:, 0], x[:, 1] = np.cos(angle), np.sin(angle)
        return norm * x
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SPHERE_TAG,)))
    x = rng.standard_normal((k, config.dim or DEFAULT_SPHERE_DIM))
    return norm * x / np.linalg.norm(x, axis=1, keepdims=True)


def fingerprint(x: Float[np.ndarray, "k n0"], keep: str) -> str:
    """What of the points the draws depend on: their coordinates (to 12 digits), and for several points ``keep``."""
    digest = hashlib.sha256((np.round(x, 12) + 0.0).astype("<f8").tobytes()).hexdigest()
    return f"{len(x)}x{x.shape[1]}-{digest}" + (f"-{keep}" if len(x) > 1 else "")


def _read_csv(file: Path) -> np.ndarray:
    rows = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            rows.append([float(cell) for cell in line.split(",")])
        except ValueError:
            raise ValueError(f"line {number} is no list of numbers; a header line starts with #") from None
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(f"line {number} has {len(rows[-1])} columns, the first has {len(rows[0])}")
    if not rows:
        raise ValueError("it has no row of numbers")
    return np.array(rows, dtype=float)


def _from_file(config: InputsConfig, path: str) -> Float[np.ndarray, "k n0"]:
    file, where = Path(config.path), f"{path}.path"
    if not file.is_file():
        raise ConfigError(where, "an existing data file", config.path)
    try:
        if file.suffix == ".npy":
            x = np.load(file, allow_pickle=False)
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                x = archive["x" if "x" in archive.files else archive.files[0]]
        else:
            x = _read_csv(file)
        if np.iscomplexobj(x):
            raise ValueError("complex numbers")
        x = np.atleast_2d(np.asarray(x, dtype=float))
    except (ValueError, TypeError, OSError, IndexError, EOFError, BadZipFile) as error:
        raise ConfigError(where, f"a csv, npy or npz table of numbers ({error})", config.path) from None
    if x.ndim != 2 or x.size == 0:
        raise ConfigError(where, "a table of points by coordinates", f"{config.path} of shape {x.shape}")
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ConfigError(
            where,
            "free of NaN and infinity",
            f"{config.path} with {x[row, column]} in row {row + 1}, column {column + 1}",
        )
    if not np.linalg.norm(x, axis=1).all():
        raise ConfigError(where, "a table of points that are not zero", f"{config.path} with a zero row")
    if config.points is not None:
        if config.points > len(x):
            raise ConfigError(f"{path}.points", f"at most the {len(x)} rows of {config.path}", config.points)
        x = x[: config.points]
    return x
