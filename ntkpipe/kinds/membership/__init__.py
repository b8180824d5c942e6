"""Kind ``membership``: is a function in the RKHS of the kernel, before and after training?"""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind, check_own_points

SECTION = "docs/theory.md section 6"


def coords(settings: Any) -> dict[str, Any]:
    """Coordinates that training gives a cell."""
    return {"eta": settings.eta, "steps": settings.steps, "train_points": settings.train}


def check(config: Any) -> None:
    """Kernels are kept, and the points are those of ``membership``."""
    check_own_points(config, "its own")


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the finest points, and what identifies them."""
    finest = config.settings.points[-1]
    return finest, 2, f"{finest}-equal-angles"


def stored(config: Any) -> int:
    """Bytes of a network: its kernel at start and after training on each target, and its outputs."""
    settings = config.settings
    targets, n = len(settings.targets), settings.points[-1]
    return 8 * (n * n * (1 + targets) + n * targets + 3 * targets + 1)


KIND = Kind(
    name="membership",
    statistics=(),
    draws={
        "ntk_start": ("K_0 on the finest points", "docs/theory.md section 1"),
        "ntk_trained": ("K_t on the finest points, after training on the target", "docs/theory.md section 1"),
        "f_trained": ("output of the trained network on the finest points", ""),
        "loss_start": ("training loss at the start", ""),
        "loss_end": ("training loss at the end; NaN where it diverged", ""),
        "eta_used": ("step size", ""),
    },
    sums={},
    columns={
        "membership": [
            "depth", "width", "beta", "train_points", "steps", "decay_even", "decay_odd", "drift", "drift_low",
            "drift_high", "start_singular", "trained_singular",
        ],
        "growth": [
            "depth", "width", "train_points", "steps", "target", "diag_reg", "of", "kernel", "quantity", "points_min",
            "points_max", "estimate", "low", "high", "last", "last_low", "last_high", "verdict", "asymptotic", "limit",
            "n_runs", "n_singular", "n_all",
        ],
    },
    tables=lambda study: ["membership", "growth"],
    figures=lambda study: ["inclusion", "norm_growth", "membership_sigma_b"],
    collection="kernels",
    quantum=8,
    resumes=True,
    settings="membership",
    axes=("train", "steps"),
    read=("diag_reg", "bounded"),
    coords=coords,
    long_names={
        "eta": "step size in units of 2/lambda_max(K_0)",
        "steps": "steps of gradient descent",
        "train_points": "number n of train points, at the angles 2 pi j/n + pi/lcm(n, N)",
        "points": "number of equal angles N on which the norm is taken",
        "target": "the function whose norm it is, and on which the network is trained",
        "kernel": "start: K_0; trained: K_t of the network trained on the target; other: on the next target; limit: "
        "infinite width; A in B: as space; redrawn: K_0 of another network; a / b: the quotient; network: itself",
        "space": "A in B: smallest c with K_A <= c K_B",
        "of": "norm: y^T K_N^{-1} y; inclusion: smallest c with K <= c K'; error: mean squared error off the N points",
        "verdict": "what a gamma says: inside (bounded) or outside (grows) up to these N, or neither",
        "diag_reg": "ridge in units of the mean eigenvalue",
    },
    check=check,
    points=points,
    stored=stored,
)  # fmt: skip
