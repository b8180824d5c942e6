"""The points: norms, directions, files, fingerprints."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe import inputs
from ntkpipe.config import InputsConfig
from ntkpipe.errors import ConfigError


@pytest.mark.parametrize("norm", [1.0, 2.5])
@pytest.mark.parametrize(("kind", "dim"), [("sphere", 1), ("sphere", 7), ("circle", 2), ("circle", 5)])
def test_norm_shape_and_reproducibility(kind, dim, norm):
    config = InputsConfig(kind=kind, points=6, dim=dim, norm=norm)
    x = inputs.points(config, 3)
    assert x.shape == (6, dim)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), norm, rtol=1e-15)  # one division, one product
    np.testing.assert_array_equal(x, inputs.points(config, 3))


def test_defaults_are_one_point_in_ten_or_two_dimensions():
    assert inputs.points(InputsConfig(), 0).shape == (1, 10)
    circle = InputsConfig(kind="circle")
    np.testing.assert_array_equal(inputs.points(circle, 0), [[1.0, 0.0]])
    assert inputs.points(circle, 0).shape == (1, 2)


def test_circle_has_equal_angles():
    x = inputs.points(InputsConfig(kind="circle", points=8, dim=3), 0)
    np.testing.assert_allclose(x[2], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(np.sum(x * np.roll(x, 1, axis=0), axis=1), np.cos(np.pi / 4), rtol=1e-14)


def test_sphere_points_are_uniform_and_change_with_the_seed():
    x = inputs.points(InputsConfig(points=4000, dim=3), 0)
    for column in x.T:  # Archimedes: a coordinate of a uniform point on the 2-sphere is uniform on [-1, 1]
        assert stats.kstest(column, stats.uniform(-1, 2).cdf).pvalue > 1e-4  # 3 comparisons, fixed seed
    assert not np.allclose(x, inputs.points(InputsConfig(points=4000, dim=3), 1))


def test_more_points_keep_the_first_ones():
    few, many = (inputs.points(InputsConfig(points=n, dim=3), 5) for n in (4, 9))
    np.testing.assert_array_equal(few, many[:4])


TABLE = np.array([[1.0, -2.5, 0.1], [3.0, 4.0, 1e-300]])


def _write(path):
    match path.suffix:
        case ".npy":
            np.save(path, TABLE)
        case ".npz":
            np.savez(path, y=np.zeros(2), x=TABLE)
        case _:
            np.savetxt(path, TABLE, delimiter=",", header="a comment")
    return InputsConfig(kind="file", path=str(path))


@pytest.mark.parametrize("name", ["x.csv", "x.txt", "x.npy", "x.npz"])
def test_files_are_read_as_they_stand(tmp_path, name):
    config = _write(tmp_path / name)
    np.testing.assert_array_equal(inputs.points(config, 0), TABLE)  # %.18e and .npy lose nothing
    assert inputs.points(config, 0).shape == (2, 3)
    first = config.model_copy(update={"points": 1})
    np.testing.assert_array_equal(inputs.points(first, 0), TABLE[:1])


def test_fingerprint_follows_the_points(tmp_path):
    """Equal points are one cell, wherever they come from; other points, or another way to keep K, are another."""
    config = _write(tmp_path / "x.csv")
    x = inputs.points(config, 0)
    moved = inputs.points(_write(tmp_path / "y.npy"), 0)
    assert inputs.fingerprint(x, "gram") == inputs.fingerprint(moved, "gram") != inputs.fingerprint(x, "diagonal")
    assert inputs.fingerprint(x[:1], "gram") == inputs.fingerprint(x[:1], "diagonal")
    assert inputs.fingerprint(x + 1e-9, "gram") != inputs.fingerprint(x, "gram")
    assert inputs.fingerprint(-0.0 * x, "gram") == inputs.fingerprint(0.0 * x, "gram")


@pytest.mark.filterwarnings("ignore:loadtxt")  # it warns of an empty file before we refuse it
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", b""),
        ("x.npy", b"no numpy file"),
        ("x.npz", b"PK\x03\x04 cut off"),
        ("x.csv", b""),
        ("x.csv", b"\xff\xfe\x00"),
    ],
)
def test_damaged_files_are_config_errors(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"inputs\.path: must be .*{name}"):
        inputs.points(InputsConfig(kind="file", path=str(tmp_path / name)), 0)


@pytest.mark.parametrize("array", [np.ones((2, 2, 2)), np.ones((0, 3)), np.array([[1 + 2j]])])
def test_arrays_that_are_no_table_of_numbers(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ConfigError, match=r"inputs\.path: must be a .*table"):
        inputs.points(InputsConfig(kind="file", path=str(tmp_path / "x.npy")), 0)


def test_archive_without_arrays(tmp_path):
    np.savez(tmp_path / "x.npz")
    with pytest.raises(ConfigError, match=r"inputs\.path: must be a csv, npy or npz table"):
        inputs.points(InputsConfig(kind="file", path=str(tmp_path / "x.npz")), 0)
