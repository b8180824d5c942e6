"""Kind ``membership``: is a function in the RKHS of the kernel, before and after training?"""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind

SECTION = "docs/theory.md section 6"


def coords(settings: Any) -> dict[str, Any]:
    """Coordinates that training gives a cell."""
    return {"eta": settings.eta, "steps": settings.steps}


def check(config: Any) -> None:
    """Kernels are kept, and the points are those of ``membership``."""
    if config.inputs != type(config.inputs)():
        raise ValueError("without inputs where kind is 'membership' (its points are its own); it had inputs")
    if config.keep != "full":
        raise ValueError(f"given keep: full where kind is 'membership'; it was {config.keep!r}")


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
            "depth", "width", "beta", "decay", "decay_scatter", "drift", "drift_low", "drift_high", "start_singular",
            "trained_singular",
        ],
        "growth": [
            "depth", "width", "target", "kernel", "quantity", "points_min", "points_max", "estimate", "low", "high",
            "predicted", "n_runs", "n_singular",
        ],
    },
    tables=lambda study: ["membership", "growth"],
    figures=lambda study: ["norm_growth", "membership_sigma_b"],
    collection="kernels",
    quantum=8,
    settings="membership",
    coords=coords,
    long_names={
        "eta": "step size in units of 2/lambda_max(K_0)",
        "steps": "steps of gradient descent",
        "points": "number of equal angles N on which the norm is taken",
        "target": "the function whose norm it is, and on which the network is trained",
        "kernel": "start: K_0; trained: K_t of the network trained on the target; limit: infinite width",
        "diag_reg": "ridge in units of the mean eigenvalue",
    },
    check=check,
    points=points,
    stored=stored,
)  # fmt: skip
