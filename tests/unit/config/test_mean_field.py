"""Settings of mean_field studies, and who may have the mean_field parametrization."""

import pytest

from ntkpipe.config.mean_field import MeanFieldConfig
from ntkpipe.errors import ConfigError

GRID = {"width": 8, "depth": 1, "parametrization": "mean_field"}

# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "few points": ({"mean_field": {"train": 4}}, "mean_field.train", "at least 8", "4"),
    "aliased": ({"mean_field": {"train": 8}}, "mean_field.frequencies", "below train/2 = 4", "[1, 2, 4]"),
    "a mode twice": ({"mean_field": {"frequencies": [1, 1]}}, "mean_field.frequencies", "distinct values", "[1, 1]"),
    "amplitudes": ({"mean_field": {"amplitudes": [1.0]}}, "mean_field.amplitudes", "each of the 3", "[1.0]"),
    "amplitude 0": (
        {"mean_field": {"frequencies": [1], "amplitudes": [0.0]}},
        "mean_field.amplitudes",
        "different from 0",
        "[0.0]",
    ),
    "method": ({"mean_field": {"method": "sgd"}}, "mean_field.method", "'gd' or 'flow'", "'sgd'"),
    "sgd in a grid": ({"grid": GRID | {"method": ["gd", "sgd"]}}, "grid.method", "gd or flow where", "['gd', 'sgd']"),
    "coarse limit": ({"mean_field": {"limit_angles": 8}}, "mean_field.limit_angles", "at least 16", "8"),
    "snapshots": ({"mean_field": {"steps": 4, "snapshots": 8}}, "mean_field.snapshots", "at most steps + 1", "8"),
    "unknown key": ({"mean_field": {"width": 3}}, "mean_field.width", "one of the keys", "'width'"),
    "depth 2": ({"grid": GRID | {"depth": 2}}, "grid.depth", "1 where kind is 'mean_field'", "2"),
    "biases": ({"network": {"bias_init": "zero"}}, "network.bias_init", "none where kind is 'mean_field'", "'zero'"),
    "standard": (
        {"grid": GRID | {"parametrization": "standard"}},
        "grid.parametrization",
        "mean_field or ntk where kind is 'mean_field'",
        "'standard'",
    ),
    "inputs": ({"inputs": {"points": 3}}, "", "without inputs where kind is 'mean_field'", "inputs"),
    "engine": ({"engine": "scalar"}, "engine", "dense (or auto) where kind is 'mean_field'", "'scalar'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        make_plan(kind="mean_field", **({"grid": GRID} | keys))
    text, where = str(caught.value), f"c.yaml: studies.s{path and '.' + path}: must be "
    assert text.startswith(where) and "\n" not in text
    said = text.removeprefix(where)
    assert must in said and was in said[said.index(must) + len(must) :], text


@pytest.mark.parametrize("kind", ["initialization", "first_step", "trajectory", "membership"])
def test_other_kinds_refuse_the_parametrization(kind, make_plan):
    keys = {"grid": GRID | {"depth": [1]}, "data": {}} if kind == "trajectory" else {"grid": GRID}
    with pytest.raises(ConfigError, match=f"ntk or standard where kind is '{kind}'.*'mean_field'"):
        make_plan(kind=kind, **keys)


def test_defaults_and_the_target():
    settings = MeanFieldConfig()
    assert (settings.train, settings.steps, settings.eta, settings.method) == (64, 1000, 0.02, "gd")
    assert settings.target == {1: 1.0, 2: 1.0, 4: 1.0}
    assert MeanFieldConfig(frequencies=[0, 3], amplitudes=[2.0, -1.0]).target == {0: 2.0, 3: -1.0}


def test_what_the_analysis_alone_reads_makes_no_new_draws(make_plan):
    plain, other = (
        make_plan(kind="mean_field", grid=GRID, mean_field=settings).studies["s"].cells[0]
        for settings in ({}, {"limit_angles": 64, "limit_amplitudes": 8, "directions": 3})
    )
    assert plain.text == other.text and plain.settings != other.settings


def test_the_cost_is_linear_in_the_width(make_plan):
    cells = make_plan(kind="mean_field", grid=GRID | {"width": [4096, 8192]}, seeds=8).studies["s"].cells
    assert cells[1].seconds - 3.0 == pytest.approx(2 * (cells[0].seconds - 3.0), rel=0.05)
