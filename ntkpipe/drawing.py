"""What drawing a shard is in every kind of study: quanta drawn one by one, reduced, put together.

The sums are made where the draws are made, so that ``keep: moments`` and ``keep: full`` give
the same statistics by the same path, and memory never grows with the number of draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ntkpipe.streams import quanta

Arrays = dict[str, tuple[tuple[str, ...], np.ndarray]]
"""name -> (dims, array)"""

LOG_EDGES = np.linspace(-80.0, 80.0, 6401)
"""Bin edges of the histograms of natural logarithms, 0.025 wide; the outer bins take the rest."""
N_LARGEST = 16
MERGED = 64
"""Quanta that are held at once."""
GRAM_BLOCK = 32
"""Draws a block of Gram sums: entries are many, so they are kept 16 times coarser than draws."""


def block_size(seeds: int) -> int:
    """Draws a block of sums: 1 where every draw can be afforded, else 64."""
    return 1 if seeds <= 8192 else 64


def by_quanta(start: int, stop: int, draw: Callable[[int, int], Arrays]) -> Arrays:
    """Draws start..stop: ``draw(quantum, n)`` of each quantum, merged as they come: histograms are large."""
    parts: list[Arrays] = []
    for quantum, n in quanta(start, stop):
        parts.append(draw(quantum, n))
        if len(parts) == MERGED:
            parts = [merge(parts)]
    return merge(parts)


def block_sums(table: np.ndarray, size: int) -> np.ndarray:
    """Rows added up in blocks of ``size``."""
    return np.add.reduceat(table, np.arange(0, len(table), size), axis=0)


def largest(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " rank"]:
    """The largest values, descending; padded with 0."""
    top = np.sort(values)[::-1][:N_LARGEST]
    return np.pad(top, (0, N_LARGEST - len(top)))


def log_histogram(logs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted counts; -inf and +inf go to the outer bins."""
    inside = np.nextafter(LOG_EDGES[-1], 0)
    return np.histogram(np.clip(logs, LOG_EDGES[0], inside), LOG_EDGES, weights=weights)[0]


def merge(parts: list[Arrays]) -> Arrays:
    """Put quanta together: draws and blocks one after the other, histograms added, largest of the largest."""
    merged: Arrays = {}
    for name, (dims, _) in parts[0].items():
        arrays = [part[name][1] for part in parts]
        if name == "histogram":
            value = np.sum(arrays, axis=0)
        elif name == "largest":
            value = largest(np.concatenate(arrays))
        else:
            value = np.concatenate(arrays)
        merged[name] = dims, value
    return merged
