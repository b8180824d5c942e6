"""Settings of linear studies: for everything wrong one line with key path, must be and was."""

import pytest

from ntkpipe.config.linear import LinearConfig
from ntkpipe.errors import ConfigError

DEEP = {"width": 8, "depth": 1}
LINEAR = {"activation": "linear"}
# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "relu": ({"network": {}}, "network.activation", "linear where kind is 'linear'", "'relu'"),
    "relu in a grid": (
        {"grid": DEEP | {"activation": ["linear", "relu"]}},
        "grid.activation",
        "linear where kind is 'linear'",
        "['linear', 'relu']",
    ),
    "biases": ({"network": LINEAR | {"bias_init": "zero"}}, "network.bias_init", "none where", "'zero'"),
    "frozen": ({"network": LINEAR | {"readout": "frozen"}}, "network.readout", "trained where", "'frozen'"),
    "sigma_w": ({"network": LINEAR | {"sigma_w": 2.0}}, "network.sigma_w", "left out where", "2"),
    "sigma_v in a grid": ({"grid": DEEP | {"sigma_v": 2.0}}, "grid.sigma_v", "left out where", "[2.0]"),
    "narrow": ({"grid": {"width": 2, "depth": 1}}, "grid.width", "at least 3, the number of singular_values", "2"),
    "narrow layer": ({"grid": {"widths": [[8, 2]]}}, "grid.widths", "at least 3", "2"),
    "rising": ({"linear": {"singular_values": [1.0, 2.0]}}, "linear.singular_values", "falling", "[1.0, 2.0]"),
    "many": ({"linear": {"outputs": 2}}, "linear.singular_values", "at most outputs = 2 values", "[2.0, 1.0, 0.5]"),
    "mode_start": (
        {"linear": {"mode_start": 0.5}},
        "linear.mode_start",
        "below the smallest singular value 0.5",
        "0.5",
    ),
    "points twice": ({"linear": {"points": [4, 4]}}, "linear.points", "distinct values", "[4, 4]"),
    "condition": ({"linear": {"condition": 0.5}}, "linear.condition", "at least 1", "0.5"),
    "halvings": ({"linear": {"halvings": 2}}, "linear.halvings", "at least 3", "2"),
    "noise": ({"linear": {"noise": -1.0}}, "linear.noise", "at least 0", "-1.0"),
    "lazy": ({"linear": {"lazy": 1.0}}, "linear.lazy", "less than 1", "1.0"),
    "unknown key": ({"linear": {"dimension": 3}}, "linear.dimension", "one of the keys", "'dimension'"),
    "scale": ({"grid": DEEP | {"scale": 0.0}}, "grid.scale", "greater than 0", "0.0"),
    "inputs": ({"inputs": {"points": 3}}, "", "without inputs where kind is 'linear'", "inputs"),
    "keep": ({"keep": "moments"}, "", "given keep: full where kind is 'linear'", "'moments'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        make_plan(**({"kind": "linear", "grid": DEEP, "network": LINEAR} | keys))
    text, where = str(caught.value), f"c.yaml: studies.s{path and '.' + path}"
    assert text.startswith(where) and ": must be " in text and "\n" not in text
    said = text.split(": must be ", 1)[1]
    assert must in said and was in said[said.index(must) + len(must) :], text


def test_the_activation_may_come_from_the_grid(make_plan):
    assert make_plan(kind="linear", grid=DEEP | LINEAR).studies["s"].cells[0].network.activation == "linear"


def test_the_linear_model_has_no_width_to_be_too_narrow(make_plan):
    cells = make_plan(kind="linear", network=LINEAR, grid={"width": 1, "depth": 0}).studies["s"].cells
    assert [cell.network.depth for cell in cells] == [0]


def test_cells_of_other_scale_share_their_networks_and_the_reading_makes_no_new_draws(make_plan):
    def cells(**keys):
        return make_plan(kind="linear", network=LINEAR, **keys).studies["s"].cells

    small, large = cells(grid=DEEP | {"scale": [0.5, 2.0]})
    assert small.network_text == large.network_text and small.text != large.text
    assert [cell.coords["scale"] for cell in (small, large)] == [0.5, 2.0]
    (plain,), (other,) = (cells(grid=DEEP, linear=settings) for settings in ({}, {"lazy": 0.3}))
    assert plain.text == other.text and plain.settings != other.settings


def test_snapshots_are_those_of_a_schedule():
    assert LinearConfig(steps=10, at=[1, 5, 10]).snapshot_steps == (0, 1, 5, 10)
    steps = LinearConfig().snapshot_steps
    assert steps[0] == 0 and steps[-1] == LinearConfig().steps and steps == tuple(sorted(set(steps)))


def test_the_cost_grows_with_steps_width_and_points(make_plan):
    def seconds(depth=1, width=8, **settings) -> float:
        grid = {"width": width, "depth": depth}
        return (
            make_plan(kind="linear", network=LINEAR, grid=grid, seeds=8, linear=settings).studies["s"].cells[0].seconds
        )

    assert seconds() < seconds(steps=3000)
    assert seconds(width=64) < seconds(width=1024) < seconds(width=1024, depth=2)
    assert seconds(depth=0, points=[4]) < seconds(depth=0, points=[4, 8, 16])
