"""Configs: what is accepted, and for everything wrong an error with key path, must be and was."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from ntkpipe import config, kinds, plan
from ntkpipe.config.models import Model
from ntkpipe.errors import ConfigError

REPO = Path(config.__file__).parents[2]
TOO_WIDE = {"grid": {"width": 64, "depth": 1}, "engine": "dense", "execution": {"memory_gib": 0.01}}
NORMAL = {"network": {"bias_init": "normal"}}
TANH = {"network": {"activation": "tanh"}}

# name -> (keys of the study, key path, what it must be, what it was)
BAD = {
    "unknown key": ({"netwrk": {}}, "studies.s.netwrk", "(did you mean 'network'?)", "'netwrk'"),
    "unknown grid key": ({"grid": {"width": 4, "dpth": 1}}, "studies.s.grid.dpth", "did you mean 'depth'", "'dpth'"),
    "unknown key in a list of grids": (
        {"grid": [{"width": 4, "depth": 1}, {"width": 8, "dpth": 1}]},
        "studies.s.grid.1.dpth",
        "did you mean 'depth'",
        "'dpth'",
    ),
    "unknown inputs key": ({"inputs": {"nrom": 1.0}}, "studies.s.inputs.nrom", "did you mean 'norm'", "'nrom'"),
    "misspelt activation": (
        {"network": {"activation": "rellu"}},
        "studies.s.network.activation",
        "(did you mean 'relu'?)",
        "'rellu'",
    ),
    "misspelt activation on an axis": (
        {"grid": {"width": 4, "depth": 1, "activation": ["relu", "tnh"]}},
        "studies.s.grid.activation.1",
        "(did you mean 'tanh'?)",
        "'tnh'",
    ),
    "width 0": ({"grid": {"width": [4, 0], "depth": 1}}, "studies.s.grid.width.1", "at least 1", "0"),
    "width 0 in widths": ({"grid": {"widths": [[4, 0]]}}, "studies.s.grid.widths.0.1", "at least 1", "0"),
    "negative depth": ({"grid": {"width": 4, "depth": -1}}, "studies.s.grid.depth", "at least 0", "-1"),
    "fractional depth": ({"grid": {"width": 4, "depth": 2.5}}, "studies.s.grid.depth", "a whole number", "2.5"),
    "string for a whole number": ({"grid": {"width": "4", "depth": 1}}, "studies.s.grid.width", "a whole", "'4'"),
    "string for a number": ({"network": {"sigma_w": "1"}}, "studies.s.network.sigma_w", "a number", "'1'"),
    "truth for a number": ({"seeds": True}, "studies.s.seeds", "a whole number", "True"),
    "number for truth": ({"network": {"output_bias": 1}}, "studies.s.network.output_bias", "true or false", "1"),
    "nan": ({"network": {"sigma_w": float("nan")}}, "studies.s.network.sigma_w", "a finite number", "nan"),
    "infinite": ({"inputs": {"norm": float("inf")}}, "studies.s.inputs.norm", "a finite number", "inf"),
    "empty list of grids": ({"grid": []}, "studies.s.grid", "a list of at least 1", "[]"),
    "empty grid": ({"grid": {}}, "studies.s.grid", "a width", "it had none"),
    "empty axis": ({"grid": {"width": [], "depth": 1}}, "studies.s.grid.width", "a list of at least 1", "[]"),
    "empty widths": ({"grid": {"widths": []}}, "studies.s.grid.widths", "a list of at least 1", "[]"),
    "no depth": ({"grid": {"width": 4}}, "studies.s.grid", "depth or beta", "neither"),
    "depth and beta": ({"grid": {"width": 4, "depth": 1, "beta": 0.5}}, "studies.s.grid", "depth or beta", "both"),
    "width and widths": ({"grid": {"width": 4, "widths": [[4]]}}, "studies.s.grid", "either widths, or width", "both"),
    "max_depth alone": (
        {"grid": {"width": 4, "depth": 1, "max_depth": 3}},
        "studies.s.grid",
        "without max_depth unless beta",
        "max_depth alone",
    ),
    "beta rounds to nothing": (
        {"grid": {"width": [4, 8], "beta": [0.01]}},
        "studies.s.grid",
        "at least one cell",
        "less than one layer",
    ),
    "all betas beyond max_depth": (
        {"grid": {"width": 4, "beta": [2], "max_depth": 7}},
        "studies.s.grid",
        "at least one cell",
        "max_depth",
    ),
    "seeds 0": ({"seeds": 0}, "studies.s.seeds", "at least 1", "0"),
    "seed negative": ({"seed": -1}, "studies.s.seed", "at least 0", "-1"),
    "seed too large": ({"seed": 2**32}, "studies.s.seed", "less than 4294967296", "4294967296"),
    "unknown study kind": ({"kind": "training"}, "studies.s.kind", "'initialization'", "'training'"),
    "no mapping": ({"network": None}, "studies.s.network", "a mapping of keys", "None"),
    "scalar with tanh": (TANH | {"engine": "scalar"}, "studies.s.network.activation", "relu for engine", "'tanh'"),
    "exact with tanh": (TANH | {"engine": "exact"}, "studies.s.network.activation", "relu for engine", "'tanh'"),
    "scalar with normal biases": (
        NORMAL | {"engine": "scalar"},
        "studies.s.network.bias_init",
        "none or zero",
        "'normal'",
    ),
    "exact with normal biases": (
        NORMAL | {"engine": "exact"},
        "studies.s.network.bias_init",
        "none or zero",
        "'normal'",
    ),
    "scalar with several inputs": (
        {"inputs": {"points": 3}, "engine": "scalar"},
        "studies.s.inputs.points",
        "1 for engine scalar",
        "3",
    ),
    "exact with several inputs": (
        {"inputs": {"points": 3}, "engine": "exact"},
        "studies.s.inputs.points",
        "1 for engine exact",
        "3",
    ),
    "scalar in float32": ({"precision": "float32", "engine": "scalar"}, "studies.s.precision", "float64", "'float32'"),
    "guided dense": ({"sampling": "guided", "engine": "dense"}, "studies.s.engine", "scalar", "'dense'"),
    "guided with biases": (
        {"sampling": "guided", "network": {"bias_init": "zero"}},
        "studies.s.network.bias_init",
        "none where sampling is guided",
        "'zero'",
    ),
    "guided and narrow": (
        {"sampling": "guided", "grid": {"width": 3, "depth": 1}},
        "studies.s.grid.width",
        "at least 4",
        "3",
    ),
    "path without file": ({"inputs": {"path": "x.csv"}}, "studies.s.inputs", "kind is 'file'", "'x.csv'"),
    "file without path": ({"inputs": {"kind": "file"}}, "studies.s.inputs", "a path", "None"),
    "file with dim": (
        {"inputs": {"kind": "file", "path": "x.csv", "dim": 3}},
        "studies.s.inputs",
        "without dim and norm",
        "the file brings both",
    ),
    "circle in one dimension": (
        {"inputs": {"kind": "circle", "dim": 1}},
        "studies.s.inputs",
        "dim of at least 2",
        "dim was 1",
    ),
    "missing data file": (
        {"inputs": {"kind": "file", "path": "/nowhere/x.csv"}},
        "studies.s.inputs.path",
        "an existing data file",
        "'/nowhere/x.csv'",
    ),
    "duplicate cells in one axis": (
        {"grid": {"width": [4, 4], "depth": 1}},
        "studies.s.grid",
        "without duplicate cells",
        "width 4",
    ),
    "duplicate cells in two grids": (
        {"grid": [{"width": 4, "depth": [1, 2]}, {"width": 4, "beta": 0.5}]},
        "studies.s.grid.1",
        "without duplicate cells",
        "depth 2, width 4, which grid.0 has too",
    ),
    "auto is the engine it stands for": (
        {"grid": {"width": 4, "depth": 1, "engine": ["auto", "scalar"]}},
        "studies.s.grid",
        "without duplicate cells",
        "engine scalar",
    ),
    "several sigma_b without biases": (
        {"grid": {"width": 4, "depth": 1, "sigma_b": [0.1, 1.0]}},
        "studies.s.grid.sigma_b",
        "one value where bias_init is none",
        "[0.1, 1.0]",
    ),
    "several sigma_b without biases in one of two grids": (
        {
            "grid": [
                {"width": 4, "depth": 1, "bias_init": "zero", "sigma_b": [0.1, 1.0]},
                {"width": 4, "depth": 1, "sigma_b": [0.2, 2.0]},
            ]
        },
        "studies.s.grid.1.sigma_b",
        "one value where bias_init is none",
        "[0.2, 2.0]",
    ),
    "several sigma_b with and without biases": (
        {"grid": {"width": 4, "depth": 1, "bias_init": ["zero", "none"], "sigma_b": [0.1, 1.0]}},
        "studies.s.grid.sigma_b",
        "a grid of their own",
        "[0.1, 1.0]",
    ),
    "memory beyond the cap": (TOO_WIDE, "studies.s.grid", "fit in 0.01 GiB (execution.memory_gib)", "engine dense"),
    "memory beyond the machine": (
        {"grid": {"width": 10**10, "depth": 1}, "engine": "matrix_free"},
        "studies.s.grid",
        "GiB (execution.memory_gib)",
        "width 10000000000",
    ),
    "depth beyond bounds": ({"grid": {"width": 4, "depth": [10**9]}}, "studies.s.grid.depth.0", "at most 100000", "10"),
    "points beyond bounds": (
        {"inputs": {"points": 10**6, "dim": 10**6}},
        "studies.s.inputs",
        "at most 100000000 coordinates",
        "1000000000000",
    ),
    "scale beyond bounds": ({"network": {"sigma_b": 1e300}}, "studies.s.network.sigma_b", "at most 1e+100", "1e+300"),
    "GPUs beyond bounds": ({"execution": {"gpus": 65}}, "execution.gpus", "at most 64", "65"),
    "a folder that is an option": ({"results": "-out"}, "results", "does not begin with -", "'-out'"),
    "fits upside down": (
        {"fits": {"beta_min": 1.0, "beta_max": 0.5}},
        "studies.s.fits",
        "beta_min < beta_max",
        "1.0 and 0.5",
    ),
    "confidence 1": ({"tolerances": {"confidence": 1.0}}, "studies.s.tolerances.confidence", "less than 1", "1.0"),
    "execution": (
        {"execution": {"job_secnds": 1}},
        "execution.job_secnds",
        "did you mean 'job_seconds'",
        "'job_secnds'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named_with_path_must_and_was(name, make_plan):
    keys, path, must, was = BAD[name]
    with pytest.raises(ConfigError) as caught:
        make_plan(**keys)
    text = str(caught.value)
    assert text.startswith(f"c.yaml: {path}: must be ")
    said = text.removeprefix(f"c.yaml: {path}: must be ")
    assert must in said
    assert was in said[said.index(must) + len(must) :] or was in said.split("; ")[-1]
    assert "\n" not in text


def test_sigma_b_varies_where_there_are_biases(make_study):
    """And grids without biases beside it have theirs once."""
    grids = [
        {"width": 4, "depth": 1, "bias_init": ["zero", "normal"], "sigma_b": [0.1, 1.0]},
        {"width": 4, "depth": 1, "bias_init": "none", "sigma_b": 0.1},
    ]
    assert len(make_study(grid=grids).cells) == 5
    assert len(make_study(grid={"width": 4, "depth": 1, "sigma_b": [0.1, 1.0]}, **NORMAL).cells) == 2


@pytest.mark.parametrize(
    ("activation", "engine"),
    [(["relu", "tanh"], "scalar"), ("tanh", "exact")],
)
def test_an_axis_is_blamed_where_the_axis_is_wrong(make_plan, activation, engine):
    with pytest.raises(ConfigError, match=r"studies\.s\.grid\.activation: must be relu .*it was 'tanh'"):
        make_plan(grid={"width": 4, "depth": 1, "activation": activation}, engine=engine)


DATA = {
    "nan": ("1,2\n3,nan\n", "free of NaN and infinity", "nan in row 2, column 2"),
    "infinity": ("1,inf\n3,4\n", "free of NaN and infinity", "inf in row 1, column 2"),
    "words": ("1,2\n3,four\n", "a csv, npy or npz table of numbers", "x.csv"),
    "ragged": ("1,2\n3\n", "a csv, npy or npz table of numbers", "x.csv"),
    "zero row": ("1,2\n0,0\n", "points that are not zero", "x.csv with a zero row"),
}


@pytest.mark.parametrize("name", DATA)
def test_bad_data_file_is_named(name, make_plan, tmp_path):
    content, must, was = DATA[name]
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ConfigError) as caught:
        make_plan(inputs={"kind": "file", "path": str(tmp_path / "x.csv")})
    text = str(caught.value)
    assert text.startswith("c.yaml: studies.s.inputs.path: must be ")
    assert must in text and was in text.split("; it was ")[-1]


def test_too_many_points_of_a_file(make_plan, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    with pytest.raises(ConfigError, match=r"studies\.s\.inputs\.points: must be at most the 3 rows of .*; it was 4"):
        make_plan(inputs={"kind": "file", "path": str(tmp_path / "x.npy"), "points": 4})


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (None, "c.yaml: must be a mapping of keys; it was None"),
        ([1], "c.yaml: must be a mapping of keys; it was [1]"),
        ({}, "c.yaml: studies: must be given"),
        ({"studies": None}, "c.yaml: studies: must be a mapping of keys; it was None"),
        ({"studies": [1]}, "c.yaml: studies: must be a mapping of keys; it was [1]"),
        ({"studies": {"s": {"seeds": 1, "kind": "initialization"}}}, "c.yaml: studies.s.grid: must be given"),
    ],
)
def test_trees_that_are_no_config(tree, text):
    with pytest.raises(ConfigError) as caught:
        config.parse(tree, "c.yaml")
    assert str(caught.value) == text


def test_empty_studies():
    with pytest.raises(ConfigError, match=r"c\.yaml: studies: must be a (mapping|list) of at least 1.*; it was {}"):
        config.parse({"studies": {}}, "c.yaml")


@pytest.mark.parametrize(
    ("names", "said"),
    [(["a" * 101], "at most 100 letters; one had 101"), (["Wide", "wide"], "no case.; two were 'Wide' and 'wide'")],
)
def test_study_names_that_are_no_folders_everywhere(names, said, study_tree):
    with pytest.raises(ConfigError, match=f"c.yaml: studies: must be named .*{said}"):
        config.parse({"studies": dict.fromkeys(names, study_tree()["studies"]["s"])}, "c.yaml")


@pytest.mark.parametrize("name", ["report", "Report", "all", "a/b", "a b", "é", ""])
def test_study_names_that_are_no_folder_names(name, study_tree):
    with pytest.raises(ConfigError, match="studies: must be named with letters"):
        config.parse({"studies": {name: study_tree()["studies"]["s"]}}, "c.yaml")


def _load(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config.load(path)


STUDY = "kind: initialization, grid: {width: 4, depth: 1}, seeds: 10"


def test_duplicate_key_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"c\.yaml: must be valid YAML; it was .*key .?'seeds.?' is given twice.*line 1"
    ):
        _load(tmp_path, f"studies: {{s: {{{STUDY}, seeds: 20}}}}")


def test_duplicate_study_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"key .?'s.?' is given twice.*line 3"):
        _load(tmp_path, f"studies:\n  s: {{{STUDY}}}\n  s: {{{STUDY}}}\n")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: must be a readable config file; it was 'No such file"):
        config.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("studies: {s: [", id="unclosed"),
        pytest.param("? [a, b]\n: 3\n", id="key that is a list"),
        pytest.param(b"title: \xff\xfe\n", id="not utf-8"),
    ],
)
def test_what_is_no_yaml_is_one_line(text, tmp_path):
    with pytest.raises(ConfigError, match=r"c\.yaml: must be .*; it was ") as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


NESTED = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize("key", ["results", "execution", "studies", "title"])
def test_values_of_ten_billion_are_told_in_short(key, study_tree):
    tree = study_tree() | {key: yaml.safe_load(NESTED)["x9"]}
    with pytest.raises(ConfigError) as caught:
        config.parse(tree, "c.yaml")
    text = str(caught.value)
    assert text.startswith(f"c.yaml: {key}: must be ") and "; it was [[[[...], " in text and len(text) < 500


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 3000, "YAML of fewer levels"), (f"seeds: {'9' * 5000}", "valid YAML"), ("a: 2001-99-99", "valid YAML")],
)
def test_what_yaml_cannot_hold_is_one_line(text, said, tmp_path):
    with pytest.raises(ConfigError, match=rf"c\.yaml: must be {said}.*; it was "):
        _load(tmp_path, text)


def test_a_number_of_thousands_of_digits_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"seeds: must be .*; it was a number of 4817 digits"):
        _load(tmp_path, f"studies: {{s: {{{STUDY.replace('10', '0x1' + '0' * 4000)}}}}}")


def test_anchors_and_merge_keys_are_plain_yaml(tmp_path):
    loaded = _load(tmp_path, f"studies:\n  a: &a {{{STUDY}}}\n  b:\n    <<: *a\n    seed: 7\n")
    assert (loaded.studies["b"].seeds, loaded.studies["b"].seed) == (10, 7)


def test_a_single_value_stands_for_a_list_of_one(study_tree):
    one = config.parse(study_tree(grid={"width": 4, "depth": 1}))
    many = config.parse(study_tree(grid=[{"width": [4], "depth": [1]}]))
    assert one == many


def test_config_is_frozen_and_survives_its_own_dump(study_tree, tmp_path):
    first = config.parse(study_tree(grid=[{"width": [4, 8], "beta": [0.5, 1], "bias_init": ["none", "zero"]}]))
    with pytest.raises(Exception, match="frozen"):
        first.title = "other"
    again = _load(tmp_path, yaml.safe_dump(first.model_dump(mode="json", exclude_none=True)))
    assert again == first
    assert [c.text for c in plan.make(again).studies["s"].cells] == [
        c.text for c in plan.make(first).studies["s"].cells
    ]


def test_the_example_of_the_readme_can_be_planned(tmp_path):
    text = (REPO / "README.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    plan.make(_load(tmp_path, f"results: {tmp_path}\n{example}"))
    assert [kind for kind in kinds.NAMES if f"| `{kind}` |" not in text] == []


def test_the_default_config_has_every_kind():
    studies = config.load(REPO / "config/config.yaml").studies
    assert {study.kind for study in studies.values()} == set(kinds.NAMES)


@pytest.mark.parametrize("path", sorted((REPO / "config/thesis").glob("*.yaml")), ids=lambda path: path.stem)
def test_full_size_configs_are_right(path):
    config.load(path)


def test_every_key_is_documented():
    text = config.document_keys()
    for model in (config.StudyConfig, config.GridConfig, config.NetworkConfig, config.InputsConfig):
        for name, field in model.model_fields.items():
            assert f"| `{name}` |" in text
            assert field.description or isinstance(field.default, Model), f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        ({"seeds": "1e5"}, "seeds: must be a whole number (in YAML 100000); it was '1e5'"),
        ({"network": {"sigma_b": "1e-3"}}, "sigma_b: must be a number (in YAML 1.0e-03); it was '1e-3'"),
        (
            {"execution": {"memory_gib": "1e400"}},
            "memory_gib: must be a number within -1.8e+308 and 1.8e+308; it was '1e400'",
        ),
        ({"seeds": "many"}, "seeds: must be a whole number; it was 'many'"),
    ],
)
def test_numbers_that_yaml_reads_as_text_are_shown_as_yaml_wants_them(study_tree, keys, hint):
    with pytest.raises(ConfigError) as error:
        config.parse(study_tree(**keys))
    assert hint in str(error.value)
