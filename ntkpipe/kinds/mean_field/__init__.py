"""Kind ``mean_field``: two layers as particles: what moves when the width grows?"""

from __future__ import annotations

from typing import Any

from ntkpipe.config.errors import wrong
from ntkpipe.kinds import Kind, check_own_points, known_limit
from ntkpipe.networks import MEAN_FIELD

SECTION = "docs/theory.md section 12"


def coords(settings: Any) -> dict[str, Any]:
    """Coordinates that training gives a cell."""
    return {"eta": settings.eta, "eta_unit": settings.eta_unit, "training": settings.method, "steps": settings.steps}


def check(config: Any) -> None:
    """Kernels are kept, and the points are those of ``mean_field``."""
    check_own_points(config, "its own")
    for number, grid in enumerate(config.grid):
        if "sgd" in (grid.method or ()):
            must = f"gd or flow where kind is 'mean_field'; it was {list(grid.method)}"
            raise wrong(("grid", number, "method"), must)


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the train points, and what identifies them.

    Raises
    ------
    ConfigError: a network whose limit kernel is asked for, and not known.
    """
    critical = config.settings.eta_unit == "critical"
    known_limit.on_circle(config, path, lambda network: critical or network.parametrization != MEAN_FIELD)
    n = config.settings.train
    return n, 2, f"{n}-equal-angles"


def stored(config: Any) -> int:
    """Bytes of a network: kernels, outputs and means at each snapshot, and its particles at both ends."""
    settings = config.settings
    widest = max(max(grid.width or (max(map(max, grid.widths)),)) for grid in config.grid)
    return 8 * (len(settings.snapshot_steps) * (settings.train * (settings.train + 1) + 24) + 2 * 3 * widest)


KIND = Kind(
    name="mean_field",
    statistics=(),
    draws={
        "time": ("flow time t = eta s k", "docs/theory.md section 5"),
        "loss": ("training loss", "docs/theory.md section 5"),
        "f_train": ("network output on the train points", "thesis (2.17)"),
        "ntk_train": ("K_t on the train points: eta Theta_t^(m), eta = m, in mean_field", "thesis (2.22)"),
        "particles": ("a and w of every unit at the start and at the end", "thesis (2.15)"),
        "moment": ("mean of a test function over the particles", SECTION),
        "moment_square": ("mean of its square", SECTION),
        "moment_rate": ("mean of grad psi . velocity, over the same two times", "thesis (2.20)"),
        "moment_step": ("change of its mean in a quarter of a step of gradient flow, over the time", "thesis (2.20)"),
        "unit_square": ("mean over particles and train points of the square of what a unit adds", SECTION),
        "moved": ("root mean square over particles of |theta_t - theta_0|", SECTION),
        "eta_used": ("step size in flow time", ""),
        "status": ("0: finished; 1: diverged; 2: the flow ran out of integrator steps, NaN from there on", ""),
    },
    sums={},
    columns={
        "mean_field": [
            "width", "eta", "training", "drift_end", "drift_end_low", "drift_end_high", "drift_end_limit",
            "kernel_error_end", "kernel_error_end_low", "kernel_error_end_high", "output_error_end",
            "output_error_end_low", "output_error_end_high", "moved_end", "moved_end_low", "moved_end_high",
            "n_finished",
        ],
        "fits": [
            "training", "quantity", "at", "estimate", "low", "high", "expected", "expected_before", "r2", "scatter",
            "scatter_p", "n_cells", "n_runs", "n_all",
        ],
    },
    tables=lambda study: ["mean_field", "fits"],
    figures=lambda study: ["kernel_moves", "particles", "rates", "modes"],
    collection="particles",
    quantum=8,
    settings="mean_field",
    axes=("eta", "method"),
    read=("limit_angles", "limit_amplitudes", "directions"),
    coords=coords,
    long_names={
        "eta": "step size, in eta_unit",
        "eta_unit": "unit of eta: absolute, or critical = 2/(s lambda_max) of the kernel of infinite width",
        "training": "gd or flow",
        "steps": "number of steps",
        "step": "steps done",
        "test": "test function psi(a, w)",
        "frequency": "q of a mode of the target",
        "end": "start or end of the training",
        "coordinate": "a, w_1, w_2, all N(0, 1) at the start",
        "expected": "exponent that theory says",
    },
    check=check,
    points=points,
    stored=stored,
    sizes=lambda study: {"particle": max(cell.network.widths[0] for cell in study.cells)},
)  # fmt: skip
