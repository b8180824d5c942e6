"""Settings of training: snapshots' steps, and for everything wrong one line with key path, must be and was."""

import pytest

from ntkpipe import config
from ntkpipe.config.train import RegimesConfig, TrainConfig
from ntkpipe.errors import ConfigError


def steps(**keys) -> tuple[int, ...]:
    return TrainConfig(**keys).snapshot_steps


def test_snapshots_in_log_steps():
    """0, then steps^(i/(snapshots - 2)) in whole steps; early ones that fall together are one."""
    assert steps(steps=1000, snapshots=5) == (0, 1, 10, 100, 1000)
    assert steps(steps=16, snapshots=6) == (0, 1, 2, 4, 8, 16)
    assert steps(steps=4) == (0, 1, 2, 3, 4)  # the default number of snapshots is no error of the user's
    written = TrainConfig(steps=4).model_dump()
    assert TrainConfig(**written) == TrainConfig(steps=4)  # nor in the config that a study writes down
    assert steps(steps=10, snapshots=11) == (0, 1, 2, 3, 4, 5, 6, 8, 10)  # 10^(i/9): 1, 1.3, 1.7, 2.2, 2.8, 3.6, ...
    assert steps(steps=7, snapshots=3) == (0, 1, 7)
    assert steps(steps=1, snapshots=2) == (0, 1)
    for count in (3, 5, 16, 40):
        found = steps(steps=1000, snapshots=count)
        assert found[0] == 0 and found[-1] == 1000 and len(found) <= count
        assert list(found) == sorted(set(found))


def test_two_snapshots_are_initialization_and_end():
    assert steps(steps=7, snapshots=2) == steps(steps=7, snapshots=2, spacing="linear") == (0, 7)


def test_snapshots_in_linear_steps():
    assert steps(steps=12, snapshots=5, spacing="linear") == (0, 3, 6, 9, 12)
    assert steps(steps=10, snapshots=4, spacing="linear") == (0, 3, 7, 10)
    assert steps(steps=4, snapshots=5, spacing="linear") == (0, 1, 2, 3, 4)


def test_snapshots_where_they_are_asked_for():
    assert steps(steps=100, at=[1, 7, 50]) == (0, 1, 7, 50)  # the run may end with the last of them
    assert steps(steps=100, at=100) == (0, 100)
    assert steps(steps=3, at=[3]) == (0, 3)  # the default number of snapshots is then without meaning
    written = TrainConfig(steps=9, at=[2, 3]).model_dump(mode="json")
    assert TrainConfig(**written) == TrainConfig(steps=9, at=[2, 3])  # nor is it an error where it is written down


def test_defaults():
    train = TrainConfig()
    assert (train.method, train.loss, train.steps) == ("gd", "half_sum", 1000)
    assert (train.eta, train.eta_unit) == (0.25, "critical")
    assert len(train.snapshot_steps) <= 16 and train.batch is None and not train.tensors
    assert (RegimesConfig().lazy, RegimesConfig().strong, RegimesConfig().loss) == ((0.1, 0.3), 1.0, 0.1)


STUDY = {"kind": "trajectory", "data": {"train": 4, "eval": 3, "frequencies": 1}}


def plan_one(make_plan, **keys):
    return make_plan(**{name: value for name, value in (STUDY | keys).items() if value is not None})


# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "strong below lazy": ({"regimes": {"lazy": [0.3, 2.0]}}, "regimes.lazy", "below strong = 1", "[0.3, 2.0]"),
    "lazy twice": ({"regimes": {"lazy": [0.1, 0.2, 0.1]}}, "regimes.lazy", "distinct values", "[0.1, 0.2, 0.1]"),
    "a ridge twice": ({"regimes": {"diag_reg": [1, 1.0]}}, "regimes.diag_reg", "distinct values", "[1.0, 1.0]"),
    "sgd without batch": ({"train": {"method": "sgd"}}, "train.batch", "given where the method of a cell", "none"),
    "batch without sgd": ({"train": {"batch": 2}}, "train.batch", "left out where the method of no cell is 'sgd'", "2"),
    "batch of flow": ({"train": {"method": "flow", "batch": 2}}, "train.batch", "left out where", "2"),
    "batch 0": ({"train": {"method": "sgd", "batch": 0}}, "train.batch", "at least 1", "0"),
    "batch too large": (
        {"train": {"method": "sgd", "batch": 5}},
        "train.batch",
        "at most data.train = 4",
        "5",
    ),
    "no data": ({"data": None}, "", "given data where kind is 'trajectory'", "none"),
    "inputs": ({"inputs": {"points": 3}}, "", "without inputs where kind is 'trajectory'", "inputs"),
    "keep": ({"keep": "moments"}, "", "given keep: full where kind is 'trajectory'", "'moments'"),
    "unknown key": ({"train": {"stps": 3}}, "train.stps", "did you mean 'steps'", "'stps'"),
    "sgd in the grid without batch": (
        {"grid": {"width": 4, "depth": 1, "method": ["gd", "sgd"]}},
        "train.batch",
        "given where the method of a cell is 'sgd'",
        "none",
    ),
    "batch where the grid has no sgd": (
        {"grid": {"width": 4, "depth": 1, "method": ["gd", "flow"]}, "train": {"method": "sgd", "batch": 2}},
        "train.batch",
        "left out where the method of no cell is 'sgd'",
        "2",
    ),
    "tolerance of the flow where none flows": (
        {"train": {"rtol": 1e-5}},
        "train.rtol",
        "left out where the method of no cell is 'flow'",
        "1e-05",
    ),
    "unknown method in the grid": (
        {"grid": {"width": 4, "depth": 1, "method": "adam"}},
        "grid.method",
        "'gd', 'sgd' or 'flow'",
        "'adam'",
    ),
    "method of another kind": (
        {"kind": "first_step", "data": None, "grid": {"width": 4, "depth": 1, "method": "gd"}},
        "",
        "without grid axis method unless kind is 'trajectory'",
        "method",
    ),
    "unknown method": ({"train": {"method": "adam"}}, "train.method", "'gd', 'sgd' or 'flow'", "'adam'"),
    "eta 0": ({"train": {"eta": 0}}, "train.eta", "greater than 0", "0"),
    "steps 0": ({"train": {"steps": 0}}, "train.steps", "at least 1", "0"),
    "one snapshot": ({"train": {"snapshots": 1}}, "train.snapshots", "at least 2", "1"),
    "more snapshots than steps": (
        {"train": {"steps": 3, "snapshots": 5}},
        "train.snapshots",
        "at most steps + 1 = 4",
        "5",
    ),
    "falling steps": ({"train": {"at": [4, 2]}}, "train.at", "rising steps", "[4, 2]"),
    "a step twice": ({"train": {"at": [2, 2]}}, "train.at", "rising steps", "[2, 2]"),
    "steps and a number of them": ({"train": {"at": [2, 6], "snapshots": 5}}, "train.snapshots", "left out", "5"),
    "steps and spacing": ({"train": {"at": [2, 6], "spacing": "linear"}}, "train.spacing", "left out", "linear"),
    "steps beyond the end": ({"train": {"steps": 5, "at": [2, 6]}}, "train.at", "up to steps = 5", "[2, 6]"),
    "initialization in at": ({"train": {"at": [0, 2]}}, "train.at.0", "at least 1", "0"),
    "share of the loss": ({"regimes": {"loss": 1.0}}, "regimes.loss", "less than 1", "1.0"),
    "engine": ({"engine": "matrix_free"}, "engine", "dense (or auto) where kind is 'trajectory'", "'matrix_free'"),
    "precision": ({"precision": "float32"}, "precision", "float64 where kind is 'trajectory'", "'float32'"),
    "step of another kind": ({"step": {"eta": 0.1}}, "", "without step unless kind is 'first_step'", "step"),
    "label of another kind": (
        {"grid": {"width": 4, "depth": 1, "label": 1.0}},
        "",
        "without grid axis label unless kind is 'first_step'",
        "label",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        plan_one(make_plan, **keys)
    text, where = str(caught.value), f"c.yaml: studies.s{path and '.' + path}: must be "
    assert text.startswith(where) and "\n" not in text
    said = text.removeprefix(where)
    assert must in said and was in said[said.index(must) + len(must) :], text


@pytest.mark.parametrize("key", ["data", "train", "regimes"])
@pytest.mark.parametrize("kind", ["initialization", "first_step"])
def test_settings_of_training_are_refused_elsewhere(study_tree, key, kind):
    for wrong in ({}, {"steps": 0, "loss": 7, "kind": "file"}, {"unknown": 1}, 3):  # whatever else is wrong with them
        with pytest.raises(
            ConfigError, match=f"without {key} unless kind is 'trajectory'(?: or 'infinite_width')?; it had {key}"
        ) as caught:
            config.parse(study_tree(kind=kind, **{key: wrong}))
        assert "\n" not in str(caught.value)


def test_the_grid_varies_the_step_size(make_plan):
    study = plan_one(make_plan, grid={"width": 4, "depth": 1, "eta": [0.1, 0.2]}, train={"loss": "mean"}).studies["s"]
    assert [(cell.settings.eta, cell.settings.loss) for cell in study.cells] == [(0.1, "mean"), (0.2, "mean")]
    assert [cell.coords["eta"] for cell in study.cells] == [0.1, 0.2]
    assert {cell.coords["eta_unit"] for cell in study.cells} == {"critical"}
    assert study.stream(study.cells[0]) == study.stream(study.cells[1])  # the same networks
    assert study.cells[0].text != study.cells[1].text
    assert {cell.engine for cell in study.cells} == {"dense"}


def test_the_grid_varies_the_method_on_the_same_networks(make_plan):
    """And a batch changes the cells of sgd alone: others keep their text, and with it their shards."""
    grid = {"width": 4, "depth": 1, "eta": [0.1, 0.2]}
    alone = plan_one(make_plan, grid=grid).studies["s"]
    study = plan_one(
        make_plan, grid=grid | {"method": ["gd", "flow", "sgd"]}, train={"method": "sgd", "batch": 2}
    ).studies["s"]
    assert {(c.coords["training"], c.settings.method, c.settings.batch) for c in study.cells} == {
        ("gd", "gd", None),
        ("flow", "flow", None),
        ("sgd", "sgd", 2),
    }
    assert len({study.stream(cell) for cell in study.cells}) == 1 and len({cell.text for cell in study.cells}) == 6
    assert [cell.text for cell in alone.cells] == [c.text for c in study.cells if c.settings.method == "gd"]
