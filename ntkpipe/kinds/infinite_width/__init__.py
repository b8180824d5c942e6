"""Kind ``infinite_width``: how far are finite networks, their kernels and what they learn, from the limit?"""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind, known_limit, trajectory

SECTION = "docs/theory.md section 7"


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
    known_limit.check(config, x, path)
    return (*made.x_train.shape, data.fingerprint(made))


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
