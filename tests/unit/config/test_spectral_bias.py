"""Settings of spectral_bias studies: for everything wrong one line with key path, must be and was."""

import pytest

from ntkpipe import config
from ntkpipe.config.spectral_bias import SpectralBiasConfig
from ntkpipe.errors import ConfigError

NORMAL = {"network": {"bias_init": "normal"}}


def own(**settings) -> dict:
    return {**NORMAL, "spectral_bias": settings}


# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "aliasing": (
        own(frequencies=[1, 8]),
        "spectral_bias.points",
        "more than twice the highest frequency 8, as higher ones look like lower ones",
        "16",
    ),
    "few points": (own(points=4), "spectral_bias.points", "at least 8", "4"),
    "one frequency": (own(frequencies=3), "spectral_bias.frequencies", "at least 2 frequencies", "[3]"),
    "falling": (own(frequencies=[3, 2]), "spectral_bias.frequencies", "a rising list", "[3, 2]"),
    "frequency 0": (own(frequencies=[0, 1]), "spectral_bias.frequencies.0", "at least 1", "0"),
    "radii": (own(radii=[0.1, 0.1]), "spectral_bias.radii", "a rising list", "[0.1, 0.1]"),
    "a target twice": (own(targets=["equal", "equal"]), "spectral_bias.targets", "distinct", "['equal', 'equal']"),
    "unknown target": (own(targets="falling"), "spectral_bias.targets", "'equal', 'rising' or 'given'", "'falling'"),
    "no amplitudes": (own(targets="given"), "spectral_bias.amplitudes", "exactly where targets has 'given'", "none"),
    "amplitudes for none": (own(amplitudes=[1.0]), "spectral_bias.amplitudes", "exactly where targets", "[1.0]"),
    "few amplitudes": (
        own(targets="given", amplitudes=[1.0]),
        "spectral_bias.amplitudes",
        "5 numbers, one for each frequency",
        "[1.0]",
    ),
    "few phases": (own(phases=[0.0, 1.0]), "spectral_bias.phases", "5 numbers, one for each", "[0.0, 1.0]"),
    "share": (own(share=1.0), "spectral_bias.share", "less than 1", "1.0"),
    "snapshots": (own(steps=10, snapshots=20), "spectral_bias.snapshots", "at most steps + 1 = 11", "20"),
    "no directions": (own(directions=0), "spectral_bias.directions", "at least 1", "0"),
    "unknown key": (own(frequency=[1]), "spectral_bias.frequency", "did you mean 'frequencies'?", "'frequency'"),
    "no biases": ({}, "network.bias_init", "normal where kind is 'spectral_bias' (inputs are numbers", "'none'"),
    "zero biases": (
        {"grid": {"width": 4, "depth": 1, "bias_init": ["normal", "zero"]}},
        "grid.bias_init",
        "without random biases no unit has a kink among them and K_0 has rank 2",
        "'zero'",
    ),
    "inputs": ({**NORMAL, "inputs": {"points": 3}}, "", "without inputs where kind is 'spectral_bias'", "inputs"),
    "keep": ({**NORMAL, "keep": "moments"}, "", "given keep: full where kind is 'spectral_bias'", "'moments'"),
    "engine": ({**NORMAL, "engine": "scalar"}, "engine", "dense (or auto) where kind", "'scalar'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        make_plan(kind="spectral_bias", **keys)
    text, where = str(caught.value), f"c.yaml: studies.s{path and '.' + path}: must be "
    assert text.startswith(where) and "\n" not in text, text
    said = text.removeprefix(where)
    assert must in said and was in said[said.index(must) :], text


def test_defaults_and_a_grid_that_brings_its_biases(make_plan):
    settings = SpectralBiasConfig()
    assert settings.frequencies == (1, 2, 3, 4, 5) and settings.targets == ("equal", "rising")
    assert (settings.points, settings.eta, settings.steps, settings.share) == (16, 0.25, 4000, 0.5)
    assert settings.snapshot_steps[0] == 0 and settings.snapshot_steps[-1] == 4000
    grid = {"width": 4, "depth": 1, "bias_init": "normal"}
    study = make_plan(kind="spectral_bias", grid=grid).studies["s"]
    assert [cell.network.input_dim for cell in study.cells] == [1] and study.cells[0].n_inputs == 16
    assert {cell.engine for cell in study.cells} == {"dense"}


def test_settings_of_spectral_bias_are_refused_elsewhere(study_tree):
    with pytest.raises(ConfigError, match=r"must be without spectral_bias unless kind is 'spectral_bias'"):
        config.parse(study_tree(spectral_bias={"points": 3}))


def test_what_the_analysis_alone_reads_makes_no_new_draws(make_plan):
    plain, other, more = (
        make_plan(kind="spectral_bias", **own(**settings)).studies["s"].cells[0]
        for settings in ({}, {"share": 0.9}, {"directions": 9})
    )
    assert plain.text == other.text != more.text and plain.settings != other.settings


def test_cells_of_other_step_sizes_draw_the_same_networks(make_plan):
    grid = {"width": 4, "depth": 1, "eta": [0.1, 0.2]}
    cells = make_plan(kind="spectral_bias", grid=grid, **NORMAL).studies["s"].cells
    assert cells[0].text != cells[1].text and cells[0].network_text == cells[1].network_text


def test_the_cost_grows_with_steps_targets_points_and_directions(make_plan):
    def seconds(**settings) -> float:
        grid = {"width": 128, "depth": 2}
        return make_plan(kind="spectral_bias", grid=grid, seeds=8, **own(**settings)).studies["s"].cells[0].seconds

    assert seconds() > seconds(steps=1000) > seconds(steps=1000, targets="equal") > 3.0
    assert seconds(points=32) > seconds() and seconds(directions=64) > seconds()
