"""What a study of the limit asks for: bad input is one error that names the key."""

import numpy as np
import pytest

from ntkpipe import config, kinds
from ntkpipe.errors import ConfigError

GOOD = {
    "kind": "infinite_width",
    "grid": {"width": 8, "depth": 1},
    "seeds": 8,
    "data": {"train": 4, "eval": 3, "frequencies": 1},
}


@pytest.mark.parametrize(
    ("keys", "must"),
    [
        ({"data": None}, "studies.s: must be given data where kind is 'infinite_width'; it had none"),
        ({"train": {"method": "sgd", "batch": 2}}, "without method sgd where kind is 'infinite_width'"),
        ({"grid": {"width": 8, "depth": 1, "method": ["gd", "sgd"]}}, "without method sgd"),
        ({"inputs": {"kind": "sphere", "points": 3}}, "without inputs where kind is 'infinite_width'"),
        ({"keep": "spectra"}, "given keep: full where kind is 'infinite_width'; it was 'spectra'"),
        ({"regimes": {"strong": 2.0}}, "without regimes unless kind is 'trajectory'"),
        ({"train": {"batch": 2}}, "train.batch: must be left out where the method of no cell is 'sgd'; it was 2"),
        ({"engine": "matrix_free"}, "engine: must be dense \\(or auto\\) where kind is 'infinite_width'"),
        (
            {"network": {"activation": "tanh", "sigma_w": 4.0}},
            "network: must be one whose limit kernel is known: .*; it was {'activation': 'tanh', 'sigma_w': 4.0",
        ),
        (
            {"grid": {"width": 8, "depth": 2, "activation": ["relu", "tanh"], "sigma_w": 4.0}},
            "network: must be one whose limit kernel is known",
        ),
    ],
)
def test_bad_input_is_one_error(make_plan, keys, must):
    with pytest.raises(ConfigError, match=must):
        make_plan(**(GOOD | keys))


def test_a_zero_point_has_a_limit_by_random_biases_alone(make_plan, tmp_path):
    path = tmp_path / "points.npz"
    x = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5], [0.0, -1.0]])
    np.savez(path, x=x, y=np.arange(4.0))
    keys = GOOD | {"data": {"kind": "file", "path": str(path), "train": 2, "eval": 2, "split": "order"}}
    with pytest.raises(ConfigError, match=r"data: must be points that are not zero.*it was \[0.0, 0.0\]"):
        make_plan(**keys, network={"bias_init": "zero"})
    assert make_plan(**keys, network={"bias_init": "normal"}).studies["s"].cells


def test_the_draws_are_those_of_training(make_study):
    """Settings, step sizes and methods of ``trajectory``; figures of the circle on the circle alone."""
    study = make_study(**GOOD | {"grid": {"width": 8, "depth": 1, "eta": [0.1, 0.2], "method": ["gd", "flow"]}})
    assert [cell.coords["training"] for cell in study.cells] == ["gd", "flow"] * 2
    other = make_study(**GOOD | {"kind": "trajectory"})
    assert kinds.of(study).stored(study.config) == kinds.of(other).stored(other.config)
    assert "limit_profile" in kinds.of(study).figures(study)
    sphere = make_study(**GOOD | {"data": {"kind": "sphere", "train": 4, "eval": 3}})
    assert "limit_profile" not in kinds.of(sphere).figures(sphere)
    config.parse({"studies": {"s": GOOD}}, "c.yaml")
