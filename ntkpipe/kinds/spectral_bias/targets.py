r"""The targets :math:`y(z) = \sum_i A_i \sin(2 \pi k_i z + \phi_i)` on N points z = j/N of [0, 1).

Source: Rahaman et al. 2019, section 3; docs/theory.md section 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe.streams import Stream


def grid(n: int) -> Float[np.ndarray, " n"]:
    """j/n."""
    return np.arange(n) / n


def amplitudes(config: Any) -> Float[np.ndarray, "target mode"]:
    """A_i of each target: 1 (``equal``), i/m (``rising``), as listed (``given``)."""
    m = len(config.frequencies)
    laws = {"equal": np.ones(m), "rising": np.arange(1, m + 1) / m, "given": config.amplitudes}
    return np.array([laws[law] for law in config.targets], float)


def phases(config: Any, seed: int) -> Float[np.ndarray, " mode"]:
    """phi_i: as listed, or uniform on [0, 2 pi) by the seed of the study, the same for all its cells and targets."""
    if config.phases is not None:
        return np.array(config.phases, float)
    return Stream(seed, "phases").generator(0).uniform(0, 2 * np.pi, len(config.frequencies))


def values(config: Any, seed: int) -> Float[np.ndarray, "target n"]:
    """y of each target on the points."""
    angle = 2 * np.pi * np.outer(config.frequencies, grid(config.points)) + phases(config, seed)[:, None]
    return amplitudes(config) @ np.sin(angle)
