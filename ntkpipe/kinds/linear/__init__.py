"""Kind ``linear``: linear and deep linear networks, where training is solved."""

from __future__ import annotations

from typing import Any

from ntkpipe.config.errors import wrong
from ntkpipe.kinds import Kind, check_own_points

SECTION = "docs/theory.md section 11"


def coords(settings: Any) -> dict[str, Any]:
    """Coordinates that training gives a cell; sigma_w and sigma_v play no part."""
    return {"scale": settings.scale, "eta": settings.eta, "sigma_w": float("nan"), "sigma_v": float("nan")}


def check(config: Any) -> None:
    """A linear network without biases, its scale that of ``linear``, each layer wide enough for all modes."""
    check_own_points(config, "its own")
    network, modes = config.network, len(config.settings.singular_values)
    rules = {
        "activation": ("linear", "it has no other"),
        "bias_init": ("none", "it has no biases"),
        "readout": ("trained", "all layers are"),
    }
    for key, (must, why) in rules.items():
        for number, grid in enumerate(config.grid):
            values = getattr(grid, key)
            if values is not None and set(values) != {must}:
                raise wrong(("grid", number, key), f"{must} where kind is 'linear' ({why}); it was {list(values)}")
        if getattr(network, key) != must and any(getattr(grid, key) is None for grid in config.grid):
            raise wrong(("network", key), f"{must} where kind is 'linear' ({why}); it was {getattr(network, key)!r}")
    for key in ("sigma_w", "sigma_v", "sigma_b"):
        default = type(network).model_fields[key].default
        if getattr(network, key) != default:
            must = (
                f"left out where kind is 'linear' (scale says how large weights are); it was {getattr(network, key):g}"
            )
            raise wrong(("network", key), must)
        for number, grid in enumerate(config.grid):
            if getattr(grid, key) is not None:
                must = "left out where kind is 'linear' (scale says how large weights are); it was "
                raise wrong(("grid", number, key), must + str(list(getattr(grid, key))))
    for number, grid in enumerate(config.grid):
        if grid.widths is None and set(grid.depth or ()) == {0}:
            continue  # the linear model has no hidden width
        for key, widths in (("width", grid.width), ("widths", [n for part in grid.widths or () for n in part])):
            if widths and min(widths) < modes:
                must = f"at least {modes}, the number of singular_values, where kind is 'linear'; it was {min(widths)}"
                raise wrong(("grid", number, key), must)


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the inputs of deep networks, and what identifies them."""
    dim = config.settings.dim
    return dim, dim, f"{dim}-whitened"


def stored(config: Any) -> int:
    """Bytes of a run: maps and components by snapshot."""
    settings = config.settings
    linear = 2 * len(settings.points) * (settings.dim + 3)
    return 8 * len(settings.snapshot_steps) * (settings.outputs * settings.dim + linear + 8) + 8 * 64


KIND = Kind(
    name="linear",
    statistics=(),
    draws={
        "component": ("component of w_k - w_inf along each eigenvector of A over the first (linear model)", SECTION),
        "eigenvalue": ("eigenvalues of A = X X^T (linear model)", "thesis (1.4)"),
        "closed_gap": ("largest |w_k - its closed form| over |w_inf| at a snapshot (linear model)", "thesis (1.6)"),
        "limit_gap": ("|w_k - w_inf|/|w_inf| at the end (linear model)", "thesis (1.4)"),
        "limit_expected": ("the same by the closed form (linear model)", "thesis (1.8)"),
        "kernel_moved": ("|(I - A A^+)(w_k - w_0)|/|w_inf| at the end (linear model)", "thesis (1.8)"),
        "threshold": ("measured step size beyond which descent diverges, over 2/lambda_max(A)", "thesis (1.8)"),
        "teacher_error": ("|w_k - teacher|^2 (linear model)", SECTION),
        "map": ("A = W_L ... W_1 in training", SECTION),
        "drift": ("|K_t - K_0|_F/|K_0|_F", SECTION),
        "eta_used": ("step size", ""),
        "balance": ("change of the conserved matrices over the run, over their parts, by step size", SECTION),
        "balance_flow": ("the same of the flow", SECTION),
        "flow_gap": ("|A - A of the flow|_F/|A*|_F, root mean square over snapshots, by step size", SECTION),
        "autodiff_gap": ("|K by products - K by autodiff|_F/|K|_F, the larger of start and end", SECTION),
        "mode_path": ("singular values of A from balanced weights, descent (first of eight)", "Saxe et al. 2014"),
        "mode_flow": ("the same by gradient flow", "Saxe et al. 2014"),
        "mode_gap": ("|s - exact s of the flow|/s*, root mean square over snapshots, by step size", "Saxe et al. 2014"),
        "mode_kernel_gap": ("K_t from balanced weights at the end against its closed form, |.|_F/|K|_F", SECTION),
    },
    sums={},
    columns={
        "linear": [
            "depth", "width", "parametrization", "scale", "eta", "drift_end", "drift_end_low", "drift_end_high",
            "drift_limit", "limit_error", "limit_error_low", "limit_error_high", "diverged",
        ],
        "fits": [
            "quantity", "depth", "width", "parametrization", "scale", "of", "estimate", "low", "high", "expected",
            "n_runs", "n_all",
        ],
    },
    tables=lambda study: ["linear", "fits"],
    figures=lambda study: ["decay", "label_noise", "modes", "orders", "linear_drift", "linear_width"],
    collection="linear_runs",
    quantum=8,
    settings="linear",
    axes=("scale", "eta"),
    read=("lazy",),
    coords=coords,
    long_names={
        "scale": "scale of the initial weights",
        "eta": "step size in the unit of eta_unit",
        "snapshot": "number of the snapshot",
        "points": "number of train points of the linear model",
        "start": "of the linear model: zero, or random of size scale",
        "direction": "number of the eigenvector of A, largest eigenvalue first",
        "halving": "how often the step size is halved",
        "mode": "number of the singular value of A*, largest first",
        "of": "which number of train points, mode or direction a fit is of",
        "expected": "its exact value",
    },
    check=check,
    points=points,
    stored=stored,
)  # fmt: skip
