"""What a cell's settings say: the matrix to learn and the step size, for drawing and analysis alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from ntkpipe.theory import deep_linear as exact

STARTS = ("zero", "random")
"""Of the linear model."""


def target(config: Any) -> np.ndarray:
    """A*, outputs x inputs: the singular values on its diagonal (the law of the weights is invariant)."""
    found, values = np.zeros((config.outputs, config.dim)), config.singular_values
    found[np.arange(len(values)), np.arange(len(values))] = values
    return found


def loss_scale(config: Any, points: int) -> float:
    """s of the loss (s/2) |r|^2: 1, or 1/N of the mean."""
    return 1.0 if config.loss == "half_sum" else 1.0 / points


def step_size(config: Any, law: Any, modes: bool = False) -> float:
    """Step in flow time: of networks in units of 2/(k + k'), of balanced ones (``modes``) of 2/k'; see ``eta_unit``.

    In ``ntk`` k' is left out: it falls with the width, and the limit must be trained with the same step.
    """
    if config.eta_unit == "absolute":
        return config.eta * loss_scale(config, config.dim)
    layers = len(law.gains)
    end = exact.sharpness(layers, config.singular_values[0])
    if modes:
        return 2 * config.eta / end
    start = exact.limit_eigenvalue(layers, config.dim, config.scale, law.parametrization)
    return 2 * config.eta / (start + (end if law.parametrization == "standard" else 0.0))
