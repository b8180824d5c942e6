"""What a kernel that does not move predicts: f_t = f_0 + K phi_t(K) (y - f_0), by :mod:`ntkpipe.theory.function_space`.

It is (I - eta s K)^t on the residual, exact for a network that is linear in its trained variables.
Source: docs/theory.md sections 7 and 8.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.theory import function_space
from ntkpipe.theory.infinite_width import Kernels

LONGER = 1000
"""Predictions go on to this many times the steps of the run, so that every mode's time is known."""
A_DECADE = 40
"""Steps in each decade beyond the run."""


def steps(snapshots: Int[np.ndarray, " snapshot"]) -> Int[np.ndarray, " longer"]:
    """The steps of the snapshots, and more beyond the end of the run, in equal ratios."""
    many = round(np.log10(LONGER) * A_DECADE)
    beyond = np.unique(np.round(snapshots[-1] * 10 ** (np.arange(1, many + 1) / A_DECADE)).astype(int))
    return np.concatenate([snapshots, beyond[beyond > snapshots[-1]]])


def trained(
    ntk: Float[np.ndarray, "n n"],
    rate: float,
    step: Int[np.ndarray, " step"],
    start: Float[np.ndarray, " n"],
    y: Float[np.ndarray, "target n"],
) -> Float[np.ndarray, "target step n"]:
    """f_t on the points at each step, of gradient descent with this kernel; ``rate`` = eta s.

    NaN where the kernel is not known, is zero, or descends without bound (rate lambda_max >= 2).
    """
    found = np.full((len(y), len(step), len(start)), np.nan)
    if not (np.isfinite(ntk).all() and rate > 0):
        return found
    modes = function_space.modes(Kernels(ntk, ntk))
    if rate * modes.values[-1] < 2:
        learned = function_space.descent(modes, rate, step)
        for out, labels in zip(found, y, strict=True):
            out[:] = start + function_space.mean(modes, learned, labels - start)
    return found
