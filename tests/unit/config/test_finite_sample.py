"""Settings of finite_sample studies: for everything wrong one line with key path, must be and was."""

import pytest

from ntkpipe.config.finite_sample import FiniteSampleConfig
from ntkpipe.errors import ConfigError

# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "signal beyond the modes": ({"finite_sample": {"modes": 3, "signal": 4}}, ".signal", "at most modes = 3", "4"),
    "few eval points": ({"finite_sample": {"modes": 6, "eval": 12}}, ".eval", "more than 2 modes = 12", "12"),
    "a whole omega": ({"finite_sample": {"omega": [1.5, 2.0]}}, ".omega", "without whole numbers", "[1.5, 2.0]"),
    "an omega twice": ({"finite_sample": {"omega": [1.5, 1.5]}}, ".omega", "distinct values", "[1.5, 1.5]"),
    "omega 0": ({"finite_sample": {"omega": 0.0}}, ".omega", "greater than 0", "0.0"),
    "few points": ({"finite_sample": {"train": 4}}, ".train", "at least 8", "4"),
    "points by name": ({"finite_sample": {"points": "random"}}, ".points", "'uniform' or 'equal'", "'random'"),
    "eta too large": ({"finite_sample": {"eta": 0.5}}, ".eta", "less than 0.5", "0.5"),
    "all fitted": ({"finite_sample": {"fitted": 1.0}}, ".fitted", "less than 1", "1.0"),
    "probability 0": ({"finite_sample": {"probability": 0.0}}, ".probability", "greater than 0", "0.0"),
    "negative noise": ({"finite_sample": {"noise": -1.0}}, ".noise", "at least 0", "-1.0"),
    "unknown key": ({"finite_sample": {"steps": 3}}, ".steps", "one of the keys", "'steps'"),
    "inputs": ({"inputs": {"points": 3}}, None, "without inputs where kind is 'finite_sample'", "inputs"),
    "keep": ({"keep": "spectra"}, None, "given keep: full where kind is 'finite_sample'", "'spectra'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        make_plan(kind="finite_sample", **keys)
    key = "" if path is None else f".finite_sample{path}"
    text, where = str(caught.value), f"c.yaml: studies.s{key}: must be "
    assert text.startswith(where) and "\n" not in text
    said = text.removeprefix(where)
    assert must in said and was in said[said.index(must) + len(must) :], text


def test_defaults():
    settings = FiniteSampleConfig()
    assert (settings.points, settings.train, settings.modes, settings.signal) == ("uniform", 64, 6, 1)
    assert (settings.omega, settings.noise, settings.fitted, settings.eta) == ((1.5, 2.25), 0.5, 0.1, 0.1)


def test_points_and_noise_are_axes(make_plan):
    grid = {"width": 16, "depth": 1, "train": [16, 32], "noise": [0.0, 0.5]}
    cells = make_plan(kind="finite_sample", grid=grid, seeds=8).studies["s"].cells
    assert [(c.settings.train, c.settings.noise) for c in cells] == [(16, 0.0), (16, 0.5), (32, 0.0), (32, 0.5)]
    assert [c.coords["train_points"] for c in cells] == [16, 16, 32, 32]


def test_what_the_analysis_alone_reads_makes_no_new_draws(make_plan):
    plain, other = (
        make_plan(kind="finite_sample", finite_sample=settings).studies["s"].cells[0]
        for settings in ({}, {"probability": 0.5})
    )
    assert plain.text == other.text and plain.settings != other.settings


def test_the_cost_grows_with_points_width_and_steps(make_plan):
    def seconds(width=256, **settings) -> float:
        keys = {"grid": {"width": width, "depth": 1}, "seeds": 64, "finite_sample": settings}
        return make_plan(kind="finite_sample", **keys).studies["s"].cells[0].seconds

    assert seconds(train=256) > seconds(train=64) > seconds(train=16)
    assert seconds(width=1024) > seconds()
    assert seconds(eta=0.01) > seconds()
