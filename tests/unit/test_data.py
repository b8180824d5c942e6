"""The data of a training study: targets to the digit, noise, splits, files, and errors that name their key."""

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import zarr
from pydantic import ValidationError
from scipy import stats

from ntkpipe import angles, data, tabular
from ntkpipe.config.data import DataConfig
from ntkpipe.config.errors import first_error
from ntkpipe.config.models import Model
from ntkpipe.errors import ConfigError


def _same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("x_train", "y_train", "x_eval", "y_eval")
    )


# Points


def test_circle_has_equal_angles_and_evaluates_halfway():
    d = data.make(DataConfig(train=4, eval=4, frequencies=[1], dim=3, norm=2.0), 0)
    np.testing.assert_allclose(d.x_train, 2 * np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]), atol=1e-15)
    np.testing.assert_allclose(angles.of(d.x_eval), np.pi / 4 + np.pi / 2 * np.arange(4), rtol=1e-15)


@pytest.mark.parametrize(("n", "m"), [(16, 16), (16, 8), (16, 24), (16, 32), (15, 16)])
def test_evaluation_angles_keep_as_far_from_train_angles_as_their_numbers_allow(n, m):
    d = data.make(DataConfig(train=n, eval=m), 0)
    train, evaluate = angles.of(d.x_train), angles.of(d.x_eval)
    np.testing.assert_allclose(np.diff(evaluate), 2 * np.pi / m, rtol=1e-12)
    apart = np.abs(np.angle(np.exp(1j * (evaluate[:, None] - train))))
    assert apart.min() == pytest.approx(np.pi / math.lcm(n, m), rel=1e-10)


def test_uniform_angles_are_uniform_on_train_points_alone():
    config = DataConfig(train=4000, eval=8, angles="uniform")
    d = data.make(config, 0)
    assert stats.kstest(angles.of(d.x_train), stats.uniform(0, 2 * np.pi).cdf).pvalue > 1e-3  # fixed seed
    np.testing.assert_allclose(np.diff(angles.of(d.x_eval)), np.pi / 4, rtol=1e-12)
    assert not np.allclose(d.x_train, data.make(config, 1).x_train)


def test_sphere_and_gaussian_have_their_laws():
    sphere = data.make(DataConfig(kind="sphere", dim=3, norm=2.0, train=4000, eval=2000), 0)
    gaussian = data.make(DataConfig(kind="gaussian", dim=3, train=4000, eval=2000), 0)
    for x in (sphere.x_train, sphere.x_eval):
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 2, rtol=1e-15)
        assert stats.kstest(x[:, 0], stats.uniform(-2, 4).cdf).pvalue > 1e-3  # Archimedes
    for x in (gaussian.x_train, gaussian.x_eval):
        assert stats.kstest(x.ravel(), stats.norm.cdf).pvalue > 1e-3
        assert abs(np.corrcoef(x.T)[0, 1]) < 4 / math.sqrt(len(x))
    assert not np.isin(sphere.x_eval, sphere.x_train).any()


@pytest.mark.parametrize("kind", ["sphere", "gaussian"])
def test_default_dimensions_and_sizes(kind):
    d = data.make(DataConfig(kind=kind), 0)
    assert d.x_train.shape == d.x_eval.shape == (64, 10)
    assert data.make(DataConfig(), 0).x_train.shape == (64, 2)


# Targets


def test_fourier_target_to_the_digit():
    config = DataConfig(train=8, eval=8, frequencies=[0, 1, 3], amplitudes=[0.5, 2.0, -1.0], phases=[0.0, 0.25, 1.0])
    d = data.make(config, 0)
    for x, y in ((d.x_train, d.y_train), (d.x_eval, d.y_eval)):
        t = angles.of(x)
        np.testing.assert_allclose(y, 0.5 + 2 * np.cos(t + 0.25) - np.cos(3 * t + 1), atol=1e-14)
    assert d.modes == ((0, 1, 3), (0.5, 2.0, -1.0), (0.0, 0.25, 1.0))


def test_fourier_defaults_are_unit_cosines():
    d = data.make(DataConfig(train=16, eval=16), 0)
    assert d.modes == ((1, 2, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    assert d.y_train[0] == 3.0
    assert d.y_train[8] == pytest.approx(1.0, abs=1e-14)  # cos pi + cos 2 pi + cos 4 pi


def test_product_target_is_the_product_of_two_coordinates():
    d = data.make(DataConfig(kind="gaussian", dim=5, target="product"), 3)
    np.testing.assert_array_equal(d.y_train, d.x_train[:, 0] * d.x_train[:, 1])
    np.testing.assert_array_equal(d.y_eval, d.x_eval[:, 0] * d.x_eval[:, 1])
    circle = data.make(DataConfig(target="product", norm=2.0), 0)
    np.testing.assert_allclose(circle.y_eval, 2 * np.sin(2 * angles.of(circle.x_eval)), atol=1e-14)
    assert d.modes is circle.modes is None


def test_teacher_is_the_relu_network_of_its_stream():
    x, widths = np.random.default_rng(0).standard_normal((6, 3)), (5, 4)
    rng = np.random.default_rng(7)
    h = x.T
    for width in widths:
        h = np.maximum(rng.standard_normal((width, len(h))) * np.sqrt(2 / len(h)) @ h, 0)
    expected = rng.standard_normal((1, len(h))) / np.sqrt(len(h)) @ h
    np.testing.assert_allclose(data.teacher(x, widths, np.random.default_rng(7)), expected[0], rtol=1e-12, atol=1e-14)


def test_teacher_has_the_scale_of_he():
    x = np.full((1, 4), 0.5)  # |x| = 1
    draws = [data.teacher(x, (50, 50), np.random.default_rng(i))[0] ** 2 for i in range(1000)]
    # E f^2 = |x|^2/n_0; Var f^2/(E f^2)^2 is 3 (1 + 5/50)^2 - 1 = 2.6
    assert np.mean(draws) == pytest.approx(1 / 4, abs=4 * 0.25 * math.sqrt(2.6 / 1000))


@pytest.mark.parametrize("kind", ["circle", "sphere", "gaussian"])
def test_teacher_has_unit_variance_over_all_points(kind):
    d = data.make(DataConfig(kind=kind, target="teacher", teacher_widths=[8, 8], train=20, eval=7), 1)
    assert np.concatenate([d.y_train, d.y_eval]).std() == pytest.approx(1, rel=1e-12)
    ratio = d.y_eval / data.teacher(d.x_eval, (8, 8), data._stream(1, "teacher"))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-10)  # one network on all points, up to one scale


def test_constant_teacher_is_refused():
    config = DataConfig(kind="sphere", dim=1, teacher_widths=[1], train=1, eval=1)
    seeds = [
        seed for seed in range(40) if data._stream(seed, "train").normal() * data._stream(seed, "eval").normal() > 0
    ]
    with pytest.raises(ConfigError, match=r"^s\.data\.teacher_widths: must be wide enough .*; it was \[1\]$"):
        data.make(config, seeds[0], "s.data")  # twice the same point


# Noise, streams, fingerprints


@pytest.mark.parametrize("keys", [{}, {"kind": "sphere", "dim": 3}, {"kind": "gaussian", "target": "product"}])
def test_noise_is_gaussian_on_train_labels_alone(keys):
    clean, noisy = (data.make(DataConfig(train=4000, eval=50, noise=noise, **keys), 2) for noise in (0.0, 0.3))
    for name in ("x_train", "x_eval", "y_eval"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(noisy, name))
    noise = noisy.y_train - clean.y_train
    assert stats.kstest(noise, stats.norm(0, 0.3).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(noise, clean.x_train[:, 0])[0, 1]) < 4 / math.sqrt(4000)


@pytest.mark.parametrize("kind", ["circle", "sphere", "gaussian"])
def test_data_follow_from_config_and_seed_alone(kind):
    config = DataConfig(kind=kind, target="teacher", noise=0.1, train=9, eval=5)
    np.random.seed(0)
    one = data.make(config, 4, "here")
    np.random.seed(1)
    assert _same(one, data.make(config, 4, "there"))
    assert not np.array_equal(one.y_train, data.make(config, 5).y_train)


def test_data_of_a_seed_stay_what_they_are():
    d = data.make(DataConfig(kind="gaussian", dim=2, train=2, eval=1, noise=1.0, target="product"), 0)
    np.testing.assert_allclose(
        d.x_train, [[1.5206774410944377, 0.14029538655560297], [1.468744431486269, 1.033452632924823]], rtol=1e-14
    )
    np.testing.assert_allclose(d.y_train, [0.7272800541441794, 1.418566554398798], rtol=1e-14)


@pytest.mark.parametrize("kind", ["sphere", "gaussian"])
def test_more_train_points_keep_the_first_ones_and_the_evaluation_points(kind):
    few, many = (data.make(DataConfig(kind=kind, target="product", noise=0.1, train=n, eval=6), 5) for n in (4, 9))
    np.testing.assert_array_equal(few.x_train, many.x_train[:4])
    np.testing.assert_array_equal(few.y_train, many.y_train[:4])
    np.testing.assert_array_equal(few.x_eval, many.x_eval)


def test_fingerprint_follows_every_array_to_12_digits():
    d = data.make(DataConfig(kind="sphere", train=4, eval=3), 0)
    name = data.fingerprint(d)
    assert name.startswith("4+3x10-")
    for field in ("x_train", "y_train", "x_eval", "y_eval"):
        parts = {key: getattr(d, key) for key in ("x_train", "y_train", "x_eval", "y_eval")}
        assert data.fingerprint(data.Data(**parts | {field: parts[field] + 1e-11})) != name
        rounded = {key: np.round(array, 11) for key, array in parts.items()}
        nearly = rounded | {field: rounded[field] + 1e-14}
        assert data.fingerprint(data.Data(**nearly)) == data.fingerprint(data.Data(**rounded))


# Modes


def test_fourier_modes_find_the_amplitudes_of_the_target():
    config = DataConfig(train=16, eval=20, frequencies=[1, 5], amplitudes=[2.0, 0.5], phases=[0.3, -1.0])
    d = data.make(config, 0)
    for x, y in ((d.x_train, d.y_train), (d.x_eval, d.y_eval)):
        coefficients = angles.fourier_modes(angles.of(x), 6).T @ y / len(y)
        power = np.bincount(angles.mode_frequencies(6), weights=coefficients**2)
        np.testing.assert_allclose(power, [0, 2, 0, 0, 0, 0.125, 0], atol=1e-13)  # a^2/2


# Files

TABLE = np.column_stack([np.arange(10.0), 0.1 * np.arange(10) - 0.3, 1e-300 * np.arange(10), -np.arange(10.0)])


def _write(path, table=TABLE, header=None):
    x, y = table[:, :-1], table[:, -1]
    match path.name:
        case "xy.npz":
            np.savez(path, x=x, y=y, other=np.zeros(3))
        case "column.npz":
            np.savez_compressed(path, x=x, y=y[:, None])
        case "xy.zarr":
            group = zarr.open_group(str(path), mode="w")
            group.create_array("x", data=x)
            group.create_array("y", data=y)
        case "xarray.zarr":
            import xarray as xr

            xr.Dataset({"x": (("row", "column"), x), "y": ("row", y)}).to_zarr(path, consolidated=False)
        case "table.zarr":
            zarr.save_array(str(path), table)
        case "table.npy":
            np.save(path, table)
        case _:
            np.savetxt(path, table, delimiter=",", header=header or "", comments="" if header else "# ")
    return path


def _config(path, **keys):
    return DataConfig(**{"kind": "file", "path": str(path), "train": 6, "eval": 4} | keys)


FILES = ["x.csv", "xy.npz", "column.npz", "xy.zarr", "xarray.zarr", "table.zarr", "table.npy"]


@pytest.mark.filterwarnings("ignore:Numcodecs codecs")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keys", [{}, {"split": "order", "train": 3}, {"noise": 0.1}])
def test_every_format_gives_the_same_data(tmp_path, name, keys):
    d = data.make(_config(_write(tmp_path / name), **keys), 1)
    reference = data.make(_config(_write(tmp_path / "reference.csv", header="a,b,c,d"), **keys), 1)
    assert _same(d, reference)
    assert d.x_train.shape[1] == 3
    np.testing.assert_array_equal(d.y_eval, -d.x_eval[:, 0])  # rows keep their targets
    assert data.fingerprint(d) == data.fingerprint(reference)


def test_split_is_disjoint_complete_and_by_the_seed(tmp_path):
    path = _write(tmp_path / "x.csv")
    splits = [data.make(_config(path), seed) for seed in range(40)]
    for d in splits:
        assert sorted([*d.x_train[:, 0], *d.x_eval[:, 0]]) == list(range(10))
    assert len({tuple(d.x_eval[:, 0]) for d in splits}) > 30  # of 5040, all alike with probability 0
    few = data.make(_config(path, train=2), 3)
    np.testing.assert_array_equal(few.x_train, splits[3].x_train[:2])
    np.testing.assert_array_equal(few.x_eval, splits[3].x_eval)


def test_split_in_order_takes_the_first_and_the_last_rows(tmp_path):
    d = data.make(_config(_write(tmp_path / "x.csv"), split="order", train=3, eval=2), 7)
    assert d.x_train[:, 0].tolist() == [0, 1, 2]
    assert d.x_eval[:, 0].tolist() == [8, 9]


@pytest.mark.parametrize(("column", "index"), [(None, 3), (0, 0), (2, 2), (-2, 2), ("b", 1), ("the last", 3)])
def test_target_column_by_name_or_number(tmp_path, column, index):
    path = _write(tmp_path / "x.csv", header='a, "b",c,the last')
    d = data.make(_config(path, column=column, split="order"), 0)
    np.testing.assert_array_equal(d.y_train, TABLE[:6, index])
    np.testing.assert_array_equal(d.x_train, np.delete(TABLE[:6], index, axis=1))


def test_csv_may_have_comments_blank_lines_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("\ufeff1, 2\n\n# a comment\n3,4\r\n", encoding="utf-8")
    d = data.make(_config(file, train=1, eval=1, split="order"), 0)
    assert (d.x_train[0, 0], d.y_train[0], d.x_eval[0, 0], d.y_eval[0]) == (1, 2, 3, 4)


def test_one_coordinate_may_be_an_array_of_numbers(tmp_path):
    np.savez(tmp_path / "z.npz", x=np.arange(4), y=np.arange(4) ** 2)
    d = data.make(_config(tmp_path / "z.npz", train=3, eval=1), 0)
    assert d.x_train.shape == (3, 1) and d.x_train.dtype == np.float64
    np.testing.assert_array_equal(d.y_train, d.x_train[:, 0] ** 2)


@pytest.mark.parametrize("name", ["x.csv", "xy.npz", "table.npy"])
def test_each_file_is_opened_once(tmp_path, name, monkeypatch):
    path, opened = _write(tmp_path / name), []
    real_load, real_text = np.load, type(path).read_text
    monkeypatch.setattr(np, "load", lambda *a, **k: opened.append(a) or real_load(*a, **k))
    monkeypatch.setattr(type(path), "read_text", lambda *a, **k: opened.append(a) or real_text(*a, **k))
    data.make(_config(path), 0)
    assert len(opened) == 1


# Errors of make


def _refuses(config, message):
    with pytest.raises(ConfigError, match=message) as caught:
        data.make(config, 0, "studies.s.data")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no.csv", "no.npz", "no.zarr"])
def test_missing_file(tmp_path, name):
    _refuses(
        _config(tmp_path / name),
        rf"^studies\.s\.data\.path: must be an existing data file or folder \*\.zarr; it was '.*{name}'$",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2\n3,x\n", "line 2 is no list of numbers"),
        ("a,b\n1,2\nc,d\n", "line 3 is no list of numbers"),
        ("a,b\nc,d\n1,2\n", "line 2 is no list of numbers"),
        ("1,2x\n3,4\n", "line 1 is no list of numbers, nor of names alone"),  # a slip is no header
        ("1,\n3,4\n", "line 1 is no list of numbers"),
        ("1,2\n3,4,5\n", "line 2 has 3 columns, the first has 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 columns, the first has 2"),
        ("1;2\n3;4\n", "line 2 is no list of numbers"),
        ("", "it has no row of numbers"),
        ("a,b\n", "it has no row of numbers"),
        ("1\n2\n", "shape"),
    ],
)
def test_csv_that_is_no_table_of_numbers(tmp_path, text, why):
    (tmp_path / "x.csv").write_text(text)
    _refuses(_config(tmp_path / "x.csv"), rf"^studies\.s\.data\.path: must be a .*{why}")


@pytest.mark.parametrize("name", ["x.csv", "x.npy", "x.npz", "x.zarr", "x.zip"])
def test_damaged_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 \xff\xfe\x00")
    _refuses(_config(tmp_path / name), r"^studies\.s\.data\.path: must be a csv, npy, npz or zarr file of finite")


def test_cut_off_archives_and_folders(tmp_path):
    whole = _write(tmp_path / "column.npz").read_bytes()
    for cut in range(10, len(whole), 37):
        (tmp_path / "cut.npz").write_bytes(whole[:cut])
        _refuses(_config(tmp_path / "cut.npz"), r"^studies\.s\.data\.path: must be ")
    (tmp_path / "empty.zarr").mkdir()
    _refuses(_config(tmp_path / "empty.zarr"), r"^studies\.s\.data\.path: must be a csv, npy, npz or zarr file")


def test_what_is_no_file_is_not_opened(tmp_path):
    """A pipe would be waited for, a device would be read for ever."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.npy").mkdir()
    for path in (tmp_path / "pipe.csv", "/dev/zero", tmp_path / "folder.npy", tmp_path):
        _refuses(_config(path), r"^studies\.s\.data\.path: must be an existing data file or folder \*\.zarr; it was ")
        with pytest.raises(ValueError, match="no regular file"):  # who reads a density has no other check
            tabular.load(Path(path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "must have arrays x and y; it has none"),
        ({"x": TABLE}, "must have arrays x and y; it has x"),  # a coordinate is not to be taken for the target
        ({"anything": TABLE}, "must have arrays x and y; it has anything"),
        ({"x": TABLE, "z": TABLE}, "must have arrays x and y; it has x, z"),
        ({"x": TABLE, "y": np.zeros(9)}, r"a y for each row; it was .*\(10, 4\) and y of shape \(9,\)"),
        ({"x": TABLE, "y": TABLE}, "a y for each row"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "a y for each row"),
        ({"x": np.zeros((3, 2, 2)), "y": np.zeros(3)}, "a y for each row"),
        ({"x": TABLE + 1j, "y": np.zeros(10)}, "complex"),
        ({"x": np.full((10, 2), "a"), "y": np.zeros(10)}, "could not convert"),
        ({"x": np.zeros((10, 2), dtype=object), "y": np.zeros(10)}, "pickle"),
    ],
)
def test_archives_that_hold_something_else(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    _refuses(_config(tmp_path / "x.npz"), rf"^studies\.s\.data\.path: must be .*{message}")


def test_a_zarr_group_needs_x_and_y_too(tmp_path):
    zarr.open_group(str(tmp_path / "x.zarr"), mode="w").create_array("x", data=TABLE)
    _refuses(_config(tmp_path / "x.zarr"), r"studies\.s\.data\.path: must be .*must have arrays x and y; it has x\)")


def test_packed_zarr_is_refused(tmp_path):
    group = zarr.open_group(str(_write(tmp_path / "xy.zarr")), mode="a")
    group["x"].attrs["scale_factor"] = 0.1
    _refuses(_config(tmp_path / "xy.zarr"), "packed numbers")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["table.npy", "xy.npz", "xy.zarr"])
@pytest.mark.parametrize("column", [1, 3])
def test_nan_and_infinity_are_located(tmp_path, name, value, column):
    table = TABLE.copy()
    table[6, column] = value
    where = rf"{value} in row 7, column {column + 1}"
    _refuses(_config(_write(tmp_path / name, table)), rf"^studies\.s\.data\.path: must be free of NaN .*{where}")


@pytest.mark.parametrize("value", ["nan", "-inf"])
def test_nan_and_infinity_of_a_csv_are_located_by_the_line_of_the_file(tmp_path, value):
    (tmp_path / "x.csv").write_text(f"a,b\n\n# a comment\n1,2\n3,{value}\n")
    _refuses(_config(tmp_path / "x.csv"), rf"^studies\.s\.data\.path: must be .*\(line 5 has {value} in column 2\)")


def test_wrong_columns(tmp_path):
    plain, named = _write(tmp_path / "x.csv"), _write(tmp_path / "named.csv", header="a,b,b,d")
    key = r"^studies\.s\.data\.column: must be "
    _refuses(_config(plain, column="a"), key + "a number from 0 to 3, as the file has no header line; it was 'a'")
    _refuses(_config(plain, column=4), key + "at least -4 and at most 3; it was 4")
    _refuses(_config(plain, column=-5), key + "at least -4 and at most 3; it was -5")
    _refuses(_config(named, column="e"), key + "the name of one of the columns a, b, b, d; it was 'e'")
    _refuses(_config(named, column="b"), key + "the name of one of")  # which of the two?
    _refuses(_config(_write(tmp_path / "xy.npz"), column=0), key + "left out, as the file has an array y; it was 0")


@pytest.mark.parametrize("split", ["random", "order"])
def test_too_few_rows(tmp_path, split):
    path = _write(tmp_path / "x.csv")
    message = r"^studies\.s\.data\.train: must be at most 6, the 10 rows of .*x\.csv less eval = 4; it was 7$"
    _refuses(_config(path, train=7, split=split), message)
    _refuses(
        _config(path, eval=10, split=split), r"^studies\.s\.data\.eval: must be less than the 10 rows of .*; it was 10$"
    )


# Errors of the config


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kinds": "circle"}, ".kinds: must be one of the keys kind, "),
        ({"kind": "spheer"}, ".kind: must be .*did you mean 'sphere'"),
        ({"train": 0}, ".train: must be at least 1; it was 0"),
        ({"eval": 2.5}, r"\.eval: must be a whole number; it was 2\.5"),
        ({"dim": 1}, ".dim: must be at least 2 on the circle; it was 1"),
        ({"kind": "gaussian", "dim": 1, "target": "product"}, ".dim: must be at least 2 with target 'product'"),
        ({"norm": -1.0}, ".norm: must be greater than 0"),
        ({"kind": "gaussian", "norm": 1.0}, ".norm: must be left out unless kind is 'circle' or 'sphere'; kind was"),
        ({"kind": "sphere", "angles": "equal"}, ".angles: must be left out unless kind is 'circle'; kind was 'sphere'"),
        ({"angles": "random"}, ".angles: must be 'equal' or 'uniform'"),
        ({"path": "x.csv"}, ".path: must be left out unless kind is 'file'"),
        ({"kind": "file"}, ".path: must be given when kind is 'file'"),
        ({"kind": "file", "path": "x.csv", "dim": 2}, ".dim: must be left out unless kind is"),
        ({"kind": "file", "path": "x.csv", "target": "teacher"}, ".target: must be 'column' exactly when kind is"),
        ({"kind": "file", "path": "x.csv", "column": 1.5}, r".column: must be the name .*; it was 1\.5"),
        ({"kind": "file", "path": "x.csv", "column": True}, ".column: must be the name .*; it was True"),
        ({"kind": "file", "path": "x.csv", "split": "half"}, ".split: must be 'random' or 'order'"),
        ({"column": 0}, ".column: must be left out unless kind is 'file'"),
        ({"split": "random"}, ".split: must be left out unless kind is 'file'"),
        ({"target": "column"}, ".target: must be 'column' exactly when kind is 'file'"),
        ({"target": "fourrier"}, ".target: must be .*did you mean 'fourier'"),
        ({"kind": "sphere", "target": "fourier"}, ".target: must be 'fourier' only when kind is 'circle'; kind was"),
        ({"frequencies": []}, ".frequencies: must be a list of at least 1"),
        ({"frequencies": [1, -2]}, r".frequencies.1: must be at least 0; it was -2"),
        ({"frequencies": 1.5}, ".frequencies: must be .*1.5"),
        ({"frequencies": [2, 2]}, r".frequencies: must be a list of distinct values; it was \[2, 2\]"),
        (
            {"train": 8, "frequencies": [1, 4]},
            ".frequencies: must be less than train/2 = 4 on equal angles.*; the largest was 4",
        ),
        ({"train": 8}, ".frequencies: must be less than train/2 = 4"),
        ({"amplitudes": [1.0]}, ".amplitudes: must be one for each of the 3 frequencies; 1 given"),
        ({"phases": [1.0] * 4}, ".phases: must be one for each of the 3 frequencies; 4 given"),
        ({"amplitudes": [1.0, float("nan"), 1.0]}, ".amplitudes.1: must be a finite number"),
        ({"target": "teacher", "phases": [1.0]}, ".phases: must be left out unless target is 'fourier'; target was"),
        ({"teacher_widths": [3]}, ".teacher_widths: must be left out unless target is 'teacher'; target was"),
        ({"target": "teacher", "teacher_widths": [0]}, ".teacher_widths.0: must be at least 1"),
        ({"noise": -0.1}, ".noise: must be at least 0"),
        ({"noise": float("inf")}, ".noise: must be a finite number"),
    ],
)
def test_bad_config_names_its_key(keys, message):
    class Study(Model):
        data: DataConfig

    tree = {"data": keys}
    with pytest.raises(ValidationError) as caught:
        Study.model_validate(tree)
    error = str(first_error(caught.value, tree, "c.yaml", lambda path: list(DataConfig.model_fields)))
    assert "\n" not in error
    assert re.search(rf"^c\.yaml: data.*{message}", error), error


@pytest.mark.parametrize("keys", [{"train": 8, "frequencies": 3}, {"train": 2, "angles": "uniform"}])
def test_frequencies_up_to_what_the_angles_can_tell(keys):
    assert data.make(DataConfig(**keys), 0).y_eval.shape == (64,)


def test_every_key_is_documented():
    assert all(field.description for field in DataConfig.model_fields.values())
