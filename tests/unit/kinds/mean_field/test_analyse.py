"""From particles to rates and words, on a small study."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from ntkpipe import angles, figures, store, tables
from ntkpipe.analysis import particles
from ntkpipe.figures import style
from ntkpipe.kinds.mean_field import rates, report, report_answers
from ntkpipe.kinds.mean_field.figures import FIGURES
from ntkpipe.theory import circle
from ntkpipe.topics import sentences

SETTINGS = {"train": 12, "frequencies": [1, 2], "steps": 40, "eta": 0.05, "snapshots": 5, "limit_angles": 96}


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    grid = {"width": [8, 32], "depth": 1, "parametrization": ["mean_field", "ntk"]}
    return made(tmp_path_factory.mktemp("mean_field"), kind="mean_field", grid=grid, seeds=6, mean_field=SETTINGS)


@pytest.fixture(scope="module")
def found(study):
    return store.read_rows(Path(study.folder) / "mean_field.zarr").load()


@pytest.fixture(scope="module")
def drawn(study):
    return store.read_rows(Path(study.folder) / "particles.zarr").load()


def cell(found, parametrization, width) -> int:
    return int(np.flatnonzero((found.parametrization == parametrization) & (found.width == width))[0])


def test_particles_of_narrower_cells_end_with_nan(found, drawn):
    narrow, wide = (drawn["particles"][cell(found, "ntk", m)].values for m in (8, 32))
    assert np.isfinite(wide).all() and np.isfinite(narrow[:, :, :8]).all() and np.isnan(narrow[:, :, 8:]).all()
    np.testing.assert_allclose(
        np.nanmean(narrow[..., 0] ** 2, axis=2)[:, 0], drawn["moment"][cell(found, "ntk", 8), :, 0, 1]
    )


def test_particles_have_their_coordinates_by_name(found, drawn):
    assert list(drawn.coordinate.values) == list(found.coordinate.values) == ["a", "w_1", "w_2"]
    np.testing.assert_array_equal(drawn.test.values, found.test.values)
    a = drawn["particles"].sel(end="start", coordinate="a")
    np.testing.assert_allclose((a**2).mean("particle"), drawn["moment"].sel(test="a^2").isel(snapshot=0))


def test_all_cells_are_seen_at_the_same_times(found):
    time = found["time"].values
    np.testing.assert_array_equal(time, np.tile(time[0], (4, 1)))
    largest = 12 * circle.relu_eigenvalues(np.array([0]))[0]  # aliasing adds lambda_12, lambda_24, ...
    assert time[0, -1] == pytest.approx(40 * 2 * 0.05 / largest, rel=0.05)


def test_errors_are_those_of_kernels_and_outputs(found, drawn):
    """Against the limits by other ways: the NTK in closed form, its mean output by powers of a matrix."""
    theta = angles.equal(12)
    gap = np.abs((theta[:, None] - theta + np.pi) % (2 * np.pi) - np.pi)
    ntk, c = circle.relu_kernel(gap), cell(found, "ntk", 32)
    K, f = drawn["ntk_train"][c].values, drawn["f_train"][c].values
    expected = np.linalg.norm(K - ntk, axis=(2, 3)) / np.linalg.norm(ntk)
    np.testing.assert_allclose(found["kernel_error"][c], expected, rtol=1e-9)
    eta, y = float(drawn["eta_used"][c, 0]), drawn.y.values
    left = np.linalg.matrix_power(np.eye(12) - eta * ntk, 40)
    mean = y - left @ y
    np.testing.assert_allclose(
        found["output_error"][c, :, -1], np.sqrt(np.mean((f[:, -1] - mean) ** 2, axis=1)), rtol=1e-8
    )
    start = drawn["ntk_train"][c][:, :1].values
    drift = np.linalg.norm(K - start, axis=(2, 3)) / np.linalg.norm(start, axis=(2, 3))
    np.testing.assert_allclose(found["drift"][c], drift, rtol=1e-10, atol=1e-15)
    for q, name in enumerate((1, 2)):
        wave = np.exp(1j * name * theta)
        amplitude = np.abs((f - y) @ wave) / np.abs(y @ wave)
        np.testing.assert_allclose(found["mode_left"][c, :, :, q], amplitude, rtol=1e-9)


def test_the_limit_in_ntk_is_a_gaussian_process(found, drawn):
    """Loss and spread at the start: E |f_0|^2 by the NNGP's diagonal 1/2."""
    c, y = cell(found, "ntk", 8), drawn.y.values
    assert float(found["output_error_limit"][c, 0]) == pytest.approx(0.5**0.5, rel=1e-10)
    assert float(found["loss_limit"][c, 0]) == pytest.approx(0.5 * (y @ y + 12 * 0.5), rel=1e-10)
    theta = angles.equal(12)
    gap = np.arccos(np.clip(np.cos(theta[:, None] - theta), -1, 1))
    nngp = (np.sin(gap) + (np.pi - gap) * np.cos(gap)) / (2 * np.pi)  # arc-cosine kernel; 1/2 on the diagonal
    for k, q in enumerate((1, 2)):
        wave = np.exp(1j * q * theta)
        power = 1 + (wave.conj() @ nngp @ wave).real / np.abs(y @ wave) ** 2
        assert float(found["mode_left_limit"][c, 0, k]) ** 2 == pytest.approx(power, rel=1e-9)
    assert (found["drift_limit"][c] == 0).all() and (
        found["output_error_limit"][cell(found, "mean_field", 8)] == 0
    ).all()


def test_distances_are_those_to_the_pooled_widest_networks(found, drawn):
    narrow, wide = cell(found, "mean_field", 8), cell(found, "mean_field", 32)
    along = particles.directions(16, 3)
    for end in (0, 1):
        pooled = drawn["particles"][wide, :, end].values.reshape(-1, 3)
        one = drawn["particles"][narrow, 2, end, :8].values
        expected = np.mean([stats.wasserstein_distance(one @ u, pooled @ u) for u in along])
        assert float(found["distance"][narrow, 2, end]) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(found["distance"][wide]).all() and np.isnan(found["distance_start_exact"][wide])
    assert float(found["distance_start_exact"][narrow]) == particles.sliced_of_normals(8, 6 * 32)


def test_what_holds_to_rounding_does(found):
    assert float(found["push_forward_error"].max()) < 1e-13
    assert float(found["continuity_error"].median()) < 0.05


def test_exponents_are_least_squares_of_means_of_logs(found, study):
    fits = tables.load(study, "fits")
    assert len(fits) == 2 * len(rates.QUANTITIES)
    for row in fits[fits.quantity == "moved"].itertuples():
        means = [np.log(found["moved"][cell(found, row.parametrization, m), :, -1].values).mean() for m in (8, 32)]
        assert row.estimate == pytest.approx(np.diff(means)[0] / np.log(4), rel=1e-9)
        assert row.low < row.estimate < row.high and row.n_runs == row.n_all == 12
    expected = fits.set_index(["parametrization", "quantity", "at"]).expected
    assert expected["mean_field", "drift", "end"] == 0 and expected["ntk", "output_error", "end"] == 0
    assert rates.expected("drift", "end", "tanh", "ntk")[0] == -1
    assert np.isnan(expected["mean_field", "kernel_error", "end"])  # ReLU, late: no rate is known
    assert rates.expected("kernel_error", "end", "tanh", "mean_field")[0] == -0.5
    c = [cell(found, "mean_field", m) for m in (8, 32)]
    loss = found["loss_limit"].values[c[0]]
    half = next(k for k, value in enumerate(loss) if value <= loss[0] / 2)
    assert 0 < half < len(loss) - 1
    means = [np.log(found["kernel_error"].values[i, :, half]).mean() for i in c]
    slopes = fits.set_index(["parametrization", "quantity", "at"]).estimate
    assert slopes["mean_field", "kernel_error", "half"] == pytest.approx(np.diff(means)[0] / np.log(4), rel=1e-9)


def test_exponents_of_exact_powers_have_intervals_of_networks_alone():
    """Three widths with a bend: the slope is that of least squares, its interval says how well networks know it."""
    rng = np.random.default_rng(0)
    m = np.array([10, 100, 1000])
    sizes = np.exp(-0.5 * np.log(m)[:, None] + np.array([0.2, -0.4, 0.2])[:, None] + 0.1 * rng.standard_normal((3, 16)))
    row = rates.exponent(sizes, m, 0.95)
    half = stats.t.ppf(0.975, 45) * 0.1 / 4 / np.sqrt(2) / np.log(10)  # of the two ends' means
    assert abs(row["estimate"] + 0.5) < 2 * half and (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.4)
    assert row["scatter"] > 5 and row["scatter_p"] < 1e-6


def test_descent_stands_beside_the_flow_of_the_same_networks(found, study):
    cells = tables.load(study, "mean_field").assign(cell=np.arange(4))
    two = cells[(cells.parametrization == "ntk") & (cells.width == 32)]
    assert report_answers.beside_flow(cells, found, 0.95) == []  # descent alone
    two = pd.concat([two, two.assign(training="flow", cell=4)])
    flow = found.isel(cell=[cell(found, "ntk", 32)])
    flow = xr.concat([found[["drift", "loss"]], flow[["drift", "loss"]] / 2], dim="cell", coords="minimal")
    (text,) = report_answers.beside_flow(two, flow, 0.95)
    assert text.startswith("Ntk, m = 32") and "2 [2, 2] times and the loss 2 [2, 2] times" in text


def test_the_report_answers(study):
    section = report.section(study)
    said = " ".join(sentences(section["topics"]))
    for text in ("infinite width", "theory -0.5", "correlation of two particles", "Mode q = 2", "24 of 24"):
        assert text in said + section["coverage"], text
    assert "nan" not in said and "-0.00 " not in said
    rows = section["verification"]
    assert len(rows) == 4 * 6 + 2 and sum(row["inside"] == "no" for row in rows) <= 6
    for _, table in section["tables"]:
        assert table


@pytest.mark.parametrize(
    ("low", "high", "says"), [(-0.1, 0.1, "It does in "), (-0.6, -0.4, "It falls"), (-0.4, 0.4, "")]
)
def test_verdicts_follow_the_interval(low, high, says):
    row = next(pd.DataFrame([{"low": low, "high": high}]).itertuples())
    assert report_answers.verdict(row, "mean_field").startswith(says) and bool(says) == bool(
        report_answers.verdict(row, "mean_field")
    )
    assert report_answers.verdict(None, "mean_field") == ""


def test_figures_draw(study, found):
    data = {"mean_field": found, "fits": store.read_rows(Path(study.folder) / "fits.zarr").load()}
    with style.applied():
        for name, draw in FIGURES.items():
            assert draw(data).axes, name


def test_one_diverged_cell_says_so_and_nothing_else(made, tmp_path):
    """A single cell, without exponents, in which every network diverges."""
    keys = {"grid": {"width": 8, "depth": 1, "parametrization": "ntk"}, "seeds": 2}
    study = made(tmp_path, kind="mean_field", mean_field=SETTINGS | {"eta": 3.0}, **keys)
    section = report.section(study)
    said = " ".join(sentences(section["topics"]))
    assert "not known: no network finished" in said and "nan" not in said.lower().replace("finan", "")
    assert "0 of 2 networks finished" in section["coverage"]
    figures.run(study)
    data = {name: store.read_rows(Path(study.folder) / f"{name}.zarr").load() for name in ("mean_field", "fits")}
    with style.applied(), pytest.raises(style.NothingToDraw, match="in this study none did"):
        FIGURES["kernel_moves"](data)
    assert [topic.question for topic in section["topics"]][-1] == "Which modes are learned?"
    assert section["methods"].startswith("Networks in ntk parametrization;")
