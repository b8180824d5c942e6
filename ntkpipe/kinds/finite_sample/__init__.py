"""Kind ``finite_sample``: what do N points do to the modes of a kernel?"""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind, check_own_points, known_limit

SECTION = "docs/theory.md section 10"


def coords(settings: Any) -> dict[str, Any]:
    """Coordinates that points and noise give a cell."""
    return {"train_points": settings.train, "noise": settings.noise}


def check(config: Any) -> None:
    """Draws are kept, and the points are those of ``finite_sample``."""
    check_own_points(config, "drawn anew for each network")


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the points, and what identifies them.

    Raises
    ------
    ConfigError: a network whose limit kernel is not known.
    """
    known_limit.on_circle(config, path)
    return config.settings.train, 2, "points-of-finite-sample"


def stored(config: Any) -> int:
    """Bytes of a draw: its matrices of modes, and its trained functions by mode."""
    settings = config.settings
    m = 2 * settings.modes + 1
    return 8 * (m * m * 3 + 4 * m + m * len(settings.omega) + m + 6 * m + 6)


KIND = Kind(
    name="finite_sample",
    statistics=(),
    draws={
        "gram": ("Phi^T Phi/N", SECTION),
        "coupling": ("compressed operator Phi^T K Phi/N^2", SECTION),
        "action_max": ("largest |(K/N) phi - lambda phi| at the points", SECTION),
        "action_square": ("mean over the points of ((K/N) phi - lambda phi)^2", SECTION),
        "omega_modes": ("coefficients phi^T y/N of y = cos(omega theta)", SECTION),
        "noise_modes": ("coefficients phi^T noise/N", SECTION),
        "signal_fit": ("coefficients of what is learned from labels without noise", SECTION),
        "noise_fit": ("coefficients of what noise adds to it", SECTION),
        "error_clean": ("mean squared error between the points without noise", SECTION),
        "error_noisy": ("mean squared error between the points with noise", SECTION),
    },
    sums={},
    columns={
        "finite_sample": [
            "depth", "width", "train_points", "noise", "kappa", "steps", "operator", "operator_low", "operator_high",
            "operator_exact", "operator_bound", "added", "added_low", "added_high", "excess_predicted",
        ],
        "fits": [
            "depth", "width", "noise", "of", "kernel", "error", "quantity", "estimate", "low", "high", "expected",
            "exact", "n_cells", "n_runs",
        ],
    },
    tables=lambda study: ["finite_sample", "fits"],
    figures=lambda study: ["concentration", "mode_coupling", "points_and_width", "incommensurate", "noise_by_mode"],
    collection="sampled_modes",
    quantum=8,
    settings="finite_sample",
    axes=("train", "noise"),
    read=("probability",),
    coords=coords,
    long_names={
        "train_points": "number N of points",
        "noise": "standard deviation of the label noise",
        "mode": "1, sqrt(2) cos(theta), sqrt(2) sin(theta), ...: column of Phi",
        "mode_": "the same",
        "frequency": "frequency q of a mode",
        "omega": "frequency of the target cos(omega theta), theta in [-pi, pi)",
        "kernel": "limit: infinite width; network: K_0 of a network",
        "dynamics": "limit, frozen: linear dynamics with the limit kernel, with K_0; trained: the network itself",
        "error": "gram: |G - I|_F; gram entry: its largest entry; operator: |C - diag lambda|_F; leakage q: from "
        "cos(q theta) into other frequencies; action q: max over points of |(K/N) phi - lambda phi|",
    },
    check=check,
    points=points,
    stored=stored,
)  # fmt: skip
