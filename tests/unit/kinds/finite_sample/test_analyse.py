"""From draws to errors, exponents and sentences, on small studies."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ntkpipe import kinds, store, tables
from ntkpipe.figures import style
from ntkpipe.kinds.finite_sample import limits, report
from ntkpipe.kinds.finite_sample.figures import FIGURES
from ntkpipe.theory import concentration
from ntkpipe.topics import sentences

SETTINGS = {"modes": 2, "omega": [1.5], "eval": 8}


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    """Three N at one width, another width, and the same draws with other noise."""
    grid = [{"width": 32, "depth": 1, "train": [8, 16, 32]}, {"width": 8, "depth": 1, "train": 16}]
    grid.append({"width": 32, "depth": 1, "train": 16, "noise": 0.0})
    return made(
        tmp_path_factory.mktemp("finite_sample"),
        kind="finite_sample",
        grid=grid,
        seeds=24,
        network={"bias_init": "zero", "output_bias": False},
        finite_sample=SETTINGS,
    )


@pytest.fixture(scope="module")
def equal(made, tmp_path_factory):
    """Equal angles, two of the modes at Nyquist, without noise; one cell."""
    settings = SETTINGS | {"points": "equal", "modes": 4, "train": 8, "noise": 0.0, "eval": 16}
    return made(
        tmp_path_factory.mktemp("equal"), kind="finite_sample", grid={"width": 16, "depth": 1}, seeds=8,
        finite_sample=settings,
    )  # fmt: skip


def loaded(study, name="finite_sample"):
    return store.read_rows(Path(study.folder) / f"{name}.zarr").load()


def test_errors_are_those_of_the_matrices_drawn(study):
    data, draws = loaded(study), loaded(study, "sampled_modes")
    values = np.diag(np.repeat(data["eigenvalue"][1].values, [1, 2, 2]))
    off = draws["coupling"][1, :, 1].values - values
    found = data["error_value"][1].sel(kernel="network", error="operator").values
    np.testing.assert_allclose(found, np.sqrt((off**2).sum(axis=(1, 2))), rtol=1e-12)
    assert float(data["quantile"][1].sel(kernel="network", error="operator")) == pytest.approx(np.quantile(found, 0.9))
    assert float(data["rms"][1].sel(kernel="network", error="operator")) == pytest.approx(np.sqrt((found**2).mean()))
    width = draws["coupling"][1, :, 1] - draws["coupling"][1, :, 0]
    np.testing.assert_allclose(data["width_error"][1], np.sqrt((width**2).sum(("mode", "mode_"))), rtol=1e-12)
    limit = limits.spectrum(study.cells[1].network)
    bounds = concentration.bounds(limit.eigenvalues[:3], limit.squared[:5], limit.kappa, 16, 0.1)
    for error, bound in bounds.items():
        assert float(data["bound"][1].sel(error=error)) == pytest.approx(bound, rel=1e-12)
    assert (data["exceeded"].sel(kernel="limit") == 0).all()


def test_noise_has_its_exact_size_and_interval(study):
    data, draws = loaded(study), loaded(study, "sampled_modes")
    np.testing.assert_allclose(data["noise_exact"], [0.25 / 8, 0.25 / 16, 0.25 / 32, 0.25 / 16, 0.0])
    unit = draws["noise_modes"][0, :, 1] / np.sqrt(draws["gram"][0, :, 1, 1])
    assert float(data["noise_square"][0, 1]) == pytest.approx(float((unit**2).mean()))
    total = float((unit**2).sum())
    assert float(data["noise_square_high"][0, 1]) == pytest.approx(total / stats.chi2.ppf(0.025, 24))
    excess = (draws["error_noisy"] - draws["error_clean"])[2].values
    assert float(data["excess"][2, 2]) == pytest.approx(excess[:, 2].mean())
    assert float(data["added"][2]) == float(data["excess"][2, 2])
    assert float(data["excess"][4].max()) == 0.0


def test_exponents_are_slopes_over_the_cells(study):
    fits, data = tables.load(study, "fits"), loaded(study)
    row = fits[(fits.error == "gram") & (fits.quantity == "points")].iloc[0]
    logs = np.log(np.mean(data["error_value"][:3].sel(error="gram", kernel="limit").values ** 2, axis=1)) / 2
    assert row.estimate == pytest.approx(np.polyfit(np.log([8, 16, 32]), logs, 1)[0], rel=1e-9)
    assert row.exact == pytest.approx(-0.5) and row.low < row.estimate < row.high
    both = fits[(fits.of == "width") & (fits.quantity == "n")].iloc[0]
    assert both.n_cells == 4 and both.expected == -0.5 and both.low < -0.5 < both.high
    design = np.column_stack([np.ones(4), np.log([8, 16, 32, 16]), np.log([32, 32, 32, 8])])
    means = np.log(np.mean(data["width_error"][:4].values ** 2, axis=1)) / 2
    assert both.estimate == pytest.approx(np.linalg.lstsq(design, means, rcond=None)[0][2], rel=1e-9)
    balance = fits[fits.quantity == "balance"].iloc[0]
    per_point = data["width_error"][:4] / data["error_value"][:4].sel(error="operator", kernel="limit")
    logs = np.log(per_point**2 * xr.DataArray([4, 2, 1, 0.5], dims="cell")).mean("seed")
    assert balance.estimate == pytest.approx(float(np.exp(logs.mean())), rel=1e-9)


def test_predictions_and_sentences_by_hand(study):
    """The second cell for the theory, the one of most N (as the report takes it) for what is said."""
    data, draws = loaded(study), loaded(study, "sampled_modes")
    limit, (c, n) = limits.spectrum(study.cells[0].network), (1, 16)
    learned = 1 - (1 - float(data["eta"][c]) * n * limit.eigenvalues) ** int(data["steps"][c])
    expected = 0.25 / n * (learned[0] ** 2 + 2 * np.sum(learned[1:] ** 2))
    assert float(data["excess_predicted"][c]) == pytest.approx(expected, rel=1e-12)
    lam = limit.eigenvalues[[0, 1, 1, 2, 2]]
    of_limit, of_network = (draws["coupling"][c, :, k].values - np.diag(lam) for k in (0, 1))
    sampled, whole, width = (np.sum(v**2, axis=(1, 2)) for v in (of_limit, of_network, of_network - of_limit))
    cross = np.mean(whole - sampled - width) / np.mean(sampled + width)
    assert float(data["cross"][c]) == pytest.approx(cross, rel=1e-9)
    said = " ".join(sentences(report.section(study)["topics"]))
    theta = np.linspace(-np.pi, np.pi, 4001)[:-1] + np.pi / 4000
    y, power = np.cos(1.5 * theta), np.mean(np.cos(1.5 * theta) ** 2)
    inside = sum(2 * np.mean(y * np.cos(q * theta)) ** 2 for q in (1, 2))
    assert f"cos(1.5 theta) has {1 - inside / power:.1%} of its power outside" in said
    at = f"{limit.kappa / limit.eigenvalues[2] + 1:.3g} for q = 2"  # kappa/N = (1 - 1/N) lambda
    assert f"(1 - 1/N) lambda_q, at N = {limit.kappa / limit.eigenvalues[1] + 1:.3g} for q = 1, {at}" in said
    entries = data["entry_rms"][2].sel(kernel="limit").values  # N = 32
    columns = {0: entries[1:, 0], 1: entries[[0, 3, 4], 1], 2: entries[:3, 3]}
    below = [str(q) for q, column in columns.items() if limit.eigenvalues[q] < column.max()]
    assert f"below their own largest coupling: {', '.join(below) or 'none'}" in said.split("N = 32: the largest")[1]


def test_the_report_answers_and_verifies(study):
    section = report.section(study)
    said = " ".join(sentences(section["topics"]))
    for words in (
        "Exponents in N",
        "Bound over measured quantile",
        "It adds",
        "between the points noise adds",
        "fitted as N^p n^q",
    ):
        assert words in said
    assert not re.search(r"\b(nan|inf)\b", said)
    rows = section["verification"]
    inside = sum(row["inside"] == "yes" for row in rows)
    assert len(rows) == 72 and inside > 0.8 * len(rows)  # 95 % each, of which those of one cell hang together
    assert f"{inside} of {len(rows)} intervals" in section["coverage"]
    assert "120 of 120 networks" in section["coverage"]


def test_equal_angles_are_exact_and_have_no_bounds(equal):
    data = loaded(equal)
    limit = data.isel(cell=0).sel(kernel="limit")
    np.testing.assert_allclose(limit["entry_rms"], limit["entry_exact"], atol=1e-12)
    np.testing.assert_allclose(limit["diagonal"], limit["diagonal_exact"], atol=1e-12)
    known = np.isfinite(limit["action_exact"])  # the sine at Nyquist is 0 on every point
    np.testing.assert_allclose(limit["action_square"][known], limit["action_exact"][known], atol=1e-12)
    assert np.isnan(data["bound"]).all() and np.isnan(data["noise_exact"] / data["noise_exact"]).all()
    section = report.section(equal)
    said = " ".join(sentences(section["topics"]))
    assert "not all below Nyquist" in said and "Bound over" not in said and not re.search(r"\bnan\b", said)
    assert all(row["inside"] == "yes" for row in section["verification"] if row["sampler"] == "limit")


def test_figures_say_what_they_cannot_show(equal):
    tables_of = {name: loaded(equal, name) for name in kinds.of(equal).tables(equal)}
    with style.applied():
        for name in ("points_and_width", "noise_by_mode"):
            with pytest.raises(style.NothingToDraw, match="this study has"):
                FIGURES[name](tables_of)


def test_one_draw_has_no_spread_and_a_signal_without_eigenvalue_no_training(made, tmp_path):
    settings = SETTINGS | {"modes": 3, "signal": 3, "train": 8}
    one = made(tmp_path, kind="finite_sample", grid={"width": 8, "depth": 1}, seeds=1, finite_sample=settings)
    section = report.section(one)
    said = " ".join(sentences(section["topics"]))
    assert "no network was trained" in section["coverage"] and "Of q = 3 lambda_q = 0" in said
    assert "not measured from one draw" in said and "[" not in said.split("Into every mode")[0].split("Bound over")[1]
    assert not re.search(r"\b(nan|inf)\b|-0\]", said)
    assert "An exponent in N needs 3 numbers of points" in said


def test_noise_is_answered_value_by_value_wherever_cells_have_it(made, tmp_path):
    grid = {"width": 8, "depth": 1, "train": [8, 16], "noise": [0.0, 0.2, 2.0]}
    noisy = made(tmp_path, kind="finite_sample", grid=grid, seeds=3, finite_sample=SETTINGS)
    data = loaded(noisy)
    (topic,) = (t for t in report.section(noisy)["topics"] if t.question == "Where does noise go?")
    for noise in (0.2, 2.0):
        said = " ".join(text for text in topic.said if f"noise {noise:g}: " in text)
        (cell,) = np.flatnonzero((data.noise == noise) & (data.train_points == 16))
        assert (
            f"that is {noise**2 / 16:.3g}" in said and f"predicted {float(data['excess_predicted'][cell]):.3g}" in said
        )
    assert not any("noise 0: " in text for text in topic.said)
    with style.applied():
        figure = FIGURES["noise_by_mode"]({"finite_sample": data})
        assert r"$\sigma$ = 2 (not 0.2)" in figure.get_suptitle()
        assert len(FIGURES["concentration"]({"finite_sample": data}).axes) == 4
    draws = loaded(noisy, "sampled_modes")
    assert list(draws.dynamics.values) == ["limit", "frozen", "trained"] and list(draws.omega.values) == [1.5]
    np.testing.assert_array_equal(draws.mode.values, data.mode.values)


def test_an_open_upper_end_is_an_arrow(study):
    """Of 24 draws the quantile 0.9 has no upper end at 95 %."""
    data = loaded(study)
    assert np.isposinf(data["quantile_high"].sel(error="gram", kernel="limit")).any()
    with style.applied():
        axis = FIGURES["concentration"]({"finite_sample": data}).axes[0]
    lengths = [np.diff(s[:, 1]) for bars in axis.collections for s in bars.get_segments()]
    assert len(lengths) == 6 and all(length > 0 for length in lengths)  # lower parts and arrows of three N


def test_modes_that_are_zero_on_equal_angles_are_left_out_of_the_mean_noise(made, tmp_path):
    settings = SETTINGS | {"points": "equal", "modes": 6, "train": 8, "eval": 16}
    few = made(tmp_path, kind="finite_sample", grid={"width": 8, "depth": 1}, seeds=3, finite_sample=settings)
    measured = loaded(few)["noise_square"].values[0]
    assert np.isnan(measured).sum() == 1  # sin(4 theta)
    said = " ".join(sentences(report.section(few)["topics"]))
    assert f"modes that are not 0 on all points is {np.nanmean(measured):.3g}" in said and "of 12 intervals" in said
    assert "nan" not in said
