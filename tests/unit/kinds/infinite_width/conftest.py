"""Small studies of the limit, drawn and analysed once."""

from pathlib import Path

import pytest

from ntkpipe import store, tables

KEYS = {
    "kind": "infinite_width",
    "seeds": 8,
    "data": {"train": 6, "eval": 5, "frequencies": [1, 2]},
    "train": {"steps": 12, "snapshots": 4, "loss": "mean", "eta": 0.4},
}
GRID = [
    {"width": [8, 16], "depth": [1, 2]},
    {"width": 16, "depth": 1, "method": "flow", "activation": "tanh"},
    {"width": 16, "depth": 2, "activation": "gelu", "parametrization": "standard", "bias_init": "normal"},
]


@pytest.fixture(scope="package")
def study(made, tmp_path_factory):
    """Six cells: ReLU by width and depth, tanh by the flow, gelu in standard parametrization with random biases."""
    return made(tmp_path_factory.mktemp("limit"), grid=GRID, network={"bias_init": "zero", "sigma_b": 0.5}, **KEYS)


@pytest.fixture(scope="package")
def found(study):
    return store.read_rows(Path(study.folder) / "infinite_width.zarr").load()


@pytest.fixture(scope="package")
def fits(study):
    return tables.load(study, "fits")


@pytest.fixture(scope="package")
def runs(study):
    return store.read_rows(Path(study.folder) / "trajectories.zarr").load()
