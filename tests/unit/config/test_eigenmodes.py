"""Settings of eigenmodes studies: for everything wrong one line with key path, must be and was."""

import pytest

from ntkpipe import config
from ntkpipe.config.eigenmodes import EigenmodesConfig
from ntkpipe.errors import ConfigError


def of(**keys):
    return {"eigenmodes": keys}


# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "unknown density": (of(density="normal:2"), "eigenmodes.density", "uniform, halves:RATIO", "'normal:2'"),
    "no parameter": (of(density="halves"), "eigenmodes.density", "uniform, halves:RATIO", "'halves'"),
    "negative density": (of(density="cosine:1.5"), "eigenmodes.density", "a must lie in [-1, 1]", "'cosine:1.5'"),
    "no number": (of(density="von_mises:x"), "eigenmodes.density", "von_mises with a number", "'von_mises:x'"),
    "density of a grid": (
        {"grid": {"width": 8, "depth": 1, "density": ["uniform", "halves:0"]}},
        "grid.density",
        "ratio must be positive",
        "'halves:0'",
    ),
    "no file": (of(density="none.csv"), "eigenmodes.density", "a file with the columns theta and weight", "'none.csv'"),
    "a frequency twice": (of(frequencies=[1, 1]), "eigenmodes.frequencies", "distinct values", "[1, 1]"),
    "frequency 0": (of(frequencies=[0]), "eigenmodes.frequencies.0", "at least 1", "0"),
    "few modes": (of(frequencies=[9], modes=8), "eigenmodes.modes", "at least 9", "8"),
    "few points": (of(train=24), "eigenmodes.train", "more than 2 modes = 24", "24"),
    "few points of a grid": (
        {"grid": {"width": 8, "depth": 1, "train": [64, 16]}},
        "grid.train",
        "more than 2 modes = 24",
        "16",
    ),
    "held-out points among the others": (of(train=256), "eigenmodes.train", "divisible by another power of 2", "256"),
    "held-out points among those of halves that are equal": (
        of(train=256, density="halves:1"),
        "eigenmodes.train",
        "divisible by another power of 2",
        "256",
    ),
    "held-out points among those of a grid": (
        {"grid": {"width": 8, "depth": 1, "density": ["halves:4", "uniform"], "train": [64, 256]}},
        "grid.train",
        "divisible by another power of 2",
        "256",
    ),
    "a density too narrow": (of(density="von_mises:1e6"), "eigenmodes.density", "wide enough for 25", "1000000"),
    "a density too narrow of a grid": (
        {"grid": {"width": 8, "depth": 1, "density": ["uniform", "von_mises:1e6"]}},
        "grid.0.density",
        "wide enough for 25",
        "1000000",
    ),
    "a density too uneven": (of(density="halves:1e300"), "eigenmodes.density", "ratio from 1e-06 to 1e+06", "1e+300"),
    "few held-out points": (of(evaluate=8, train=60), "eigenmodes.evaluate", "more than 2 modes = 24", "8"),
    "share": (of(share=1.0), "eigenmodes.share", "less than 1", "1.0"),
    "one kernel": (of(kernels=1), "eigenmodes.kernels", "at least 2", "1"),
    "scale": (of(scale=0), "eigenmodes.scale", "greater than 0", "0"),
    "centred": (of(centred=1), "eigenmodes.centred", "true or false", "1"),
    "unknown key": (of(frequency=3), "eigenmodes.frequency", "one of the keys", "'frequency'"),
    "inputs": ({"inputs": {"points": 3}}, "", "without inputs where kind is 'eigenmodes'", "inputs"),
    "keep": ({"keep": "moments"}, "", "given keep: full where kind is 'eigenmodes'", "'moments'"),
    "engine": ({"engine": "scalar"}, "engine", "dense (or auto) where kind is 'eigenmodes'", "'scalar'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        make_plan(kind="eigenmodes", **keys)
    text, where = str(caught.value), f"c.yaml: studies.s{path and '.' + path}: must be "
    assert text.startswith(where) and "\n" not in text, text
    said = text.removeprefix(where)
    assert must in said and was in said[said.index(must) + len(must) :], text


def test_a_density_has_one_text(make_plan):
    settings = {"frequencies": [1], "modes": 2}
    grid = {"width": 8, "depth": 1, "density": ["halves:4.0", "cosine:0.50", "von_mises:1e1", "uniform"]}
    cells = make_plan(kind="eigenmodes", grid=grid, eigenmodes=settings).studies["s"].cells
    assert [cell.settings.density for cell in cells] == ["halves:4", "cosine:0.5", "von_mises:10", "uniform"]
    with pytest.raises(ConfigError, match="duplicate"):
        make_plan(kind="eigenmodes", grid=grid | {"density": ["halves:4", "halves:4.0"]}, eigenmodes=settings)


def test_any_number_of_points_goes_with_densities_that_are_not_uniform(make_plan):
    """Under the uniform density held-out angles would be train points; a grid without it does not care."""
    grid = {"width": 8, "depth": 1, "density": "halves:4"}
    assert make_plan(kind="eigenmodes", grid=grid, eigenmodes={"train": 64, "evaluate": 64}).studies["s"].cells


def test_a_narrow_density_is_allowed_where_its_eigenfunctions_are_reached(make_plan):
    settings = {"density": "von_mises:100", "frequencies": [1], "modes": 2}
    assert make_plan(kind="eigenmodes", eigenmodes=settings).studies["s"].cells


def test_defaults_and_snapshots_of_kernels():
    settings = EigenmodesConfig()
    assert (settings.density, settings.train, settings.evaluate, settings.eta) == ("uniform", 64, 256, 0.5)
    assert settings.kernel_snapshots[0] == 0 and settings.kernel_snapshots[-1] == len(settings.snapshot_steps) - 1
    assert len(settings.kernel_snapshots) == 8
    assert EigenmodesConfig(steps=2, snapshots=3).kernel_snapshots == (0, 1, 2)


def test_settings_are_refused_elsewhere(study_tree):
    with pytest.raises(ConfigError, match=r"without eigenmodes unless kind is 'eigenmodes'"):
        config.parse(study_tree(eigenmodes={"train": 64}))


def test_cells_of_other_densities_train_the_same_networks(make_plan):
    grid = {"width": 8, "depth": 1, "density": ["uniform", "halves:4"], "train": [32, 64], "scale": [0.1, 1.0]}
    cells = make_plan(kind="eigenmodes", grid=grid).studies["s"].cells
    assert len(cells) == 8 and len({cell.text for cell in cells}) == 8
    assert len({cell.network_text for cell in cells}) == 1


def test_a_density_s_file_is_part_of_what_draws_depend_on(make_plan, tmp_path):
    path = tmp_path / "p.csv"
    texts = []
    for last in (2, 3):
        path.write_text(f"theta,weight\n0,1\n3,{last}\n")
        study = make_plan(kind="eigenmodes", eigenmodes={"density": str(path)}).studies["s"]
        texts.append(study.cells[0].text)
    assert texts[0] != texts[1]


def test_what_the_analysis_alone_reads_makes_no_new_draws(make_plan):
    plain, other = (
        make_plan(kind="eigenmodes", eigenmodes=settings).studies["s"].cells[0]
        for settings in ({}, {"modes": 8, "share": 0.3})
    )
    assert plain.text == other.text and plain.settings != other.settings


def test_the_cost_grows_with_steps_frequencies_and_width(make_plan):
    def seconds(width=256, **settings) -> float:
        grid = {"width": width, "depth": 1}
        return make_plan(kind="eigenmodes", grid=grid, seeds=8, eigenmodes=settings).studies["s"].cells[0].seconds

    assert seconds(width=512) > seconds() > seconds(steps=100) > seconds(steps=100, frequencies=[1]) > 3.0
