"""A small training study in which some runs diverge; its tests read one copy."""

from pathlib import Path

import pytest
import xarray as xr

from ntkpipe import kinds, store

KEYS = {
    "kind": "trajectory",
    "data": {"train": 4, "eval": 3, "frequencies": 1},
    "train": {"steps": 40, "snapshots": 8, "divergence": 20.0},
    "regimes": {"lazy": 0.3, "loss": 0.5, "diag_reg": [1e-4, 1e-2]},
}


@pytest.fixture(scope="session")
def trained(made):
    """A function: results folder and further keys -> a study as the one here, trained, collected and analysed."""
    return lambda folder, **keys: made(folder, **(KEYS | keys))


@pytest.fixture(scope="package")
def study(trained, tmp_path_factory):
    """48 runs in 8 cells: four shapes, each at a small step and at one beyond the edge of stability."""
    grid = {"width": [6, 12], "depth": [1, 2], "activation": "tanh", "eta": [0.25, 1.5]}
    return trained(tmp_path_factory.mktemp("trajectories"), grid=grid, seeds=6)


@pytest.fixture(scope="package")
def data(study) -> dict[str, xr.Dataset]:
    names = ("trajectories", *kinds.of(study).tables(study))
    return {name: store.read_rows(Path(study.folder) / f"{name}.zarr").load() for name in names}
