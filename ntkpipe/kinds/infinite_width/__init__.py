"""Kind ``infinite_width``: how far are finite networks, their kernels and what they learn, from the limit?"""

from __future__ import annotations

from itertools import product
from typing import Any

from ntkpipe.activations import KINKED
from ntkpipe.errors import ConfigError
from ntkpipe.kinds import Kind, trajectory
from ntkpipe.networks import SETTINGS, Network

SECTION = "docs/theory.md section 7"
_LIMIT_EVERYWHERE = (*KINKED, "erf", "linear")
"""Activations whose limit kernel is closed; the others' expansion has a largest variance of pre-activations."""


def check(config: Any) -> None:
    """As ``trajectory``, without minibatches: the limit knows gradient descent and the flow.

    Raises
    ------
    ValueError: the config of a study asks for something else.
    """
    if config.data is None:
        raise ValueError("given data where kind is 'infinite_width'; it had none")
    methods = {method for grid in config.grid for method in grid.method or (config.settings.method,)}
    if "sgd" in methods:
        raise ValueError("without method sgd where kind is 'infinite_width' (the limit is of gd and flow); it had sgd")
    trajectory.check(config)


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the train points, and what identifies points and labels.

    Raises
    ------
    ConfigError: points or networks without a limit kernel (a zero point without random biases; see
        :func:`ntkpipe.theory.infinite_width.kernels`).
    """
    import numpy as np

    from ntkpipe import data

    made = data.make(config.data, config.seed, f"{path}.data")
    x = np.concatenate([made.x_train, made.x_eval])
    _check_limit(config, x, path)
    return (*made.x_train.shape, data.fingerprint(made))


def _check_limit(config: Any, x: Any, path: str) -> None:
    """Try the limit at the points of least and of largest norm, which bound the variances of all pre-activations."""
    import numpy as np

    norms = np.linalg.norm(x, axis=1)
    ends = x[[norms.argmin(), norms.argmax()]]
    for network in _networks(config, x.shape[1]):
        if norms.min() == 0 and network.bias_init != "normal":
            raise ConfigError(
                f"{path}.data",
                "points that are not zero, unless bias_init is normal: at a zero point there is no limit kernel",
                x[norms.argmin()].tolist(),
            )
        if network.activation in _LIMIT_EVERYWHERE:
            continue
        from ntkpipe.theory import infinite_width

        try:
            infinite_width.kernels(network, ends)
        except ValueError as error:
            was = {name: getattr(network, name) for name in ("activation", "sigma_w", "sigma_b", "bias_init")}
            raise ConfigError(f"{path}.network", f"one whose limit kernel is known: {error}", was) from None


def _networks(config: Any, dim: int) -> list[Network]:
    """One network for each setting of the grid, at the largest depth of its grid: widths do not matter."""
    found = []
    for grid in config.grid:
        names = [name for name in SETTINGS if getattr(grid, name) is not None]
        depth = trajectory.deepest(grid)
        for values in product(*(getattr(grid, name) for name in names)):
            laws = config.network.model_dump() | dict(zip(names, values, strict=True))
            found.append(Network(input_dim=dim, widths=(1,) * depth, **laws))
    return list(dict.fromkeys(found))


KIND = Kind(
    name="infinite_width",
    statistics=(),
    draws=trajectory.KIND.draws,
    sums={},
    columns={
        "infinite_width": [
            "depth", "width", "beta", "eta", "training", "n_runs", "distance_start", "distance_start_low",
            "distance_start_high", "distance_end", "distance_end_low", "distance_end_high", "movement_end",
            "movement_end_low", "movement_end_high", "function_error_end", "function_error_end_low",
            "function_error_end_high", "mean_shift_end", "mean_shift_end_low", "mean_shift_end_high",
            "variance_ratio_end", "variance_ratio_end_low", "variance_ratio_end_high",
        ],
        "fits": [
            "eta", "eta_unit", "quantity", "at", "method", "depth", "width", "estimate", "low", "high", "expected",
            "scatter", "n_cells", "n_runs", "n_all",
        ],
    },
    tables=lambda study: ["infinite_width", "fits"],
    figures=lambda study: [
        "limit_distance", "limit_functions", "limit_predictions",
        *(["limit_profile"] if study.config.data.kind == "circle" else []),
    ],
    collection="trajectories",
    quantum=8,
    resumes=True,
    settings="train",
    own=("data",),
    axes=("eta", "method"),
    coords=trajectory.coords,
    long_names=trajectory.KIND.long_names | {
        "on": "train or evaluation points",
        "point": "train points, then evaluation points",
        "angle": "angle from the first train point: on the circle with its sign, elsewhere in [0, pi]",
        "side": "whether the point is a train or an evaluation point",
    },
    check=check,
    points=points,
    stored=trajectory.stored,
    sizes=trajectory.KIND.sizes,
)  # fmt: skip
