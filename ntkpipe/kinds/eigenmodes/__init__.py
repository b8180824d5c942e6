"""Kind ``eigenmodes``: at which rate is each eigenfunction of the kernel learned, under a density on the circle?"""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind, check_own_points, known_limit

SECTION = "docs/theory.md section 9"
DENSITY = "docs/theory.md section 7"


def coords(settings: Any) -> dict[str, Any]:
    """Coordinates that density and training give a cell."""
    return {"density": settings.density, "train_points": settings.train, "scale": settings.scale}


def check(config: Any) -> None:
    """Its own points, outputs kept, and densities and numbers of points that fit."""
    from ntkpipe.config.eigenmodes import refuse_cells

    check_own_points(config, "its own")
    refuse_cells(config)


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the held-out points; what identifies them, and the files of densities with them.

    Raises
    ------
    ConfigError: the file of a density is missing, or holds none; a density too narrow for its eigenfunctions; a
        network whose limit kernel is not known.
    """
    known_limit.on_circle(config, path)
    settings = config.settings
    axes = [(f"grid.{i}.density", text) for i, grid in enumerate(config.grid) for text in grid.density or ()]
    every = {text: key for key, text in [*axes, ("eigenmodes.density", settings.density)]}
    files = {text: key for text, key in every.items() if text.endswith((".csv", ".npy"))}
    held_out = f"{settings.evaluate}-half-steps"
    names = [held_out, *(_fingerprint(text, f"{path}.{key}") for text, key in files.items())]
    for text, key in every.items():
        _check_reachable(config, text, f"{path}.{key}")
    return settings.evaluate, 2, "-".join(names)


PEAK, MANY = 20.0, 100
"""2 pi p and number of modes up to which the eigenfunctions of T_p are reached on the angles of its grid."""


def _check_reachable(config: Any, text: str, key: str) -> None:
    """Try the eigenfunctions of a density that is peaked, or of many modes: asked when planned, not hours later.

    Raises
    ------
    ConfigError: the grid of the theory does not resolve them.
    """
    import numpy as np

    from ntkpipe import angles
    from ntkpipe.errors import ConfigError
    from ntkpipe.theory import density_points

    modes = config.settings.modes
    if text == "uniform":
        return
    law = density_points.of(text)
    if 2 * np.pi * law(angles.equal(density_points.GRID)).max() <= PEAK and modes <= MANY:
        return
    from ntkpipe.kinds.eigenmodes import population

    for network in known_limit.networks(config, 2):
        if network.depth and (error := population.refusal(network, text, modes)):
            must = f"a density wide enough for {2 * modes + 1} eigenfunctions ({error})"
            raise ConfigError(key, must, text)


def _fingerprint(text: str, key: str) -> str:
    """A hash of the numbers of a density's file."""
    import hashlib

    from ntkpipe import tabular
    from ntkpipe.errors import ConfigError
    from ntkpipe.theory import density_points

    try:
        density_points.of(text)
    except tabular.UNREADABLE as error:
        must = f"a file with the columns theta and weight of a density ({' '.join(str(error).split())})"
        raise ConfigError(key, must, text) from None
    from pathlib import Path

    return hashlib.sha256(density_points.table(Path(text)).tobytes()).hexdigest()[:16]


def stored(config: Any) -> int:
    """Bytes of a network: its outputs on every target at every snapshot, K_0, and K_t where it is kept."""
    settings = config.settings
    n = max(n for grid in config.grid for n in (*(grid.train or ()), settings.train))
    targets, held = len(settings.frequencies), settings.evaluate
    outputs = targets * len(settings.snapshot_steps) * (n + held)
    return 8 * (outputs + n * held + targets * len(settings.kernel_snapshots) * n * n + n + held + targets)


def sizes(study: Any) -> dict[str, int]:
    """Train points of the cell that has most."""
    most = max(cell.settings.train for cell in study.cells)
    return {"train": most, "train_": most}


KIND = Kind(
    name="eigenmodes",
    statistics=(),
    draws={
        "f_train": ("f_t on the train points, less f_0 where centred; NaN where diverged", SECTION),
        "f_held_out": ("f_t on the held-out points, less f_0 where centred; NaN where diverged", SECTION),
        "ntk_held_out": ("K_0 between held-out and train points", "docs/theory.md section 1"),
        "ntk_path": ("K_t on the train points where it is kept, K_0 first", "docs/theory.md section 1"),
        "rate": ("step size in flow time, eta s", "docs/theory.md section 5"),
        "diverged": ("step at which the run was first seen to have diverged; -1: it did not", ""),
    },
    sums={},
    columns={
        "modes": [
            "depth", "width", "beta", "density", "train_points", "scale", "drift", "drift_low", "drift_high", "n_runs",
            "n_diverged", "n_unlearned",
        ],
        "density": [
            "depth", "width", "density", "train_points", "scale", "kink_0", "kink_pi", "local", "mass_dense",
            "nystroem_error", "frequency_exponent", "frequency_exponent_local",
        ],
        "fits": [
            "depth", "width", "beta", "density", "train_points", "scale", "quantity", "of", "frequency", "region",
            "estimate", "low", "high", "predicted", "frozen", "local", "n_runs", "n_all",
        ],
    },
    tables=lambda study: ["modes", "density", "fits"],
    figures=lambda study: ["mode_decay", "mode_rates", "bend", "eigenfunctions", "fit_times", "held_out"],
    collection="networks",
    quantum=8,
    resumes=True,
    settings="eigenmodes",
    axes=("density", "train", "scale"),
    read=("modes", "share"),
    coords=coords,
    long_names={
        "density": "density p of the train points on the circle",
        "train_points": "number N of train points, quantiles (j + 1/2)/N of p",
        "scale": "what multiplies the targets",
        "frequency": "q of the target cos(q theta)",
        "mode": "number of the eigenfunction of T_p, by falling eigenvalue; uniform: Fourier modes by frequency",
        "region": "dense: where p > 1/(2 pi); sparse: where p < 1/(2 pi); all: everywhere",
        "of": "what the quantity is of; see the attribute methods",
        "look": "number of the snapshot at which K_t is kept, 0 first",
        "look_step": "number of steps at which K_t is kept",
        "target": "number of the target, in the order of frequencies",
    },
    check=check,
    points=points,
    stored=stored,
    sizes=sizes,
)  # fmt: skip
