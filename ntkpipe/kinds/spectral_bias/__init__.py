"""Kind ``spectral_bias``: which Fourier modes of a target on [0, 1] does a network learn first, and how firmly?"""

from __future__ import annotations

from typing import Any

from ntkpipe.config.errors import wrong
from ntkpipe.kinds import Kind, check_own_points, known_limit

SECTION = "docs/theory.md section 8"


def coords(settings: Any) -> dict[str, Any]:
    """Coordinates that training gives a cell."""
    return {"eta": settings.eta, "eta_unit": settings.eta_unit, "loss_kind": settings.loss}


def check(config: Any) -> None:
    """Kernels are kept, the points are those of ``spectral_bias``, and biases are random."""
    check_own_points(config, "its own")
    why = "inputs are numbers of one sign: without random biases no unit has a kink among them and K_0 has rank 2"
    given = [(("network", "bias_init"), config.network.bias_init)]
    if all(grid.bias_init is not None for grid in config.grid):
        given = []
    for number, grid in enumerate(config.grid):
        given += [(("grid", number, "bias_init"), init) for init in grid.bias_init or ()]
    for key, init in given:
        if init != "normal":
            raise wrong(key, f"normal where kind is 'spectral_bias' ({why}); it was {init!r}")


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the train points, and what identifies them.

    Raises
    ------
    ConfigError: a network whose limit kernel is not known.
    """
    import numpy as np

    n = config.settings.points
    known_limit.check(config, np.array([[0.0], [(n - 1) / n]]), path)
    return n, 1, f"{n}-points-of-the-unit-interval"


def stored(config: Any) -> int:
    """Bytes of a network: its outputs along each training, kernels before and after, and its perturbed outputs."""
    settings, n = config.settings, config.settings.points
    outputs = n * (len(settings.snapshot_steps) + len(settings.radii) * settings.directions)
    return 8 * (n * n + len(settings.targets) * (outputs + n * n + 3) + 3)


KIND = Kind(
    name="spectral_bias",
    statistics=(),
    draws={
        "f": ("network output on the points; NaN from where the run diverged", ""),
        "ntk_start": ("K_0 on the points", "docs/theory.md section 1"),
        "ntk_end": ("K_T on the points, after training on the target", "docs/theory.md section 1"),
        "f_perturbed": ("output of the trained network at theta_T + radius |theta_T| delta, |delta| = 1", SECTION),
        "distance": ("|theta_T - theta_0| in the trained variables", ""),
        "norm": ("|theta_T| of the trained variables", ""),
        "diverged_step": ("step at which the loss first exceeded divergence times its first value; NaN: never", ""),
        "eta_used": ("step size", ""),
    },
    sums={},
    columns={
        "modes": [
            "depth", "width", "beta", "eta", "n_runs", "n_all", "drift", "drift_low", "drift_high", "move", "move_low",
            "move_high",
        ],
        "robustness": ["depth", "width", "beta", "eta", "n_trained", "moved", "moved_low", "moved_high"],
        "fits": [
            "depth", "width", "eta", "target", "quantity", "of", "frequency", "radius", "estimate", "low", "high",
            "frozen", "limit", "n_runs", "n_all",
        ],
    },
    tables=lambda study: ["modes", "robustness", "fits"],
    figures=lambda study: ["spectral_bias", "spectra", "bending", "robustness"],
    collection="spectra",
    quantum=8,
    resumes=True,
    settings="spectral_bias",
    axes=("eta",),
    read=("share",),
    coords=coords,
    long_names={
        "eta": "step size, in eta_unit",
        "eta_unit": "unit of eta: absolute, or critical = 2/(s lambda_max(K_0))",
        "loss_kind": "half_sum or mean",
        "target": "law of the amplitudes A_i: equal 1, rising i/m, or given",
        "frequency": "frequency k of the target, in cycles over [0, 1)",
        "mode": "frequency q of the spectrum, in cycles over [0, 1)",
        "step": "step of gradient descent",
        "radius": "size of the perturbation in units of |theta_T|",
        "kernel": "what moves: the network; K_0 frozen; the kernel of infinite width",
    },
    check=check,
    points=points,
    stored=stored,
)  # fmt: skip
