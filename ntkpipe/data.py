"""The data of a training study: train and evaluation points, and their targets; float64.

Everything follows from the config and the seed. Points, noise, teacher and split have streams of their own,
so that more train points keep the first ones, and the evaluation points of sphere, gaussian and file.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe import files, inputs, tabular
from ntkpipe.config.data import DEFAULT_FREQUENCIES, DataConfig
from ntkpipe.errors import ConfigError

DEFAULT_DIM = inputs.DEFAULT_SPHERE_DIM
DEFAULT_TEACHER_WIDTHS = (32,)

_TAG = 0x6461  # keeps these streams apart from the cells' and from those of ``inputs``
_STREAMS = ("train", "eval", "noise", "teacher", "split")


class Modes(NamedTuple):
    """y = sum_k amplitude_k cos(frequency_k theta + phase_k)."""

    frequencies: tuple[int, ...]
    amplitudes: tuple[float, ...]
    phases: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Data:
    """Train points with (noisy) labels, evaluation points with labels without noise; modes of a Fourier target."""

    x_train: Float[np.ndarray, "n n0"]
    y_train: Float[np.ndarray, " n"]
    x_eval: Float[np.ndarray, "m n0"]
    y_eval: Float[np.ndarray, " m"]
    modes: Modes | None = None


def make(config: DataConfig, seed: int, path: str = "data") -> Data:
    """The data of a study; ``path`` is the key path of ``config``, for errors.

    The same on every machine, up to the last bits of sin, cos and sqrt, which :func:`fingerprint` rounds away.

    Raises
    ------
    ConfigError: the data file is missing, unreadable, has too few rows, NaN or no such column; or the teacher
        is constant on the points.
    """
    if config.kind == "file":
        x, y = _from_file(config, path)
        train, evaluate = _split(len(x), config, seed, path)
        x_train, y_train, x_eval, y_eval = x[train], y[train], x[evaluate], y[evaluate]
        modes = None
    else:
        theta, x_train, x_eval = _points(config, seed)
        modes = _modes(config) if config.law == "fourier" else None
        if theta is not None and modes is not None:
            y = fourier(theta, modes)
        else:
            x = np.concatenate([x_train, x_eval])
            y = x[:, 0] * x[:, 1] if config.law == "product" else _unit_teacher(config, x, seed, path)
        y_train, y_eval = y[: config.train], y[config.train :]
    noise = config.noise * _stream(seed, "noise").standard_normal(config.train)
    return Data(x_train, y_train + noise, x_eval, y_eval, modes)


def fingerprint(data: Data) -> str:
    """Sizes and a hash of all points and labels to 12 digits."""
    arrays = (data.x_train, data.y_train, data.x_eval, data.y_eval)
    text = " ".join(inputs.fingerprint(array.reshape(len(array), -1), "data") for array in arrays)
    n0 = data.x_train.shape[1]
    return f"{len(data.x_train)}+{len(data.x_eval)}x{n0}-{hashlib.sha256(text.encode()).hexdigest()}"


def fourier(theta: Float[np.ndarray, " n"], modes: Modes) -> Float[np.ndarray, " n"]:
    """sum_k amplitude_k cos(frequency_k theta + phase_k)."""
    y = np.zeros(len(theta))
    for q, amplitude, phase in zip(*modes, strict=True):
        y += amplitude * np.cos(q * theta + phase)
    return y


def teacher(x: Float[np.ndarray, "n n0"], widths: tuple[int, ...], rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """A random ReLU network without biases: W^l ~ N(0, 2/fan_in) in hidden layers, N(0, 1/fan_in) at the output."""
    h = x
    for width in widths:
        h = np.maximum(_product(h, rng.standard_normal((width, h.shape[1])) * math.sqrt(2 / h.shape[1])), 0)
    return _product(h, rng.standard_normal((1, h.shape[1])) / math.sqrt(h.shape[1]))[:, 0]


def _product(h: Float[np.ndarray, "n fan"], w: Float[np.ndarray, "width fan"]) -> Float[np.ndarray, "n width"]:
    """h w^T, summed in one order; a BLAS sums in an order of its machine's own."""
    z = np.zeros((len(h), len(w)))
    for column, weights in zip(h.T, w.T, strict=True):
        z += column[:, None] * weights
    return z


def _unit_teacher(config: DataConfig, x: np.ndarray, seed: int, path: str) -> Float[np.ndarray, " n"]:
    """The teacher over its standard deviation on all points, train and evaluation together."""
    widths = config.teacher_widths or DEFAULT_TEACHER_WIDTHS
    y = teacher(x, widths, _stream(seed, "teacher"))
    scale = y.std()
    if not scale > 1e-12 * np.abs(y).max():
        raise ConfigError(f"{path}.teacher_widths", "wide enough for a teacher that is not constant", list(widths))
    return y / scale


def _stream(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_TAG, _STREAMS.index(purpose))))


def _modes(config: DataConfig) -> Modes:
    q = config.frequencies or DEFAULT_FREQUENCIES
    return Modes(q, config.amplitudes or (1.0,) * len(q), config.phases or (0.0,) * len(q))


def _points(config: DataConfig, seed: int) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Angles (of train, then evaluation points; on the circle), train and evaluation points."""
    sizes, norm = {"train": config.train, "eval": config.eval}, 1.0 if config.norm is None else config.norm
    if config.kind != "circle":
        dim = config.dim or DEFAULT_DIM
        x = {purpose: _stream(seed, purpose).standard_normal((n, dim)) for purpose, n in sizes.items()}
        if config.kind == "sphere":
            x = {purpose: norm * a / np.linalg.norm(a, axis=1, keepdims=True) for purpose, a in x.items()}
        return None, x["train"], x["eval"]
    n, m = sizes.values()
    turns = _stream(seed, "train").random(n) if config.angles == "uniform" else np.arange(n) / n
    # j/m - k/n runs over the multiples of 1/lcm(n, m): half of that apart is as far as points can keep.
    theta = 2 * np.pi * np.concatenate([turns, np.arange(m) / m + 1 / (2 * math.lcm(n, m))])
    x = np.zeros((n + m, config.dim or 2))
    x[:, 0], x[:, 1] = norm * np.cos(theta), norm * np.sin(theta)
    return theta, x[:n], x[n:]


def _split(rows: int, config: DataConfig, seed: int, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Train and evaluation rows, disjoint."""
    n, m = config.train, config.eval
    if m >= rows:
        raise ConfigError(f"{path}.eval", f"less than the {rows} rows of {config.path}", m)
    if n > rows - m:
        raise ConfigError(f"{path}.train", f"at most {rows - m}, the {rows} rows of {config.path} less eval = {m}", n)
    if config.split == "order":
        return np.arange(n), np.arange(rows - m, rows)
    order = _stream(seed, "split").permutation(rows)
    return order[m : m + n], order[:m]


def _from_file(config: DataConfig, path: str) -> tuple[Float[np.ndarray, "rows n0"], Float[np.ndarray, " rows"]]:
    """Coordinates and target of all rows."""
    file, where = Path(config.path), f"{path}.path"
    if not files.is_data(file):
        raise ConfigError(where, "an existing data file or folder *.zarr", config.path)
    try:
        x, y, names = tabular.load(file)
    except tabular.UNREADABLE as error:
        text = " ".join(str(error).split())
        raise ConfigError(where, f"a csv, npy, npz or zarr file of finite numbers ({text})", config.path) from None
    if y is not None:
        if config.column is not None:
            raise ConfigError(f"{path}.column", "left out, as the file has an array y", config.column)
        if x.ndim not in (1, 2) or x.size == 0 or y.shape not in ((len(x),), (len(x), 1)):
            shapes = f"{config.path} with x of shape {x.shape} and y of shape {y.shape}"
            raise ConfigError(where, "a table x of rows by coordinates, and a y for each row", shapes)
        x, target = np.column_stack([x, y]), -1
    elif x.ndim != 2 or len(x) == 0 or x.shape[1] < 2:
        raise ConfigError(where, "a table of rows by coordinates and target", f"{config.path} of shape {x.shape}")
    else:
        target = _column(config.column, names, x.shape[1], f"{path}.column")
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        wrong = f"{config.path} with {x[row, column]} in row {row + 1}, column {column + 1}"
        raise ConfigError(where, "free of NaN and infinity", wrong)
    return np.delete(x, target, axis=1), x[:, target]


def _column(column: int | str | None, names: list[str] | None, width: int, where: str) -> int:
    """Number of the target column."""
    if column is None:
        return width - 1
    if isinstance(column, int):
        if not -width <= column < width:
            raise ConfigError(where, f"at least {-width} and at most {width - 1}", column)
        return column
    if names is None:
        raise ConfigError(where, f"a number from 0 to {width - 1}, as the file has no header line", column)
    if names.count(column) != 1:
        raise ConfigError(where, f"the name of one of the columns {', '.join(names)}", column)
    return names.index(column)
