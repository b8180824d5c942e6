"""Whether the networks of a study have a limit kernel that is known: asked when it is planned, not hours later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

from ntkpipe.activations import KINKED
from ntkpipe.errors import ConfigError
from ntkpipe.kinds import trajectory
from ntkpipe.networks import SETTINGS, Network

_EVERYWHERE = (*KINKED, "erf", "linear")
"""Activations whose limit kernel is closed; the others' expansion has a largest variance of pre-activations."""


def check(config: Any, x: Any, path: str, needed: Callable[[Network], bool] = lambda network: True) -> None:
    """Try the limit at the points of least and of largest norm, which bound the variances of all pre-activations.

    x: points (n, n0); needed: network -> whether the study asks for its limit kernel.

    Raises
    ------
    ConfigError: points or networks without a limit kernel (a zero point without random biases; see
        :func:`ntkpipe.theory.infinite_width.kernels`).
    """
    import numpy as np

    norms = np.linalg.norm(x, axis=1)
    ends = x[[norms.argmin(), norms.argmax()]]
    for network in filter(needed, networks(config, x.shape[1])):
        if norms.min() == 0 and network.bias_init != "normal":
            raise ConfigError(
                f"{path}.data",
                "points that are not zero, unless bias_init is normal: at a zero point there is no limit kernel",
                x[norms.argmin()].tolist(),
            )
        if network.activation in _EVERYWHERE:
            continue
        from ntkpipe.theory import infinite_width

        try:
            infinite_width.kernels(replace(network, parametrization="ntk"), ends)  # variances are those of all
        except ValueError as error:
            was = {name: getattr(network, name) for name in ("activation", "sigma_w", "sigma_b", "bias_init")}
            raise ConfigError(f"{path}.network", f"one whose limit kernel is known: {error}", was) from None


def on_circle(config: Any, path: str, needed: Callable[[Network], bool] = lambda network: True) -> None:
    """The same on the unit circle, where one point stands for all."""
    import numpy as np

    check(config, np.array([[1.0, 0.0]]), path, needed)


def networks(config: Any, dim: int) -> list[Network]:
    """One network for each setting of the grid, at the largest depth of its grid: widths do not matter."""
    found = []
    for grid in config.grid:
        names = [name for name in SETTINGS if getattr(grid, name) is not None]
        depth = trajectory.deepest(grid)
        for values in product(*(getattr(grid, name) for name in names)):
            laws = config.network.model_dump() | dict(zip(names, values, strict=True))
            found.append(Network(input_dim=dim, widths=(1,) * depth, **laws))
    return list(dict.fromkeys(found))
