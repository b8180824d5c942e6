"""Settings of membership studies: for everything wrong one line with key path, must be and was."""

import pytest

from ntkpipe import config
from ntkpipe.config.membership import MembershipConfig
from ntkpipe.errors import ConfigError

# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "two sizes": ({"membership": {"points": [8, 16]}}, "membership.points", "at least 3 numbers of points", "[8, 16]"),
    "no divisor": ({"membership": {"points": [8, 16, 40]}}, "membership.points", "each divides the next", "40]"),
    "falling": ({"membership": {"points": [32, 16, 8]}}, "membership.points", "each divides the next", "[32, 16, 8]"),
    "few points": ({"membership": {"points": [4, 8, 16]}}, "membership.points.0", "at least 8", "4"),
    "few train points": ({"membership": {"train": 4}}, "membership.train", "at least 8", "4"),
    "a target twice": (
        {"membership": {"targets": ["odd", "odd"]}},
        "membership.targets",
        "distinct values",
        "['odd', 'odd']",
    ),
    "a ridge twice": ({"membership": {"diag_reg": [0.0, 0]}}, "membership.diag_reg", "distinct values", "[0.0, 0.0]"),
    "unknown target": (
        {"membership": {"targets": "even"}},
        "membership.targets",
        "'smooth', 'odd' or 'step'",
        "'even'",
    ),
    "unknown key": ({"membership": {"sizes": 3}}, "membership.sizes", "one of the keys", "'sizes'"),
    "eta 0": ({"membership": {"eta": 0}}, "membership.eta", "greater than 0", "0"),
    "negative ridge": ({"membership": {"diag_reg": [-1.0]}}, "membership.diag_reg.0", "at least 0", "-1.0"),
    "inputs": ({"inputs": {"points": 3}}, "", "without inputs where kind is 'membership'", "inputs"),
    "keep": ({"keep": "moments"}, "", "given keep: full where kind is 'membership'", "'moments'"),
    "engine": ({"engine": "scalar"}, "engine", "dense (or auto) where kind is 'membership'", "'scalar'"),
    "data": ({"data": {}}, "", "without data unless kind is 'trajectory'", "data"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        make_plan(kind="membership", **keys)
    text, where = str(caught.value), f"c.yaml: studies.s{path and '.' + path}: must be "
    assert text.startswith(where) and "\n" not in text
    said = text.removeprefix(where)
    assert must in said and was in said[said.index(must) + len(must) :], text


def test_defaults():
    settings = MembershipConfig()
    assert settings.targets == ("smooth", "odd", "step") and settings.points == (8, 16, 32, 64, 128)
    assert (settings.train, settings.steps, settings.eta, settings.diag_reg) == (64, 200, 0.5, (0.0, 1e-3))


def test_settings_of_membership_are_refused_elsewhere(study_tree):
    for wrong in ({}, {"points": [8, 16]}, {"piont": 3}):  # whatever else is wrong with them
        with pytest.raises(ConfigError, match=r"studies\.s: must be without membership unless kind is 'membership'"):
            config.parse(study_tree(membership=wrong))


def test_cells_of_other_settings_draw_the_same_networks(make_plan):
    cells = [
        make_plan(kind="membership", membership={"points": points, "steps": 5}).studies["s"]
        for points in ([8, 16, 32], [8, 16, 32, 64])
    ]
    assert cells[0].cells[0].text != cells[1].cells[0].text
    assert [study.cells[0].n_inputs for study in cells] == [32, 64]
    assert {cell.engine for study in cells for cell in study.cells} == {"dense"}


def test_what_the_analysis_alone_reads_makes_no_new_draws(make_plan):
    plain, other = (
        make_plan(kind="membership", membership=settings).studies["s"].cells[0]
        for settings in ({}, {"diag_reg": [0.1], "bounded": 0.3})
    )
    assert plain.text == other.text and plain.settings != other.settings


def test_the_cost_grows_with_steps_targets_and_points(make_plan):
    def seconds(**settings) -> float:
        grid = {"width": 256, "depth": 2}
        return make_plan(kind="membership", grid=grid, seeds=8, membership=settings).studies["s"].cells[0].seconds

    assert seconds() > seconds(steps=50) > seconds(steps=50, targets=["odd"]) > 3.0
    assert seconds(points=[64, 128, 512]) > seconds(points=[8, 16, 32])
