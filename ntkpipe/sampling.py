"""One shard: draws of one cell, and the mergeable sums that all statistics are made of.

The sums are made where the draws are made, so that ``keep: moments`` and ``keep: full`` give
the same statistics by the same path, and memory never grows with the number of draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ntkpipe.engines.base import Draws
from ntkpipe.networks import Network
from ntkpipe.streams import Stream, quanta

STATISTICS = (
    "count",  # networks
    "weight",  # sum of w
    "weight_square",  # sum of w^2
    "ntk_1",  # sum of w K^p, K^p averaged over the inputs of one network
    "ntk_2",
    "ntk_3",
    "ntk_4",
    "ntk_2_square",  # sum of (w K^2)^2
    "alive",  # sum of w 1{K > 0}
    "log_ntk",  # sum of w log K over K > 0
    "log_ntk_square",
    "dead",  # sum of 1{f = 0}
)
HISTOGRAMS = ("log_ntk", "log_min_eigenvalue", "log_condition")
LOG_EDGES = np.linspace(-80.0, 80.0, 6401)
"""Bin edges of the histograms of natural logarithms, 0.025 wide; the outer bins take the rest."""
N_LARGEST = 16
GRAM_BLOCK = 32
"""Draws a block of Gram sums: entries are many, so they are kept 16 times coarser than draws."""

Arrays = dict[str, tuple[tuple[str, ...], np.ndarray]]


def block_size(seeds: int) -> int:
    """Draws a block of sums: 1 where every draw can be afforded, else 64."""
    return 1 if seeds <= 8192 else 64


def draw_shard(
    sample: Callable[..., Draws],
    network: Network,
    x: Float[np.ndarray, "k n0"],
    stream: Stream,
    start: int,
    stop: int,
    *,
    block: int,
    keep: str,
    gram: bool,
    precision: str,
    floor: float,
) -> Arrays:
    """Draws start..stop of one cell: what ``keep`` keeps of them, and their sums; name -> (dims, array).

    Raises
    ------
    FloatingPointError: a draw is not finite.
    """
    parts = []
    for quantum, n in quanta(start, stop):
        draws = sample(network, x, stream, quantum, n, gram=gram, precision=precision)
        if not (np.isfinite(draws.ntk).all() and np.isfinite(draws.output).all()):
            raise FloatingPointError(f"a draw of quantum {quantum} is not finite in {precision}")
        parts.append(reduce_draws(draws, block, keep, floor))
    return _merge(parts)


def reduce_draws(draws: Draws, size: int, keep: str, floor: float) -> Arrays:
    """Draws of one quantum -> kept draws and sums."""
    ntk, output = draws.ntk, draws.output
    diagonal = np.diagonal(ntk, axis1=1, axis2=2) if ntk.ndim == 3 else ntk.reshape(len(ntk), -1)
    weight = np.exp(draws.log_weight)
    arrays = _diagonal_sums(diagonal, output.reshape(len(ntk), -1), weight, size)
    logs = {"log_ntk": (_log(diagonal), np.broadcast_to(weight[:, None] / diagonal.shape[1], diagonal.shape))}
    inputs = ("input", "input_")[: ntk.ndim - 1]
    if ntk.ndim == 3:
        eigenvalues = np.linalg.eigvalsh(ntk)[:, ::-1]
        eigenvalues = np.where(eigenvalues > floor * eigenvalues[:, :1], eigenvalues, 0.0)
        low = _log(eigenvalues[:, -1])
        logs["log_min_eigenvalue"] = low, weight
        with np.errstate(invalid="ignore"):  # a dead network's Gram matrix is 0
            logs["log_condition"] = np.where(eigenvalues[:, 0] > 0, _log(eigenvalues[:, 0]) - low, np.inf), weight
        blocks = np.arange(0, len(ntk), GRAM_BLOCK)
        arrays["gram_sum"] = ("gram_block", *inputs), np.add.reduceat(ntk, blocks, axis=0)
        arrays["gram_square_sum"] = ("gram_block", *inputs), np.add.reduceat(ntk**2, blocks, axis=0)
        arrays["gram_count"] = ("gram_block",), np.diff([*blocks, len(ntk)]).astype(float)
        if keep != "moments":
            arrays["eigenvalues"] = ("seed", "mode"), eigenvalues
    arrays["histogram"] = (
        ("quantity", "bin"),
        np.stack([_histogram(*logs[name]) if name in logs else np.zeros(len(LOG_EDGES) - 1) for name in HISTOGRAMS]),
    )
    if keep == "full":
        name = "ntk_diag" if ntk.ndim == 2 else "ntk"
        arrays[name] = ("seed", *inputs), ntk
    if keep != "moments":
        arrays["output"] = ("seed", *inputs[:1]), output
        arrays["log_weight"] = ("seed",), draws.log_weight
    return arrays


def _diagonal_sums(diagonal, output, weight, size: int) -> Arrays:
    powers = [weight * np.mean(diagonal**p, axis=1) for p in (1, 2, 3, 4)]
    positive = diagonal > 0
    log = np.where(positive, _log(diagonal), 0.0)
    columns = [
        np.ones_like(weight),
        weight,
        weight**2,
        *powers,
        powers[1] ** 2,
        weight * positive.mean(axis=1),
        weight * log.mean(axis=1),
        weight * (log**2).mean(axis=1),
        (output == 0).mean(axis=1),
    ]
    sums = np.add.reduceat(np.stack(columns, axis=1), np.arange(0, len(weight), size), axis=0)
    return {
        "sums": (("block", "statistic"), sums),
        "largest": (("rank",), _largest(powers[1])),
    }


def _largest(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " rank"]:
    top = np.sort(values)[::-1][:N_LARGEST]
    return np.pad(top, (0, N_LARGEST - len(top)))


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)


def _histogram(logs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted counts; -inf and +inf go to the outer bins."""
    inside = np.nextafter(LOG_EDGES[-1], 0)
    return np.histogram(np.clip(logs, LOG_EDGES[0], inside), LOG_EDGES, weights=weights)[0]


def _merge(parts: list[Arrays]) -> Arrays:
    """Put quanta together: draws and blocks one after the other, histograms added, largest of the largest."""
    merged: Arrays = {}
    for name, (dims, _) in parts[0].items():
        arrays = [part[name][1] for part in parts]
        if name == "histogram":
            value = np.sum(arrays, axis=0)
        elif name == "largest":
            value = _largest(np.concatenate(arrays))
        else:
            value = np.concatenate(arrays)
        merged[name] = dims, value
    return merged
