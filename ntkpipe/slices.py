"""Arrays too large for memory, made slice by slice along their second dim when they are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Slices:
    """An array of ``shape``: ``part(i)`` makes array[:, i], anew each time."""

    shape: tuple[int, ...]
    part: Callable[[int], np.ndarray]
    dtype = np.dtype("float64")

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """The whole, in memory."""
        return np.stack([self.part(i) for i in range(self.shape[1])], axis=1).astype(dtype or self.dtype, copy=False)


Arrays = dict[str, tuple[tuple[str, ...], np.ndarray | Slices]]
"""name -> (dims, array)"""


def concatenate(parts: list[np.ndarray] | list[Slices]) -> np.ndarray | Slices:
    """The parts one after the other along the first dim."""
    first = parts[0]
    if not isinstance(first, Slices):
        return np.concatenate(parts)
    shape = (sum(part.shape[0] for part in parts), *first.shape[1:])
    return Slices(shape, lambda i: np.concatenate([part.part(i) for part in parts]))
